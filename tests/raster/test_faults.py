"""Faults of files and of GDAL's installation: each is one line with the cause and the fix."""

from __future__ import annotations

import os
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geovlm import raster
from geovlm.api import Raster
from geovlm.errors import DataError
from geovlm.run.doctor import machine

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


def tiff(path: Path, size: int = 64) -> Path:
    values = np.random.default_rng(0).integers(0, 255, (3, size, size), dtype=np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", width=size, height=size, count=3, dtype="uint8"
    ) as out:
        out.write(values)
    return path


def vrt(path: Path, source: str, *, size: int = 64) -> Path:
    """Write a VRT of three bands whose pixels are in another file, relative to the VRT."""
    band = (
        '<VRTRasterBand dataType="Byte" band="{0}"><ColorInterp>{1}</ColorInterp><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{source}</SourceFilename>'
        "<SourceBand>{0}</SourceBand><SourceProperties "
        f'RasterXSize="{size}" RasterYSize="{size}" DataType="Byte"/>'
        "</SimpleSource></VRTRasterBand>"
    )
    bands = "".join(
        band.format(i, name) for i, name in enumerate(("Red", "Green", "Blue"), start=1)
    )
    path.write_text(f'<VRTDataset rasterXSize="{size}" rasterYSize="{size}">{bands}</VRTDataset>')
    return path


def shown(path: Path) -> Raster:
    return Raster(file=path, bands=("1", "2", "3"), band_index={"1": 1, "2": 2, "3": 3}, high=255)


def test_the_missing_source_of_a_vrt_is_named(tmp_path: Path) -> None:
    path = vrt(tmp_path / "mosaic.vrt", "tiles/missing.tif")
    with pytest.raises(DataError, match=r"mosaic\.vrt: band 1 .*tiles/missing\.tif: No such file"):
        raster.open_image(shown(path))


def test_the_missing_source_behind_a_second_vrt_is_named(tmp_path: Path) -> None:
    vrt(tmp_path / "inner.vrt", "tiles/missing.tif")
    outer = vrt(tmp_path / "outer.vrt", "inner.vrt")
    with pytest.raises(DataError, match=r"outer\.vrt: .*tiles/missing\.tif: No such file"):
        raster.open_image(shown(outer))


def test_the_cut_off_source_of_a_vrt_is_named_and_where_it_ends(tmp_path: Path) -> None:
    whole = tiff(tmp_path / "part.tif", size=256)
    whole.write_bytes(whole.read_bytes()[: 64 * 1024])
    path = vrt(tmp_path / "mosaic.vrt", "part.tif", size=256)
    with pytest.raises(DataError, match=r"part\.tif, band \d: .*scanline \d+; got \d+ bytes"):
        raster.open_image(shown(path))


def test_a_source_that_is_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    (tmp_path / "part.tif").write_text(POINTER)
    path = vrt(tmp_path / "mosaic.vrt", "part.tif")
    with pytest.raises(DataError, match=r"part\.tif is a Git LFS pointer.*\(.*git lfs pull\)"):
        raster.open_image(shown(path))


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (POINTER, "is a Git LFS pointer"),
        ("<!DOCTYPE html>\n<title>403 Forbidden</title>", "is a web page, .*403 Forbidden"),
        ("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is XML, .*AccessDenied"),
        ('{"detail": "Not authenticated"}', "is JSON, .*Not authenticated"),
    ],
)
def test_text_in_place_of_an_image_is_recognised(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=expected):
        raster.open_image(tmp_path / name)
    with pytest.raises(DataError, match=expected):
        raster.open_image(shown(tmp_path / name))


def test_a_compression_that_gdal_lacks_is_named(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif")
    data = bytearray(path.read_bytes())
    field = data.index(struct.pack("<HHI", 259, 3, 1))  # compression: one 16-bit number
    data[field + 8 : field + 10] = struct.pack("<H", 35_925)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.tif: .*missing codec of code 35925"):
        raster.open_image(shown(path))


def test_a_mask_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", size=256)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as out:
        out.write_mask(np.random.default_rng(1).integers(0, 2, (256, 256), dtype=np.uint8) * 255)
    mask = tmp_path / "a.tif.msk"
    data = bytearray(mask.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)  # half of the deflated blocks
    mask.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.tif: (its mask|the mask of band 1) cannot be read: "):
        raster.open_image(shown(path))


def database(folder: Path) -> Path:
    """Write a database of another PROJ, whose layout is older, and return its folder."""
    folder.mkdir()
    with sqlite3.connect(folder / "proj.db") as base:
        base.execute("CREATE TABLE metadata (key TEXT, value TEXT)")
        rows = [("DATABASE.LAYOUT.VERSION.MAJOR", "1"), ("DATABASE.LAYOUT.VERSION.MINOR", "0")]
        base.executemany("INSERT INTO metadata VALUES (?, ?)", rows)
    return folder


def doctor(**environment: str) -> str:
    """Return state, finding and fix of the check of PROJ, in a process with these variables."""
    code = "from geovlm.run.doctor import machine; print(*machine.geodata()[0], sep=' | ')"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    return ended.stdout.strip()


@pytest.mark.parametrize("name", ["PROJ_LIB", "PROJ_DATA"])
def test_the_database_of_another_proj_is_found_and_its_variable_named(
    tmp_path: Path, name: str
) -> None:
    folder = database(tmp_path / "other")
    found = doctor(**{name: str(folder)})
    assert f"FAIL | {name}={folder} belongs to another installation of PROJ: " in found
    assert "LAYOUT.VERSION.MINOR = 0" in found
    assert found.endswith(f"| unset {name}")


def test_a_folder_without_a_database_of_proj_is_found(tmp_path: Path) -> None:
    found = doctor(PROJ_LIB=str(tmp_path))
    assert "FAIL | PROJ_LIB=" in found
    assert "Cannot find proj.db" in found


def test_a_folder_without_data_of_gdal_is_a_warning(tmp_path: Path) -> None:
    found = doctor(GDAL_DATA=str(tmp_path))
    assert "warn | " in found
    assert found.endswith("| unset GDAL_DATA")


def test_gdal_and_proj_find_their_own_data() -> None:
    (check,) = machine.geodata()
    assert (check.state, check.fix) == ("ok", "")
    assert check.found.startswith("GDAL 3.")


def test_a_file_whose_name_is_not_unicode_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "tile\udcff.png"
    path.write_bytes(b"a picture")
    with pytest.raises(DataError, match="its name holds half of a surrogate pair"):
        raster.open_image(path)
    with pytest.raises(DataError, match="its name holds half of a surrogate pair"):
        raster.image_size(path)
