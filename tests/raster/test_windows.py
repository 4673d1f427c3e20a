"""Windows of images equal that part of `open_image`, in memory that does not follow the scene."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image, ImageChops

from geovlm import raster
from geovlm.api import Raster
from geovlm.errors import DataError
from geovlm.raster import images

SCENE = np.random.default_rng(5).integers(0, 4000, (3, 90, 130)).astype("uint16")


def write(path: Path, bands: np.ndarray, **profile: Any) -> Path:
    """Write (C, H, W), by default as GeoTIFF."""
    count, height, width = bands.shape
    shape = {"width": width, "height": height, "count": count, "dtype": bands.dtype}
    with rasterio.open(path, "w", **({"driver": "GTiff"} | shape | profile)) as out:
        out.write(bands)
    return path


def described(path: Path, names: tuple[str, ...]) -> Path:
    with rasterio.open(path, "r+") as out:
        out.descriptions = names
    return path


@pytest.fixture
def scene(tmp_path: Path) -> Raster:
    path = described(write(tmp_path / "s2.tif", SCENE), ("B04", "B03", "B02"))
    return Raster(file=path, bands=("B04", "B03", "B02"), low=0, high=3000)


def difference(left: Image.Image, right: Image.Image) -> int:
    """The largest difference of two pictures of one size, 0..255."""
    assert left.size == right.size
    return max(high for _, high in ImageChops.difference(left, right).getextrema())


def test_a_window_of_bands_is_that_part_of_the_image(scene: Raster) -> None:
    part = images.open_window(scene, (7, 11, 51, 31))
    assert part.size == (51, 31)
    assert difference(part, raster.open_image(scene).crop((7, 11, 58, 42))) == 0


def test_windows_share_the_percentiles_of_the_scene(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.arange(10_000, dtype="uint16").reshape(1, 100, 100))
    ref = Raster(files={"P": path}, bands=("P", "P", "P"), low=10, high=90, scaling="percentile")
    # the percentiles of 0..9999 are 999.9 and 8999.1; row 50, column 0 holds 5000
    expected = round((5000 - 999.9) / (8999.1 - 999.9) * 255)
    assert images.open_window(ref, (0, 50, 1, 1)).getpixel((0, 0)) == (expected,) * 3
    part = images.open_window(ref, (3, 40, 20, 20))
    assert difference(part, raster.open_image(ref).crop((3, 40, 23, 60))) == 0


def test_percentiles_of_a_large_scene_come_from_all_of_it(tmp_path: Path) -> None:
    side = 4800
    values = np.broadcast_to(np.arange(side, dtype="uint16"), (1, 300, side))
    path = write(tmp_path / "a.tif", values, compress="deflate")
    ref = Raster(files={"P": path}, bands=("P", "P", "P"), low=10, high=90, scaling="percentile")
    shown = np.asarray(images.open_window(ref, (0, 0, side, 1)))[0, :, 0]
    # 16 columns of squares, every 316 px, hold 0..4799: percentiles within half a gap of 480, 4319
    black, white = int(np.flatnonzero(shown == 0)[-1]), int(np.flatnonzero(shown == 255)[0])
    assert black == pytest.approx(480, abs=160)
    assert white == pytest.approx(4319, abs=160)


def test_coarser_bands_are_resampled_in_a_window_as_in_the_image(tmp_path: Path) -> None:
    fine = write(tmp_path / "fine.tif", SCENE[:1])
    coarse = write(tmp_path / "coarse.tif", SCENE[1:2, :45, :65])
    files = {"B04": fine, "B11": coarse, "B02": fine}
    ref = Raster(files=files, bands=("B04", "B11", "B02"), low=0, high=4000)
    part = images.open_window(ref, (33, 21, 40, 30))
    # one grey level: sums of bilinear weights round differently
    assert difference(part, raster.open_image(ref).crop((33, 21, 73, 51))) <= 1


def test_a_reduced_window_has_the_size_asked_for_and_the_mean(scene: Raster) -> None:
    part = images.open_window(scene, (0, 0, 130, 90), out_size=(13, 9))
    assert part.size == (13, 9)
    whole = np.asarray(raster.open_image(scene), float).mean()
    assert np.asarray(part, float).mean() == pytest.approx(whole, abs=8)


def test_a_window_may_be_enlarged(scene: Raster) -> None:
    assert images.open_window(scene, (0, 0, 5, 4), out_size=(50, 40)).size == (50, 40)


@pytest.mark.parametrize("window", [(0, 0, 131, 90), (-1, 0, 5, 5), (0, 0, 0, 5), (0, 88, 5, 3)])
def test_a_window_outside_the_image_is_a_mistake(
    scene: Raster, window: tuple[int, int, int, int]
) -> None:
    with pytest.raises(ValueError, match=r"leaves the image of \(130, 90\) pixels"):
        images.open_window(scene, window)


_MODES = ("L", "LA", "RGB", "RGBA", "P", "1")


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [*((mode, suffix) for mode in _MODES for suffix in ("tif", "png")), ("CMYK", "tif")],
)
def test_a_window_of_a_plain_picture_is_that_part_of_it(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    bands = len(Image.new(mode, (1, 1)).getbands())
    noise = np.random.default_rng(3).integers(0, 256, (40, 60, bands), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    if mode in ("P", "1"):
        Image.fromarray(noise[..., 0]).convert(mode).save(path)
    else:
        Image.merge(mode, [Image.fromarray(noise[..., i]) for i in range(bands)]).save(path)
    part = images.open_window(path, (9, 4, 51, 31))
    assert difference(part, raster.open_image(path).crop((9, 4, 60, 35))) == 0


def test_a_window_of_many_bands_without_a_choice_is_refused(tmp_path: Path) -> None:
    path = described(write(tmp_path / "a.tif", SCENE.repeat(5, axis=0)[:13]), ("B01",) + ("",) * 12)
    with pytest.raises(DataError, match=r"13 band\(s\) of uint16, named B01, .*Raster with bands"):
        images.open_window(path, (0, 0, 5, 5))


def test_a_scene_beyond_the_limit_opens_in_windows_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.tif", SCENE.astype("uint8"), photometric="RGB")
    ref = Raster(files={"R": path}, bands=("R", "R", "R"), high=255, band_index={"R": 1})
    expected = raster.open_image(path).crop((2, 3, 12, 13))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert difference(images.open_window(path, (2, 3, 10, 10)), expected) == 0
    assert images.scene_size(path) == images.scene_size(ref) == (130, 90)
    with pytest.raises(DataError, match="cut the image into tiles"):
        raster.image_size(path)
    with pytest.raises(DataError, match="cut the image into tiles"):
        raster.open_image(ref)


def halves(path: Path, dtype: str, **profile: Any) -> Path:
    """8 x 4 px, 0 at the left and 7 at the right."""
    values = np.zeros((1, 4, 8), dtype)
    values[..., 4:] = 7
    return write(path, values, **profile)


LEFT, RIGHT = (0, 0, 4, 4), (4, 0, 4, 4)


def test_dark_values_are_data_and_zeros_around_a_scene_are_none(tmp_path: Path) -> None:
    path = halves(tmp_path / "a.tif", "uint16")
    ref = Raster(files={"R": path}, bands=("R", "R", "R"), low=500, high=900)
    assert images.open_window(ref, RIGHT).getbbox() is None
    assert [images.has_data(ref, window) for window in (LEFT, RIGHT)] == [False, True]
    picture = halves(tmp_path / "b.tif", "uint8")
    assert [images.has_data(picture, window) for window in (LEFT, RIGHT)] == [False, True]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_zeros_are_data_where_another_value_is_none(tmp_path: Path, dtype: str) -> None:
    path = halves(tmp_path / "a.tif", dtype, nodata=7)
    ref = Raster(files={"R": path}, bands=("R", "R", "R"), high=900)
    assert [images.has_data(ref, window) for window in (LEFT, RIGHT)] == [True, False]
    if dtype == "uint8":  # wider values are no picture
        assert [images.has_data(path, window) for window in (LEFT, RIGHT)] == [True, False]


def test_what_a_mask_hides_is_no_data(tmp_path: Path) -> None:
    path = halves(tmp_path / "a.tif", "uint8")
    with rasterio.open(path, "r+") as file:
        file.write_mask(np.arange(8) < np.full((4, 1), 4))
    ref = Raster(files={"R": path}, bands=("R", "R", "R"), high=900)
    assert [images.has_data(ref, window) for window in (LEFT, RIGHT)] == [True, False]
    assert [images.has_data(path, window) for window in (LEFT, RIGHT)] == [True, False]


def test_an_index_has_data_where_its_bands_have(tmp_path: Path) -> None:
    path = described(write(tmp_path / "a.tif", SCENE[:2] * 0), ("B04", "B08"))
    ref = Raster(file=path, bands=("NDVI", "NDVI", "NDVI"))
    assert not images.has_data(ref, LEFT)


@pytest.mark.slow
def test_windows_of_a_scene_of_400_megapixels_take_little_memory(tmp_path: Path) -> None:
    side, block = 20_000, 512
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=3,
        dtype="uint16",
        tiled=True,
        blockxsize=block,
        blockysize=block,
        interleave="band",
        compress="deflate",
        zlevel=1,
    ) as out:
        for row in range(0, side, 2 * block):
            rows = min(2 * block, side - row)
            part = rasterio.windows.Window(0, row, side, rows)
            out.write(np.full((3, rows, side), row % 3000, "uint16"), window=part)
    code = f"""
import resource
from pathlib import Path
from geovlm import raster
from geovlm.api import Raster
path = Path({str(tmp_path / "a.tif")!r})
ref = Raster(file=path, bands=("R", "G", "B"), band_index=dict(R=1, G=2, B=3),
             low=2, high=98, scaling="percentile")
raster.open_window(Raster(file=path, bands=("R", "R", "R"), band_index=dict(R=1), high=1),
                   (0, 0, 64, 64))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
raster.open_window(ref, (0, 0, 20000, 20000), out_size=(1024, 1024))
for row in range(0, 20000 - 1024, 4000):
    raster.open_window(ref, (7000, row, 1024, 1024))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300, done.stdout  # MB; the scene has 2,400
