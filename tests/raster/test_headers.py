"""The reader of headers agrees with GDAL, or leaves the file to it; Pillow reads pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image

from geovlm import raster
from geovlm.errors import DataError
from geovlm.raster import files
from geovlm.raster.headers import single_band_size
from tests.raster.test_windows import described, write

BAND = np.zeros((1, 31, 51), np.uint16)
BIG = np.zeros((1, 20, 70_000), np.uint8)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (BAND, {}),
        (BAND, {"endianness": "big"}),
        (BAND, {"compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16}),
        (BAND.astype("float32"), {"compress": "lzw", "nodata": float("nan")}),
        (BIG, {"compress": "packbits"}),
    ],
)
def test_a_plain_band_is_measured_as_gdal_does(
    tmp_path: Path, values: np.ndarray, options: dict[str, Any]
) -> None:
    path = write(tmp_path / "a.tif", values, **options)
    with rasterio.open(path) as file:
        assert single_band_size(path) == (file.width, file.height)
        assert files.layout(file) == files.cached_layout(files.state(path))


@pytest.mark.parametrize("options", [{"bigtiff": "yes"}, {"compress": "lerc"}])
def test_what_is_not_plain_is_left_to_gdal(tmp_path: Path, options: dict[str, str]) -> None:
    path = write(tmp_path / "a.tif", BAND, **options)
    assert single_band_size(path) is None
    assert files.cached_layout(files.state(path)).size == (51, 31)


def test_several_bands_are_left_to_gdal(tmp_path: Path) -> None:
    assert single_band_size(write(tmp_path / "a.tif", np.repeat(BAND, 2, axis=0))) is None


def test_a_band_with_a_name_is_left_to_gdal(tmp_path: Path) -> None:
    path = described(write(tmp_path / "a.tif", BAND), ("B08",))
    assert single_band_size(path) is None
    assert files.cached_layout(files.state(path)).names == ("B08",)


def test_a_band_named_in_a_sidecar_is_left_to_gdal(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", BAND)
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><Description>B08</Description></PAMRasterBand>'
        "</PAMDataset>"
    )
    assert single_band_size(path) is None
    assert files.cached_layout(files.state(path)).names == ("B08",)


@pytest.mark.parametrize("length", [0, 3, 7, 9, 60])
def test_a_header_that_was_cut_off_is_left_to_gdal(tmp_path: Path, length: int) -> None:
    path = write(tmp_path / "a.tif", BAND)
    path.write_bytes(path.read_bytes()[:length])
    assert single_band_size(path) is None


def test_pictures_are_measured_by_their_header(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((31, 51, 3), np.uint8))
    image.convert("CMYK").save(tmp_path / "cmyk.jpg")  # with a segment of Adobe's
    image.save(tmp_path / "progressive.jpg", progressive=True)
    image.convert("P").save(tmp_path / "palette.png", dpi=(72, 72))
    image.save(tmp_path / "a.bmp")
    assert {raster.image_size(path) for path in tmp_path.iterdir()} == {(51, 31)}


def test_a_16_bit_picture_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("I;16", (51, 31)).save(path)
    with pytest.raises(DataError, match="more than 8-bit values have no agreed brightness"):
        raster.image_size(path)
