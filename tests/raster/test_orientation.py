"""A picture is shown the way its orientation says, and so are its size, windows and boxes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from geovlm import raster
from geovlm.api import Raster
from geovlm.errors import DataError
from geovlm.raster import images
from geovlm.raster.checks import suspicions

SEEN = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3
"""The picture as it is seen, 6 x 4 px, every pixel another colour."""
STORED = {
    1: SEEN,
    2: SEEN[:, ::-1],
    3: SEEN[::-1, ::-1],
    4: SEEN[::-1],
    5: SEEN.transpose(1, 0, 2),
    6: SEEN[:, ::-1].transpose(1, 0, 2),
    7: SEEN[::-1, ::-1].transpose(1, 0, 2),
    8: SEEN[::-1].transpose(1, 0, 2),
}
"""Orientation -> stored pixels: in 6, row 0 is the right side as seen, column 0 the top."""
WRITE = {"png": {}, "webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}
ON_THE_GROUND = rasterio.Affine(2, 0, 500_000, 0, -2, 5_500_000)


def lying(path: Path, orientation: int = 6) -> Path:
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    exif = Image.Exif()
    exif[274] = orientation
    if path.suffix == ".tif":
        stored.save(path, tiffinfo={274: orientation})
    else:
        stored.save(path, exif=exif, **WRITE[path.suffix[1:]])
    return path


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "jpg"])
def test_a_picture_is_turned_as_it_declares(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = lying(tmp_path / f"a.{suffix}", orientation)
    shown = np.asarray(raster.open_image(path)).astype(int)
    assert raster.image_size(path) == images.scene_size(path) == (6, 4)
    assert np.abs(shown - SEEN).max() <= (20 if suffix == "jpg" else 0)  # JPEG has losses
    part = np.asarray(raster.open_window(path, (1, 1, 4, 2)))
    assert (part == shown[1:3, 1:5]).all()


def test_a_box_lies_on_what_it_marks_in_a_lying_picture(tmp_path: Path) -> None:
    upright = np.full((200, 120, 3), 90, np.uint8)
    upright[10:40, 12:48] = (226, 22, 23)
    exif = Image.Exif()
    exif[274] = 6  # the top of what is seen is the right side of what is stored
    Image.fromarray(upright).rotate(90, expand=True).save(tmp_path / "a.jpg", exif=exif)
    assert raster.image_size(tmp_path / "a.jpg") == (120, 200)
    roof = np.asarray(raster.open_image(tmp_path / "a.jpg"))[14:36, 16:44].mean(axis=(0, 1))
    assert roof == pytest.approx((226, 22, 23), abs=3)


def test_the_orientation_of_a_png_may_follow_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.ascontiguousarray(STORED[6])).save(path)
    exif = Image.Exif()
    exif[274] = 6
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    whole = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = path.read_bytes()
    path.write_bytes(data[:-12] + whole + data[-12:])  # before IEND
    assert raster.image_size(path) == (6, 4)
    assert (np.asarray(raster.open_image(path)) == SEEN).all()


def test_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    path = lying(tmp_path / "a.jpg", 1)
    data = path.read_bytes()
    damaged = b"\xff\xe1" + struct.pack(">H", 28) + b"Exif\0\0" + b"\x55" * 20
    path.write_bytes(data[:2] + damaged + data[2:])
    assert raster.image_size(path) == (6, 4)
    assert raster.open_image(path).size == (6, 4)
    assert suspicions(path) == ()


@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_a_georeferenced_picture_stays_as_gdal_shows_it(tmp_path: Path, name: str) -> None:
    path = lying(tmp_path / name)
    if path.suffix == ".tif":
        with rasterio.open(path, "r+") as file:
            file.crs, file.transform = "EPSG:32633", ON_THE_GROUND
    else:
        path.with_suffix(".jgw").write_text("2\n0\n0\n-2\n500001\n5499999\n")
    assert raster.image_size(path) == (4, 6)
    assert raster.open_image(path).size == raster.open_window(path, (0, 0, 4, 6)).size == (4, 6)
    (found,) = suspicions(path)
    assert found.kind == "orientation"
    assert f"{path}: it declares orientation 6, which is not applied because" in found.message


def test_bands_of_a_lying_picture_are_not_turned_and_a_line_says_so(tmp_path: Path) -> None:
    path = lying(tmp_path / "a.jpg")
    ref = Raster(file=path, bands=("1", "2", "3"), band_index={"1": 1, "2": 2, "3": 3}, high=255)
    assert raster.image_size(ref) == (4, 6)
    assert [each.kind for each in suspicions(ref)] == ["orientation"]


def test_a_lying_picture_of_a_compression_that_pillow_lacks_is_turned(tmp_path: Path) -> None:
    path, plain = tmp_path / "a.tif", tmp_path / "plain.tif"
    lying(plain)
    with rasterio.open(plain) as source:
        profile = source.profile | {"compress": "lerc"}
        with rasterio.open(path, "w", **profile) as out:
            out.write(source.read())
    data = bytearray(path.read_bytes())
    at = struct.unpack_from("<I", data, 4)[0]
    (count,) = struct.unpack_from("<H", data, at)
    # GDAL writes no orientation: it takes the place of PlanarConfiguration, which is 1 by default
    tags = [struct.unpack_from("<H", data, at + 2 + 12 * number)[0] for number in range(count)]
    struct.pack_into("<HHIHH", data, at + 2 + 12 * tags.index(284), 274, 3, 1, 6, 0)
    path.write_bytes(data)
    assert raster.image_size(path) == (6, 4)
    assert (np.asarray(raster.open_image(path)) == SEEN).all()
    assert (np.asarray(raster.open_window(path, (2, 1, 3, 2))) == SEEN[1:3, 2:5]).all()


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (ON_THE_GROUND, ""),
        (rasterio.Affine(2, 0.3, 500_000, 0.3, -2, 5_500_000), ""),
        (rasterio.Affine(2, 0, 500_000, 0, 2, 5_500_000), "its rows run from south to north"),
        (rasterio.Affine(0, 2, 500_000, 2, 0, 5_500_000), "its top does not point north, but 90°"),
        (rasterio.Affine(-2, 0, 500_000, 0, 2, 5_500_000), "does not point north, but 180°"),
    ],
)
def test_a_scene_whose_top_is_not_in_the_north_is_told(
    tmp_path: Path, transform: rasterio.Affine, message: str
) -> None:
    path = tmp_path / "a.tif"
    shape = {"width": 6, "height": 4, "count": 3, "dtype": "uint8", "photometric": "rgb"}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=transform, **shape) as out:
        out.write(SEEN.transpose(2, 0, 1))
    index = {"1": 1, "2": 2, "3": 3}
    ref = Raster(file=path, bands=("1", "2", "3"), band_index=index, high=255)
    for image in (path, ref):
        found = [each.message for each in suspicions(image)]
        assert len(found) == bool(message)
        assert message in "".join(found)


def test_a_declared_size_before_turning_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = lying(tmp_path / "a.png")
    assert images.is_turned(path)
    assert not images.is_turned(lying(tmp_path / "b.png", 1))
    with pytest.raises(DataError):
        images.is_turned(tmp_path / "absent.png")
