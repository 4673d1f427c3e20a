"""A band that a file calls alpha hides pixels only if its values are those of a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geovlm import raster
from geovlm.api import Raster
from geovlm.raster import images
from geovlm.raster.masks import alpha_hides
from tests.raster.test_windows import write

SIDE = 64
LAND, WATER = (150, 140, 120), (70, 100, 110)
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE]
GROUND = np.where(
    COLUMNS < SIDE // 2, np.array(LAND)[:, None, None], np.array(WATER)[:, None, None]
)
LEFT = (COLUMNS < SIDE // 2).astype("uint8")


def tagged(path: Path, fourth: np.ndarray, *, ground: np.ndarray = GROUND, **profile: Any) -> Path:
    """Write red, green, blue and a fourth band that the file calls alpha, as GDAL does."""
    bands = np.concatenate([ground, fourth[None]]).astype("uint8")
    return write(path, bands, **({"photometric": "rgb", "alpha": "yes"} | profile))


def hides(path: Path) -> bool:
    with rasterio.open(path) as source:
        assert source.colorinterp[3].name == "alpha"
        return alpha_hides(source)


def test_two_values_of_near_infrared_are_no_mask(tmp_path: Path) -> None:
    assert not hides(tagged(tmp_path / "a.tif", LEFT * 200))


def test_near_infrared_of_open_water_is_no_mask(tmp_path: Path) -> None:
    dark = np.random.default_rng(0).integers(0, 9, (SIDE, SIDE))
    assert not hides(tagged(tmp_path / "a.tif", dark))


def test_zeros_over_ground_that_varies_are_no_mask(tmp_path: Path) -> None:
    assert not hides(tagged(tmp_path / "a.tif", LEFT * 0))


def test_zeros_over_an_empty_tile_are_a_mask(tmp_path: Path) -> None:
    assert hides(tagged(tmp_path / "a.tif", LEFT * 0, ground=GROUND * 0))


@pytest.mark.parametrize("fourth", [LEFT * 255, LEFT * 0 + 255])
def test_values_of_0_and_255_are_a_mask(tmp_path: Path, fourth: np.ndarray) -> None:
    assert hides(tagged(tmp_path / "a.tif", fourth))


def test_a_mask_may_have_soft_edges(tmp_path: Path) -> None:
    # one column of 32 is half transparent: 1/33 of what is seen
    soft = LEFT * 255 + (COLUMNS == SIDE // 2) * 128
    assert hides(tagged(tmp_path / "a.tif", soft))


def test_a_gradient_is_no_mask(tmp_path: Path) -> None:
    assert not hides(tagged(tmp_path / "a.tif", COLUMNS * 4))


def test_a_mask_in_a_jpeg_differs_a_little_from_0_and_255(tmp_path: Path) -> None:
    path = tagged(tmp_path / "a.tif", (ROWS < COLUMNS) * 255, compress="jpeg")
    with rasterio.open(path) as source:
        assert len(np.unique(source.read(4))) > 2
    assert hides(path)


def test_near_infrared_in_a_jpeg_is_no_mask(tmp_path: Path) -> None:
    assert not hides(tagged(tmp_path / "a.tif", LEFT * 200, compress="jpeg"))


@pytest.mark.parametrize("opaque", [255, 65535])
def test_a_mask_of_wide_integers_has_either_opaque_value(tmp_path: Path, opaque: int) -> None:
    bands = np.concatenate([GROUND * 100, LEFT[None] * np.uint16(opaque)]).astype("uint16")
    assert hides(write(tmp_path / "a.tif", bands, photometric="rgb", alpha="yes"))


def test_transparency_of_a_png_is_no_question_of_values(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    shape = {"width": SIDE, "height": SIDE, "count": 4, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="PNG", **shape) as out:
        out.write(np.concatenate([GROUND, COLUMNS[None] * 4]).astype("uint8"))
    assert hides(path)


def test_chosen_bands_are_shown_where_near_infrared_is_0(tmp_path: Path) -> None:
    path = tagged(tmp_path / "a.tif", LEFT * 200)
    index = {"R": 1, "G": 2, "B": 3}
    ref = Raster(file=path, bands=("R", "G", "B"), band_index=index, high=255)
    shown = raster.open_image(ref)
    assert (shown.getpixel((0, 0)), shown.getpixel((SIDE - 1, 0))) == (LAND, WATER)
    assert images.has_data(ref, (SIDE // 2, 0, SIDE // 2, SIDE))
    masked = tagged(tmp_path / "b.tif", LEFT * 255)
    ref = Raster(file=masked, bands=("R", "G", "B"), band_index=index, high=255)
    assert raster.open_image(ref).getpixel((SIDE - 1, 0)) == (0, 0, 0)
    assert not images.has_data(ref, (SIDE // 2, 0, SIDE // 2, SIDE))
