"""Tells from headers how a picture file is read, and decodes it with Pillow."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageFile, UnidentifiedImageError

from geovlm.api import Size
from geovlm.errors import DataError
from geovlm.raster.appearance import USE_RASTER, NoAppearanceError, on_black, require_picture
from geovlm.raster.files import State, opened
from geovlm.raster.headers import (
    exif_orientation,
    is_placed,
    stored_orientation,
    upright,
    upright_size,
)
from geovlm.raster.masks import PICTURE_DRIVERS

BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""Errors that Pillow raises for damaged files."""
_RASTER_FORMATS = frozenset({"TIFF", "JPEG2000"})
"""Formats that hold more than pictures."""
_ANIMATED = frozenset({"GIF", "WEBP", "PNG", "AVIF"})
"""Formats of animations; that of cameras, MPO, holds previews."""
_OFFSETS = (273, 324)
"""TIFF tags of the offsets of strips and tiles."""
_DECLARING = (338, 42112, 42113)
"""TIFF tags of extra bands, and of GDAL's names of bands and nodata."""
_SIDECARS = (".msk", ".aux.xml")
"""Endings of the files next to a TIFF that hold a mask or GDAL's metadata."""
_SUBFILE_TYPE, _SUB_IFDS = 254, 330
"""TIFF tags: bit 0 says that an image is reduced; places of further images."""
_COMPRESSIONS = frozenset({1, 5, 8, 32773, 32946})
"""None, LZW, deflate, PackBits and deflate again: Pillow and GDAL decode these alike."""
_LAB = 8
"""Photometric interpretation of CIE L*a*b*, which Pillow converts more exactly than GDAL."""
_PLAIN = frozenset({(0, 1), (1, 1), (2, 3), (3, 1), (_LAB, 3)})
"""Photometric interpretation and number of bands: grey, colour, palette, L*a*b*."""


_UNKNOWN = "not recognized as being in a supported file format"
"""GDAL's words for a file of no format that it reads."""


class Look(NamedTuple):
    """The way in which a picture file is read."""

    size: Size
    """Width and height as it is seen, pixels."""
    blocks: bool
    """True if GDAL reads a window without the rest."""
    declared: int
    """Orientation, 1 to 8, that the file declares."""
    turn: int
    """Orientation that is undone: 1, if the file places its stored pixels on the ground."""


@lru_cache(maxsize=65536)
def look(file: State) -> Look:
    """Return how a file of any size is read, from its header; cached until the file changes.

    Raises:
        NoAppearanceError: Bands or a range have to be chosen first.
        DataError: The file is unreadable; damage behind the header is not noticed.
    """
    path, image = file.path, header(file.path)
    if isinstance(image, Exception):
        return _look_by_gdal(path, image)
    with image:
        if is_plain_to_gdal(image):
            return Look(image.size, True, 1, 1)
        if is_plain(image, path):
            require_8_bits(image, path)
            declared = 1 if image.format == "TIFF" else exif_orientation(image)
            turn = applied_orientation(path, declared)
            return Look(upright_size(image.size, turn), False, declared, turn)
        try:
            return _look_by_gdal(path, None)
        except NoAppearanceError:
            raise
        except DataError:
            if is_stub(image):
                raise
            require_8_bits(image, path)
            return Look(image.size, False, 1, 1)


def header(path: Path) -> ImageFile.ImageFile | Exception:
    """Return the picture as Pillow opens it, by its header; or why it does not.

    Raises:
        DataError: The first image of a TIFF is a preview of others, as in raw files of cameras.
    """
    try:
        image = Image.open(path)
    except (Image.DecompressionBombError, *BROKEN) as error:
        return error
    tags: Any = getattr(image, "tag_v2", {})
    if _SUB_IFDS in tags and tags.get(_SUBFILE_TYPE, 0) & 1:
        image.close()
        raise DataError(
            f"{path}: its first image is only a preview of others, as in raw files of cameras",
            hint="write the whole image to PNG, JPEG or TIFF",
        )
    return image


def is_plain(image: ImageFile.ImageFile, path: Path) -> bool:
    """Return True if Pillow shows a file rightly, by its format and the header of a TIFF."""
    if image.format not in _RASTER_FORMATS:
        return not is_stub(image)
    if image.format != "TIFF":
        return False
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    return (
        (tags.get(262), tags.get(277, 1)) in _PLAIN
        and set(tags.get(258, (1,))) == {8}
        and set(tags.get(339, (1,))) == {1}
        and tags.get(259, 1) in _COMPRESSIONS
        and (tags.get(284, 1) == 1 or tags.get(277, 1) == 1)
        and tags.get(274, 1) == 1
        and not tags.next  # a second image may be a mask
        and not any(tag in tags for tag in _DECLARING)
        and not any(path.with_name(path.name + ending).is_file() for ending in _SIDECARS)
    )


def is_stub(image: ImageFile.ImageFile) -> bool:
    """Return True if Pillow only recognises the format of a file, such as HDF5."""
    return isinstance(image, ImageFile.StubImageFile)


def is_plain_to_gdal(image: ImageFile.ImageFile) -> bool:
    """Return True for a TIFF that GDAL shows with its size as stored, by its header alone."""
    if image.format != "TIFF":
        return False
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    return (
        (tags.get(262), tags.get(277, 1)) in {(0, 1), (1, 1), (3, 1), (2, 3), (2, 4)}
        and set(tags.get(258, (1,))) == {8}
        and set(tags.get(339, (1,))) == {1}
        and tags.get(274, 1) == 1
    )


def require_8_bits(image: ImageFile.ImageFile, path: Path) -> None:
    """Raise `NoAppearanceError` if the values of an open picture have more than 8 bits."""
    if image.mode in ("I", "F") or "16" in image.mode or "16" in _raw_mode(image):
        depth = "floating-point" if image.mode == "F" else "more than 8-bit"
        raise NoAppearanceError(
            f"{path}: {depth} values have no agreed brightness", hint=USE_RASTER
        )


def decoded(image: ImageFile.ImageFile, path: Path) -> Image.Image:
    """Return the open picture upright in mode RGB, decoded by Pillow."""
    is_tiff = image.format == "TIFF"
    offsets = [tag for tag in _OFFSETS if tag in getattr(image, "tag_v2", ())]
    if offsets and not image.tag_v2[offsets[0]][-1]:  # type: ignore[attr-defined]
        raise DataError(
            f"{path}: the last block was never written",
            hint="the writer was stopped half-way: write the file again",
        )
    turn = 1 if is_tiff else applied_orientation(path, exif_orientation(image))
    image.load()
    return upright(on_black(image), turn)


def applied_orientation(path: Path, declared: int) -> int:
    """Return the orientation to undo: GDAL turns no picture that is placed on the ground."""
    if declared == 1:
        return 1
    try:
        with opened(path) as source:
            return 1 if is_placed(source) else declared
    except DataError:
        return declared


def by_pillow(path: Path) -> Image.Image | Exception:
    """Return the picture upright in mode RGB, or why Pillow does not decode it."""
    image = header(path)
    if not isinstance(image, ImageFile.ImageFile):
        return image
    with image:
        try:
            return decoded(image, path)
        except BROKEN as error:
            return error


def frame_count(path: Path) -> int:
    """Return the number of pictures of an animation; 1 for anything else."""
    image = header(path)
    if not isinstance(image, ImageFile.ImageFile):
        return 1
    with image:
        frames: int = getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1
        return frames


def opaqueness(path: Path) -> Image.Image | None:
    """Return how opaque each stored pixel of a picture is; `None` if it has no transparency."""
    image = header(path)
    if not isinstance(image, ImageFile.ImageFile):
        return None
    with image:
        return image.convert("RGBA").getchannel("A") if image.has_transparency_data else None


def _look_by_gdal(path: Path, fault: Exception | None) -> Look:
    """Return how GDAL shows a file; `fault` is why Pillow does not, `None` if it might."""
    try:
        with opened(path) as source:
            require_picture(source)
            declared = stored_orientation(source, path)
            turn = 1 if is_placed(source) else declared
            size = upright_size((source.width, source.height), turn)
            blocks = source.driver not in PICTURE_DRIVERS
            if blocks or not isinstance(fault, Image.DecompressionBombError):
                return Look(size, blocks, declared, turn)
    except NoAppearanceError:
        raise
    except DataError as error:
        if isinstance(fault, UnidentifiedImageError) and _UNKNOWN in error.args[0]:
            why = "not a readable image; the file is damaged, cut off or of an unknown format"
            raise DataError(f"{path}: {why}", hint="copy the file again") from error
        if not isinstance(fault, Image.DecompressionBombError):
            raise
    raise DataError(f"{path}: {fault}", hint="cut the image into tiles")


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """Return the storage of the samples: Pillow cuts 16-bit colour to 8 bits without notice."""
    arguments: Any = image.tile[0][3] if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)
