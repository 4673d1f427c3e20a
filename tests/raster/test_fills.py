"""Pixels without data that nothing declares, and declared ones whose value was rounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geovlm import raster
from geovlm.api import Raster
from geovlm.predict import scenes
from geovlm.raster.checks import suspicions
from geovlm.raster.files import state
from geovlm.raster.fills import fills
from geovlm.raster.images import has_data
from geovlm.raster.scaling import Range, shown_range

LOWEST = float(np.finfo("float32").min)


def write(path: Path, values: np.ndarray, *, nodata: float | None = None) -> Path:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=values.shape[1],
        height=values.shape[0],
        count=1,
        dtype=values.dtype,
        nodata=nodata,
        crs="EPSG:32633",
        transform=from_origin(500_000, 5_000_000, 10, 10),
    ) as out:
        out.write(values, 1)
    return path


def ground(dtype: str = "float32", *, most: float = 1.0) -> np.ndarray:
    """Return 40 x 40 values in rising order from 0 to `most`."""
    return np.linspace(0, most, 1600).reshape(40, 40).astype(dtype)


def scaled(path: Path, *, nodata: float | None = None) -> Raster:
    """Return a grey image that is scaled by percentiles 2 and 98, as `predict` makes it."""
    return Raster(
        file=path,
        bands=("1", "1", "1"),
        band_index={"1": 1},
        low=2,
        high=98,
        scaling="percentile",
        nodata=nodata,
    )


def found(path: Path) -> list[float]:
    return [fill.value for fill in fills(state(path), 1, None)]


FILLED = [
    ("float32", 1.0, -9999.0),
    ("float32", 1.0, LOWEST),
    ("float32", 300.0, 1e20),
    ("float32", 50.0, -999.0),
    ("float64", 1.0, float(np.finfo("float64").min)),
    ("int16", 5000, -32768.0),
    ("uint16", 4000, 65535.0),
    ("int32", 60_000, -9999.0),
]


@pytest.mark.parametrize(("dtype", "most", "value"), FILLED)
def test_a_scene_with_an_undeclared_fill_looks_as_if_it_were_declared(
    tmp_path: Path, dtype: str, most: float, value: float
) -> None:
    values = ground(dtype, most=most)
    values[:10] = value
    plain = scaled(write(tmp_path / "plain.tif", values))
    declared = scaled(write(tmp_path / "declared.tif", values, nodata=value))
    picture = np.asarray(raster.open_image(plain))
    assert np.array_equal(picture, np.asarray(raster.open_image(declared)))
    assert picture[:10].max() == 0
    assert picture[-1, 0, 0] > 240  # of 0..255: the ground rises to the last row
    assert not has_data(plain, (0, 0, 40, 10))
    assert has_data(plain, (0, 0, 40, 11))


def test_a_usual_fill_is_found_beside_a_flat_scene(tmp_path: Path) -> None:
    land_and_water = np.where(np.arange(40) < 20, 0.3, 0.05) * np.ones((40, 1))
    for value in (-9999.0, float(np.float32(1e20)), LOWEST):
        values = land_and_water.astype("float32")
        values[:10] = value
        path = write(tmp_path / f"{value}.tif", values)
        assert found(path) == [value]
    values = (land_and_water * 10_000).astype("uint16")
    values[:10] = 65535
    assert found(write(tmp_path / "integers.tif", values)) == [65535.0]


def test_percentiles_leave_two_fills_out(tmp_path: Path) -> None:
    values = ground(most=100.0)
    values[:5], values[5:10] = -9999, -32768
    (low, high) = shown_range(scaled(write(tmp_path / "a.tif", values)), "1")
    assert (low, high) == tuple(np.percentile(ground(most=100.0)[10:].astype("float64"), (2, 98)))


def test_a_fill_that_resampling_has_mixed_with_its_neighbours_is_found(tmp_path: Path) -> None:
    values = ground()
    values[:10] = -9999
    values[10, :15] = np.linspace(-9000, -10, 15)
    assert found(write(tmp_path / "a.tif", values)) == [-9999.0]


SOUND = {
    "zeros around dark ground": np.where(
        np.arange(40)[:, None] < 10, 0, ground("uint16", most=9000)
    ),
    "saturated clouds": np.minimum(ground("float32", most=90_000), 65535).astype("uint16"),
    "a mask of two values": np.where(ground() > 0.5, 255, 0).astype("uint8"),
    "few classes, one of them far": np.where(ground() > 0.5, 200, ground("uint8", most=8)),
    "one bright pixel": np.where(ground() == 1.0, 60_000, ground(most=100)).astype("uint16"),
    "a flat band": np.full((40, 40), 7.0, "float32"),
    "a sea at the lowest height": np.maximum(ground(most=900.0) - 300, -30),
    "only the fill": np.full((40, 40), -9999.0, "float32"),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_values_are_no_fill(tmp_path: Path, name: str) -> None:
    assert found(write(tmp_path / "a.tif", SOUND[name])) == []


def test_a_flat_lake_is_told_but_shown(tmp_path: Path) -> None:
    values = ground(most=100.0) + 1000
    values[:10] = 372.0
    ref = scaled(write(tmp_path / "a.tif", values))
    (one,) = suspicions(ref)
    assert "25.0% of the pixels are 372 in 1" in one.message
    assert "percentiles" not in one.message
    assert has_data(ref, (0, 0, 40, 10))
    assert shown_range(ref, "1").low == 372.0


def test_an_undeclared_fill_is_one_line_with_its_share_and_the_fix(tmp_path: Path) -> None:
    values = ground()
    values[:10] = -9999
    path = write(tmp_path / "a.tif", values)
    (one,) = suspicions(scaled(path))
    assert (one.kind, one.rejects) == ("fill", False)
    assert one.message.startswith(
        f"{path}: 25.0% of the pixels are -9999 in 1, far from all others"
    )
    assert one.message.endswith("percentiles leave them out")
    assert f"gdal_edit.py -a_nodata -9999 {path}" in one.hint


def test_a_fill_is_told_but_not_hidden_in_a_declared_range(tmp_path: Path) -> None:
    values = ground("uint16", most=4000)
    values[:10] = 65535
    path = write(tmp_path / "a.tif", values)
    ref = Raster(file=path, bands=("1", "1", "1"), band_index={"1": 1}, high=4000)
    (one,) = suspicions(ref)
    assert (one.kind, "percentiles" in one.message) == ("fill", False)
    assert np.asarray(raster.open_image(ref))[:10].min() == 255


def test_predict_tells_of_a_fill_of_either_image(tmp_path: Path) -> None:
    values = ground()
    sound = write(tmp_path / "a.tif", values)
    values[:10] = -9999
    filled = write(tmp_path / "b.tif", values)
    scene = scenes.scene([scaled(sound), scaled(filled)], folder=tmp_path)
    assert [note for note in scene.notes if "b.tif: 25.0% of the pixels are -9999" in note]
    assert not [note for note in scene.notes if "a.tif: " in note]


def test_a_fill_does_not_bleed_into_the_second_image_when_it_is_resampled(tmp_path: Path) -> None:
    older = write(tmp_path / "a.tif", ground())
    values = np.full((60, 60), 0.5, "float32")
    values[:, 30:] = 0.9
    values[:, 31:] += np.linspace(0, 0.05, 29, dtype="float32")  # values differ, else no fill
    values[:10] = -9999
    newer = tmp_path / "b.tif"
    with rasterio.open(
        newer,
        "w",
        driver="GTiff",
        width=60,
        height=60,
        count=1,
        dtype="float32",
        crs="EPSG:32633",
        transform=from_origin(499_903, 5_000_103, 10, 10),
    ) as out:
        out.write(values, 1)
    scene = scenes.scene([scaled(older), scaled(newer)], folder=tmp_path)
    picture = np.asarray(raster.open_image(scene.images[1]))[..., 0]
    # the grid begins 10.3 px below the newer image's top: row 0 lies below the fill
    assert picture[0, :18].max() == picture[20, :18].max()
    assert picture[0, 39] > 200


def reread(path: Path, *, nodata: str) -> Path:
    """Write a VRT that declares nodata as text over a file of 40 x 40 px."""
    made = path.with_suffix(".vrt")
    made.write_text(
        '<VRTDataset rasterXSize="40" rasterYSize="40"><GeoTransform>0, 1, 0, 0, 0, -1'
        f'</GeoTransform><VRTRasterBand dataType="Float32" band="1">'
        f"<NoDataValue>{nodata}</NoDataValue><SimpleSource>"
        f'<SourceFilename relativeToVRT="1">{path.name}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return made


@pytest.mark.parametrize("text", ["-3.40282347e+38", "-3.4028235e+38", "-3.4028e38", "-3.4e38"])
def test_a_rounded_nodata_value_is_that_of_the_pixels(tmp_path: Path, text: str) -> None:
    values = ground()
    values[:10] = LOWEST
    by_file = scaled(reread(write(tmp_path / "a.tif", values), nodata=text))
    by_reference = scaled(tmp_path / "a.tif", nodata=float(text))
    assert suspicions(by_file) == suspicions(by_reference) == ()
    assert not has_data(by_file, (0, 0, 40, 10))
    assert not has_data(by_reference, (0, 0, 40, 10))


@pytest.mark.parametrize("text", ["-9999.9", "-0.1", "1.1e5"])
def test_a_nodata_value_is_compared_as_the_bands_type(tmp_path: Path, text: str) -> None:
    values = ground()
    values[:10] = np.float32(text)
    ref = scaled(write(tmp_path / "a.tif", values), nodata=float(text))  # no float32 equals it
    assert not has_data(ref, (0, 0, 40, 10))
    assert has_data(ref, (0, 10, 40, 1))


def test_a_value_near_nodata_is_data(tmp_path: Path) -> None:
    values = ground()
    values[0, 0] = -9999.01
    assert has_data(scaled(write(tmp_path / "a.tif", values), nodata=-9999), (0, 0, 1, 1))


def test_infinity_as_nodata_hides_infinity_only(tmp_path: Path) -> None:
    values = ground()
    values[:10], values[20:30] = np.inf, -np.inf
    ref = scaled(write(tmp_path / "a.tif", values), nodata=float("inf"))
    assert not has_data(ref, (0, 0, 40, 10))
    assert has_data(ref, (0, 20, 40, 10))


def test_a_nodata_value_outside_of_the_type_is_told_and_hides_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", ground("uint8", most=200))
    ref = scaled(path, nodata=-9999)
    (one,) = suspicions(ref)
    assert "the nodata value -9999 cannot occur in uint8" in one.message
    assert has_data(ref, (0, 0, 40, 40))


def test_a_whole_range_is_found_where_every_pixel_is_nodata(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.full((40, 40), LOWEST, "float32"), nodata=LOWEST)
    assert shown_range(scaled(path), "1") == Range(0.0, 0.0)
