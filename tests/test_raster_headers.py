"""The quick look at a header says what GDAL says, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geovlm import raster_files
from geovlm.raster_headers import single_band_size
from tests.test_raster_windows import described, write

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
        assert raster_files.layout(file) == raster_files.remembered(raster_files.state(path))


@pytest.mark.parametrize("options", [{"bigtiff": "yes"}, {"compress": "lerc"}])
def test_what_is_not_plain_is_left_to_gdal(tmp_path: Path, options: dict[str, str]) -> None:
    path = write(tmp_path / "a.tif", BAND, **options)
    assert single_band_size(path) is None
    assert raster_files.remembered(raster_files.state(path)).size == (51, 31)


def test_several_bands_are_left_to_gdal(tmp_path: Path) -> None:
    assert single_band_size(write(tmp_path / "a.tif", np.repeat(BAND, 2, axis=0))) is None


def test_a_band_with_a_name_is_left_to_gdal(tmp_path: Path) -> None:
    path = described(write(tmp_path / "a.tif", BAND), ("B08",))
    assert single_band_size(path) is None
    assert raster_files.remembered(raster_files.state(path)).names == ("B08",)


def test_a_band_named_beside_its_file_is_left_to_gdal(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", BAND)
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><Description>B08</Description></PAMRasterBand>'
        "</PAMDataset>"
    )
    assert single_band_size(path) is None
    assert raster_files.remembered(raster_files.state(path)).names == ("B08",)


@pytest.mark.parametrize("length", [0, 3, 7, 9, 60])
def test_a_header_that_was_cut_off_is_left_to_gdal(tmp_path: Path, length: int) -> None:
    path = write(tmp_path / "a.tif", BAND)
    path.write_bytes(path.read_bytes()[:length])
    assert single_band_size(path) is None
