"""Turns faults of files and of GDAL's installation into errors that name the cause and the fix."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from geovlm.errors import ConfigError, DataError

PROJ_VARIABLES = ("PROJ_DATA", "PROJ_LIB")
"""Variables that name PROJ's folder of data; GDAL reads the first that is set."""
_HEAD = 512  # bytes of a file that show that it is text
_UNKNOWN = re.compile(r"[`'](?P<path>.+)' not recognized as being in a supported file format")
_UNSUPPORTED = {
    b"ftyphei": "HEIC",
    b"ftypmif1": "HEIF",
    b"ftypavif": "AVIF",
    b"JXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"%PDF-": "PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b\x08": "a gzip archive",
    b"\x93NUMPY": "an array of numpy",
}
"""Bytes at the start of a file, or after its first four -> format that Pillow or GDAL may lack."""
_LESS = ("See previous exception for details",)  # rasterio's pointer to the cause


def unreadable(path: Path, error: OSError) -> DataError:
    """Return the error for a file that the system does not let us read."""
    return DataError(
        f"{path}: the image file cannot be read: {error.strerror or error}",
        hint="check its permissions and those of its folders, and the disk",
    )


def require_readable(path: Path) -> None:
    """Raise `DataError` if the file exists but cannot be read."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise unreadable(path, error) from error


def require_image(path: Path) -> None:
    """Raise `DataError` if the file is no image that can be read; call it when opening has failed.

    Such a file is a picture of a format that is not supported, or text in place of an image: a Git
    LFS pointer, the page of a web server, or its message in XML or JSON.
    """
    try:
        with path.open("rb") as file:
            start_bytes = file.read(_HEAD)
    except OSError as error:
        raise unreadable(path, error) from error
    heads = (start_bytes, start_bytes[4:])  # some formats begin with a length
    name = next((n for mark, n in _UNSUPPORTED.items() for h in heads if h.startswith(mark)), None)
    if name is not None:
        raise DataError(
            f"{path} is {name}, which neither Pillow nor GDAL read here",
            hint="convert it to PNG, JPEG or TIFF",
        )
    head = start_bytes.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    start = head[:20].lower()
    if start.startswith(("<vrtdataset", "<gdal")):
        return  # GDAL's own XML, which describes an image
    if start.startswith("version https://git"):
        raise DataError(
            f"{path} is a Git LFS pointer, a text of some lines in place of the image",
            hint="fetch the files with git lfs pull",
        )
    kinds = {"<!doctype html": "a web page", "<html": "a web page", "<": "XML", "{": "JSON"}
    kind = next((name for mark, name in kinds.items() if start.startswith(mark)), None)
    if kind is not None and "\0" not in head:
        said = " ".join(re.sub(r"<[^>]*>?|[{}\"]", " ", head).split())
        raise DataError(
            f"{path} is {kind}, not an image: {said!r:.100}",
            hint="a server has sent a message in place of the file: download it again",
        )


def reason(error: BaseException) -> str:
    """Return the reasons that GDAL gives for an error, in one line, the last cause at the end.

    rasterio raises a general message, and each further reason of GDAL is the cause of the one
    before.
    """
    found: list[str] = []
    each: BaseException | None = error
    while each is not None:
        text = " ".join(str(each).split()).rstrip(".")
        if text and not any(word in text for word in _LESS) and not any(text in t for t in found):
            found.append(text)
        each = each.__cause__
    return "; ".join(found) or type(error).__name__


@contextmanager
def reported(path: Path | str, *, doing: str = "cannot be read") -> Iterator[None]:
    """Turn each error of rasterio, GDAL or PROJ in the block into a `DataError` of one line.

    It names the file, what failed, and GDAL's reasons. A VRT holds no pixels, so the hint for it is
    to look after its sources.
    """
    import rasterio
    from rasterio._err import CPLE_BaseError  # GDAL's errors have no public name

    try:
        yield
    except rasterio.errors.CRSError as error:
        require_proj()
        raise DataError(
            f"{path}: its CRS cannot be used: {reason(error)}", hint="check it with gdalinfo"
        ) from error
    except (rasterio.errors.RasterioError, CPLE_BaseError) as error:
        why = reason(error)
        source = _UNKNOWN.search(why)
        hint = "copy the file again if it is damaged or cut off; gdalinfo tells more"
        if "codec" in why:
            hint = "the file may be sound: write it with another compression, such as deflate"
        if Path(path).suffix.lower() == ".vrt":
            hint = "a VRT holds no pixels: copy the files that it names too, beside it"
            if source is not None and Path(source["path"]).is_file():
                require_image(Path(source["path"]))
        raise DataError(f"{path}: {doing}: {why}", hint=hint) from error


@cache
def require_proj() -> None:
    """Raise `ConfigError` if PROJ cannot use its database; names the variable that hides it.

    Conda, QGIS and PostGIS set these variables for their own PROJ, whose database has another
    layout. Checked once per process.
    """
    import rasterio
    from rasterio.crs import CRS

    try:
        with rasterio.Env():  # without it, GDAL also prints the error
            CRS.from_epsg(4326)
    except rasterio.errors.CRSError as error:
        why = re.sub(r"^.*internal_proj\w*: ", "", reason(error))
        name = next((each for each in PROJ_VARIABLES if each in os.environ), None)
        if name is None:
            raise ConfigError(
                f"PROJ cannot use its database: {why}",
                hint="install rasterio again: pip install --force-reinstall rasterio",
            ) from error
        raise ConfigError(
            f"{name}={os.environ[name]} belongs to another installation of PROJ: {why}",
            hint=f"unset {name}",
        ) from error
