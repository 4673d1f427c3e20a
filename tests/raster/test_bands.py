"""Bands by name, indices, ranges, percentiles, nodata, and faulty files."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp

from geovlm import raster
from geovlm.api import Raster
from geovlm.errors import DataError
from geovlm.raster import images, reference

THIRTEEN = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08"),
    *("B8A", "B09", "B10", "B11", "B12"),
)


def write(
    path: Path, bands: Any, *, names: tuple[str, ...] = (), dtype: str = "uint16", **profile: Any
) -> Path:
    """Write (C, H, W) as GeoTIFF (or the format of the suffix) with descriptions."""
    values = np.asarray(bands, dtype)
    count, height, width = values.shape
    shape = {"width": width, "height": height, "count": count, "dtype": values.dtype}
    with rasterio.open(path, "w", **(shape | profile)) as out:
        out.write(values)
        if names:
            out.descriptions = names
    return path


def row(*values: float) -> list[list[float]]:
    """One band of one row."""
    return [list(values)]


def shown(ref: Raster | Path, channel: int = 0) -> list[int]:
    """The first row of a channel of the picture."""
    return np.asarray(raster.open_image(ref))[0, :, channel].tolist()


# -- names ----------------------------------------------------------------------------------------


def test_a_file_names_its_own_bands(tmp_path: Path) -> None:
    path = write(tmp_path / "s2.tif", [row(10 * i) for i in range(13)], names=THIRTEEN)
    ref = Raster(file=path, bands=("B04", "B8A", "B12"), high=255)
    assert raster.open_image(ref).getpixel((0, 0)) == (30, 80, 120)
    assert raster.image_size(ref) == (1, 1)


def test_names_compare_without_case_and_leading_zero(tmp_path: Path) -> None:
    path = write(tmp_path / "s2.tif", [row(1), row(2), row(3)], names=("B4", "Red", "b03"))
    ref = Raster(file=path, bands=("B04", "red", "B03"), high=255)
    assert raster.open_image(ref).getpixel((0, 0)) == (1, 2, 3)


def test_the_colours_of_a_file_are_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(1), row(2), row(3)], dtype="uint8", photometric="RGB")
    ref = Raster(file=path, bands=("blue", "green", "red"), high=255)
    assert raster.open_image(ref).getpixel((0, 0)) == (3, 2, 1)


def test_a_missing_name_lists_those_that_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(1), row(2)], names=("B04", "B03"))
    ref = Raster(file=path, bands=("B04", "B03", "B02"), high=255)
    with pytest.raises(DataError, match=r"a\.tif: no band is named 'B02' \(it has B04, B03\)"):
        raster.open_image(ref)
    with pytest.raises(DataError, match="no band is named 'B11'"):
        raster.image_size(Raster(file=path, bands=("B11",) * 3, high=255))  # type: ignore[arg-type]


def test_a_file_without_names_asks_for_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(1)] * 13)
    ref = Raster(files={"B04": path, "B03": path, "B02": path}, bands=("B04", "B03", "B02"), high=9)
    with pytest.raises(DataError, match=r"13 band\(s\) have no names.*band_index=\{'B04': 1\}"):
        raster.open_image(ref)


def test_a_name_that_two_bands_have_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(1), row(2)], names=("red", "Red"))
    ref = Raster(file=path, bands=("RED", "RED", "RED"), high=255)
    with pytest.raises(DataError, match="bands 1, 2 are all named 'RED'"):
        raster.open_image(ref)


def test_numbers_win_over_the_names_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(1), row(2)], names=("red", "nir"))
    ref = Raster(file=path, bands=("red",) * 3, high=255, band_index={"red": 2})  # type: ignore[arg-type]
    assert shown(ref) == [2]


# -- indices --------------------------------------------------------------------------------------


def test_ndvi_and_ndwi_are_computed_from_names(tmp_path: Path) -> None:
    bands = [row(1000, 500, 0), row(3000, 500, 0), row(2000, 1500, 0)]
    path = write(tmp_path / "a.tif", bands, names=("red", "nir", "green"))
    ref = Raster(file=path, bands=("NDVI", "NDWI", "red"), high=2000)
    # NDVI 0.5, 0, undefined; NDWI -0.2, 0.5, undefined; (v + 1) / 2 x 255, ties to even
    assert shown(ref, 0) == [191, 128, 0]
    assert shown(ref, 1) == [102, 191, 0]
    assert shown(ref, 2) == [128, 64, 0]


def test_an_index_in_all_places_is_grey_and_may_have_a_range(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(1000), row(3000)], names=("B04", "B08"))
    ref = Raster(file=path, bands=("NDVI",) * 3, ranges={"NDVI": (0.0, 1.0)})  # type: ignore[arg-type]
    assert raster.open_image(ref).getpixel((0, 0)) == (128, 128, 128)


def test_the_offset_is_taken_off_before_an_index(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(2000), row(4000)], names=("B04", "B08"))
    ref = Raster(file=path, bands=("NDVI", "NDVI", "B04"), high=4000, offset=1000)
    assert raster.open_image(ref).getpixel((0, 0)) == (191, 191, 128)  # 2000 / 4000 = 0.5


def test_an_index_is_computed_on_the_grid_of_the_first_band(tmp_path: Path) -> None:
    nir = write(tmp_path / "nir.tif", [[[3000, 3000], [3000, 3000]]])
    red = write(tmp_path / "red.tif", [[[1000]]])
    ref = Raster(files={"B08": nir, "B04": red}, bands=("NDVI",) * 3)  # type: ignore[arg-type]
    assert raster.image_size(ref) == (2, 2)
    assert shown(ref) == [191, 191]


def test_a_band_called_ndvi_is_that_band(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(7)], names=("NDVI",))
    assert shown(Raster(file=path, bands=("NDVI",) * 3, high=255)) == [7]  # type: ignore[arg-type]


def test_an_index_without_its_bands_says_which(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(7)], names=("B04",))
    ref = Raster(file=path, bands=("NDVI",) * 3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"NDVI needs a band named B08 or nir \(its bands are B04"):
        raster.open_image(ref)


# -- scaling --------------------------------------------------------------------------------------


def test_a_band_may_have_its_own_range(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(1000), row(1000)], names=("B04", "B08"))
    ref = Raster(file=path, bands=("B04", "B08", "B04"), high=2000, ranges={"B08": (0.0, 5000.0)})
    assert raster.open_image(ref).getpixel((0, 0)) == (128, 51, 128)


def test_a_band_without_a_range_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(1000)], names=("B04",))
    with pytest.raises(DataError, match=r"a\.tif: low=0.* is not below high=0"):
        raster.open_image(Raster(file=path, bands=("B04",) * 3))  # type: ignore[arg-type]


def test_percentiles_are_those_of_numpy_over_valid_pixels(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(100, 4000, (1, 20, 30))
    values[0, :5] = 0
    path = write(tmp_path / "a.tif", values, names=("B04",), nodata=0)
    ref = Raster(file=path, bands=("B04",) * 3, low=2, high=98, scaling="percentile")  # type: ignore[arg-type]
    low, high = np.percentile(values[0, 5:], (2, 98))
    expected = np.clip((values[0, 5:] - low) / (high - low), 0, 1) * 255
    image = np.asarray(raster.open_image(ref), float)
    assert np.abs(image[5:, :, 0] - expected).max() <= 0.51  # rounding, in float32
    assert image[:5].max() == 0


def test_without_nodata_zeros_enter_the_percentiles(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(0, 0, 0, 100, 300)], names=("B04",))
    fields: dict[str, Any] = {"bands": ("B04",) * 3, "low": 0, "high": 50, "scaling": "percentile"}
    assert shown(Raster(file=path, **fields)) == [0, 0, 0, 255, 255]  # 0 and 0: above is white
    assert shown(Raster(file=path, nodata=0, **fields)) == [0, 0, 0, 0, 255]  # 100 and 200


def test_percentiles_out_of_range_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(1000)], names=("B04",))
    ref = Raster(file=path, bands=("B04",) * 3, high=2000, scaling="percentile")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="are not percentiles"):
        raster.open_image(ref)


def test_a_band_without_a_valid_pixel_is_black(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(math.nan, math.nan)], names=("B04",), dtype="float32")
    ref = Raster(file=path, bands=("B04",) * 3, low=2, high=98, scaling="percentile")  # type: ignore[arg-type]
    assert shown(ref) == [0, 0]


# -- nodata ---------------------------------------------------------------------------------------


def test_alpha_is_nodata_whatever_else_is_declared(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(50, 60, 70), row(255, 0, 255)], dtype="uint8")
    with rasterio.open(path, "r+") as out:
        out.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
        out.descriptions = ("PAN", "")
    ref = Raster(file=path, bands=("PAN",) * 3, high=255, nodata=70)  # type: ignore[arg-type]
    assert shown(ref) == [50, 0, 0]


def test_a_mask_of_the_data_set_is_nodata(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", [row(50, 60)], names=("PAN",))
    with rasterio.open(path, "r+") as out:
        out.write_mask(np.array([[255, 0]], np.uint8))
    assert shown(Raster(file=path, bands=("PAN",) * 3, high=255)) == [50, 0]  # type: ignore[arg-type]


# -- formats --------------------------------------------------------------------------------------


def test_a_sixteen_bit_png_needs_a_range_and_then_opens(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", [row(0, 1000, 4000)], driver="PNG")
    with pytest.raises(DataError, match=r"a\.png: more than 8-bit values"):
        raster.open_image(path)
    ref = Raster(files={"PAN": path}, bands=("PAN",) * 3, high=2000)  # type: ignore[arg-type]
    assert shown(ref) == [0, 128, 255]


def test_grey_with_alpha_is_black_where_it_is_transparent(tmp_path: Path) -> None:
    stored = Image.new("LA", (2, 1), (200, 255))
    stored.putpixel((1, 0), (200, 0))
    stored.save(tmp_path / "a.png")
    assert shown(tmp_path / "a.png") == [200, 0]


def test_a_jpeg_may_be_declared_by_colour(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / "a.jpg", quality=100)
    ref = Raster(file=tmp_path / "a.jpg", bands=("red",) * 3, low=100, high=300)  # type: ignore[arg-type]
    assert shown(ref)[0] == pytest.approx(128, abs=3)  # JPEG keeps 200 within 2


@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_a_tiff_whose_writer_was_killed_is_named(tmp_path: Path, compress: str) -> None:
    path = tmp_path / "a.tif"
    code = f"""
import os, numpy, rasterio
from rasterio.windows import Window
shape = dict(width=64, height=64, count=3, dtype="uint8", compress={compress!r})
out = rasterio.open({str(path)!r}, "w", driver="GTiff", tiled=True, blockxsize=32,
                    blockysize=32, **shape)
out.write(numpy.full((3, 32, 64), 99, "uint8"), window=Window(0, 0, 64, 32))
os._exit(0)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    with pytest.raises(DataError, match=r"a\.tif: "):
        raster.open_image(path)
    named = Raster(file=path, bands=("red", "green", "blue"), high=255)
    with pytest.raises(DataError, match=r"a\.tif: the last block of band 1 was never written"):
        raster.open_image(named)
    with pytest.raises(DataError, match=r"a\.tif: "):
        images.open_window(path, (0, 0, 8, 8))


def test_a_sparse_tiff_that_declares_its_nodata_opens(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "width": 8, "height": 8, "count": 1, "dtype": "uint16"}
    with rasterio.open(path, "w", nodata=9, SPARSE_OK=True, **profile) as out:
        out.descriptions = ("B04",)
    assert shown(Raster(file=path, bands=("B04",) * 3, high=18)) == [0] * 8  # type: ignore[arg-type]


def test_an_empty_png_is_named_in_windows_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png: the image file is empty \(0 bytes\)"):
        images.open_window(tmp_path / "a.png", (0, 0, 1, 1))


def test_a_crop_of_51_by_31_keeps_its_size(tmp_path: Path) -> None:
    values = np.arange(51 * 31).reshape(1, 31, 51)
    ref = Raster(
        file=write(tmp_path / "a.tif", values, names=("PAN",)),
        bands=("PAN",) * 3,  # type: ignore[arg-type]
        low=2,
        high=98,
        scaling="percentile",
    )
    assert raster.open_image(ref).size == raster.image_size(ref) == (51, 31)


# -- references -----------------------------------------------------------------------------------


def test_all_that_a_reference_says_survives_json(tmp_path: Path) -> None:
    ref = Raster(
        file=write(tmp_path / "a.tif", [row(1)] * 3, names=("B04", "B08", "B03")),
        bands=("B04", "NDVI", "B03"),
        low=2,
        high=98,
        scaling="percentile",
        ranges={"NDVI": (0.0, 1.0)},
        reflectance=10000,
        offset=1000,
        nodata=0,
    )
    assert reference.decode(json.loads(json.dumps(reference.encode(ref), allow_nan=False))) == ref


def test_a_reference_of_an_earlier_version_is_read() -> None:
    old = {
        "files": {"R": "/a.tif"},
        "bands": ["R", "R", "R"],
        "low": 0,
        "high": 9,
        "band_index": {"R": 2},
        "nodata": None,
    }
    ref = Raster(
        files={"R": Path("/a.tif")}, bands=("R", "R", "R"), low=0, high=9, band_index={"R": 2}
    )
    assert reference.decode(old) == ref  # type: ignore[arg-type]  # it is JSON
    assert reference.encode(ref) == old


def test_a_reference_leaves_out_the_files_that_are_not_shown() -> None:
    files = {name: Path(f"/{name}.tif") for name in ("B02", "B03", "B04", "B08")}
    encoded = reference.encode(Raster(files=files, bands=("NDVI", "B02", "B02"), high=9))
    assert list(encoded["files"]) == ["B08", "B04", "B02"]  # type: ignore[index, call-overload, arg-type]
