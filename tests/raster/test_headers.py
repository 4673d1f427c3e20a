"""The quick look at a header says what GDAL or Pillow says, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image

from geovlm import raster
from geovlm.errors import DataError
from geovlm.raster import files
from geovlm.raster.headers import plain_picture_size, single_band_size
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
        assert files.layout(file) == files.remembered(files.state(path))


@pytest.mark.parametrize("options", [{"bigtiff": "yes"}, {"compress": "lerc"}])
def test_what_is_not_plain_is_left_to_gdal(tmp_path: Path, options: dict[str, str]) -> None:
    path = write(tmp_path / "a.tif", BAND, **options)
    assert single_band_size(path) is None
    assert files.remembered(files.state(path)).size == (51, 31)


def test_several_bands_are_left_to_gdal(tmp_path: Path) -> None:
    assert single_band_size(write(tmp_path / "a.tif", np.repeat(BAND, 2, axis=0))) is None


def test_a_band_with_a_name_is_left_to_gdal(tmp_path: Path) -> None:
    path = described(write(tmp_path / "a.tif", BAND), ("B08",))
    assert single_band_size(path) is None
    assert files.remembered(files.state(path)).names == ("B08",)


def test_a_band_named_beside_its_file_is_left_to_gdal(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", BAND)
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><Description>B08</Description></PAMRasterBand>'
        "</PAMDataset>"
    )
    assert single_band_size(path) is None
    assert files.remembered(files.state(path)).names == ("B08",)


@pytest.mark.parametrize("length", [0, 3, 7, 9, 60])
def test_a_header_that_was_cut_off_is_left_to_gdal(tmp_path: Path, length: int) -> None:
    path = write(tmp_path / "a.tif", BAND)
    path.write_bytes(path.read_bytes()[:length])
    assert single_band_size(path) is None


def pictures(folder: Path) -> Iterator[Path]:
    noise = np.random.default_rng(0).integers(0, 255, (31, 51, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    for mode in ("L", "LA", "RGB", "RGBA", "P"):
        image.convert(mode).save(folder / f"{mode}.png", dpi=(72, 72))
        yield folder / f"{mode}.png"
    for mode in ("L", "RGB"):
        image.convert(mode).save(folder / f"{mode}.jpg", comment=b"by hand")
        yield folder / f"{mode}.jpg"
    image.save(folder / "progressive.jpg", progressive=True, quality=40)
    yield folder / "progressive.jpg"


def test_plain_pictures_are_measured_as_pillow_does(tmp_path: Path) -> None:
    sizes = {path.name: plain_picture_size(path) for path in pictures(tmp_path)}
    assert set(sizes.values()) == {(51, 31)}
    assert len(sizes) == 8


def test_pictures_that_are_not_plain_are_left_to_pillow(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("I;16", (51, 31)).save(path)
    assert plain_picture_size(path) is None
    with pytest.raises(DataError, match="more than 8-bit values have no agreed brightness"):
        raster.image_size(path)
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (51, 31)).save(tmp_path / "a.jpg", exif=exif)
    assert plain_picture_size(tmp_path / "a.jpg") is None
    assert raster.image_size(tmp_path / "a.jpg") == (51, 31)
    Image.new("CMYK", (51, 31)).save(tmp_path / "b.jpg")  # with a segment of Adobe's
    assert plain_picture_size(tmp_path / "b.jpg") is None
    assert raster.image_size(tmp_path / "b.jpg") == (51, 31)
    Image.new("RGB", (51, 31)).save(tmp_path / "a.bmp")
    assert plain_picture_size(tmp_path / "a.bmp") is None


def test_a_damaged_header_is_measured_as_pillow_does_or_not_at_all(tmp_path: Path) -> None:
    """Bytes of headers exchanged and cut at random: never a size where Pillow has another, or none.

    The seed is fixed; two thirds of what is damaged are still a header to both.
    """
    random = np.random.default_rng(1)
    measured = 0
    damaged = tmp_path / "damaged"
    for path in pictures(tmp_path):
        whole = path.read_bytes()
        for _ in range(200):
            held = bytearray(whole)
            for at in random.integers(0, min(700, len(whole)), random.integers(1, 4)):
                held[at] = random.integers(0, 256)
            damaged.write_bytes(held[: random.integers(20, len(whole))])
            size = plain_picture_size(damaged)
            if size is not None:
                measured += 1
                with Image.open(damaged) as image:
                    assert image.size == size
                    assert image.mode in ("L", "LA", "RGB", "RGBA", "P")
    assert measured > 100
