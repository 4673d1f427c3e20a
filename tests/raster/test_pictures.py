"""Plain 8-bit TIFFs as paths: nodata, masks and the declared order of bands are respected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from rasterio.enums import ColorInterp

from geovlm import raster
from geovlm.predict import images, scenes
from geovlm.raster import open_window
from tests.raster.test_windows import described, write

RED, GREEN, BLUE = (200, 20, 10), (30, 190, 40), (5, 60, 180)
WHITE = (255, 255, 255)


def coloured(*pixels: tuple[int, int, int]) -> np.ndarray:
    """A row of pixels, (3, 1, W)."""
    return np.array([pixels], np.uint8).transpose(2, 0, 1)


def pixels(path: Path) -> list[tuple[int, ...]]:
    """Return the picture of one row, checked to be the same in a window."""
    whole = raster.open_image(path)
    part = open_window(path, (0, 0, *whole.size))
    assert part.tobytes() == whole.tobytes()
    return [tuple(pixel) for pixel in np.asarray(whole)[0].tolist()]


def test_white_nodata_of_a_colour_tiff_is_black(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", coloured(RED, WHITE, (255, 0, 0)), photometric="rgb", nodata=255
    )
    # a saturated red is data: not all of its colours are 255
    assert pixels(path) == [RED, (0, 0, 0), (255, 0, 0)]


def test_nodata_of_a_grey_tiff_is_black(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.array([[[7, 9]]], np.uint8), nodata=9)
    assert pixels(path) == [(7, 7, 7), (0, 0, 0)]


def test_nodata_that_no_byte_can_be_hides_nothing(tmp_path: Path) -> None:
    path, told = tmp_path / "a.tif", ImageFileDirectory_v2()
    told.tagtype[42113], told[42113] = 2, "-9999"
    Image.fromarray(np.array([[7, 0, 255]], np.uint8)).save(path, tiffinfo=told)
    with Image.open(path) as image:
        assert 42113 in image.tag_v2
    assert pixels(path) == [(7, 7, 7), (0, 0, 0), (255, 255, 255)]


def test_nodata_of_a_palette_is_an_index(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.array([[[0, 1]]], np.uint8), nodata=0)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (*RED, 255), 1: (*BLUE, 255)})
    assert pixels(path) == [(0, 0, 0), BLUE]


@pytest.mark.parametrize("internal", [True, False])
def test_what_a_mask_hides_is_black(tmp_path: Path, internal: bool) -> None:
    path = write(tmp_path / "a.tif", coloured(RED, GREEN), photometric="rgb")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as file:
        file.write_mask(np.array([[0, 255]], np.uint8))
    assert (tmp_path / "a.tif.msk").is_file() is not internal
    assert pixels(path) == [(0, 0, 0), GREEN]


def test_bands_that_are_called_blue_green_red_are_shown_in_colour(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", coloured(RED)[::-1], photometric="rgb")
    described(path, ("B02", "B03", "B04"))
    assert pixels(path) == [RED]


def test_colours_declared_in_another_order_are_shown_as_declared(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", coloured(RED)[::-1], photometric="rgb")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
    # as one image it is refused: Pillow knows no such TIFF
    assert open_window(path, (0, 0, 1, 1)).getpixel((0, 0)) == RED


def test_a_false_colour_picture_stays_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", coloured(RED), photometric="rgb")
    described(path, ("B08", "B04", "B03"))
    assert pixels(path) == [RED]


def test_a_resampled_picture_keeps_the_order_of_its_colours(tmp_path: Path) -> None:
    grid = {"crs": "EPSG:32633", "photometric": "rgb"}
    solid = np.broadcast_to(np.array(RED[::-1], np.uint8)[:, None, None], (3, 64, 64))
    fine, coarse = (rasterio.Affine(side, 0, 0, 0, -side, 640) for side in (10, 20))
    first = write(tmp_path / "a.tif", solid, transform=fine, **grid)
    other = write(tmp_path / "b.tif", solid, transform=coarse, **grid)
    described(other, ("B02", "B03", "B04"))
    scene = scenes.scene([images.reference(path) for path in (first, other)], folder=tmp_path)
    assert open_window(scene.images[1], (20, 20, 1, 1)).getpixel((0, 0)) == RED
