"""Reads the headers of images, and compares images by their bytes, without decoding them."""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from geovlm import raster
from geovlm.api import Raster, Sample, Size
from geovlm.data import cache
from geovlm.errors import DataError
from geovlm.files.images import listing
from geovlm.raster import images as pictures
from geovlm.raster.faults import unreadable
from geovlm.raster.files import Window, is_absent

Progress = Callable[..., Iterator[Any]]
"""`(items, *, label, total)` yields the items and shows the progress."""
DIGEST = 32
"""Number of characters of a digest."""
FEW = 1000
"""Number of images up to which each is looked for."""
_LOOKED_FOR = 32  # images that are looked for before a folder is
_ENDS = 4096  # bytes at the beginning and at the end of a file that its digest reads


class Header(NamedTuple):
    """Facts of an image that can be read."""

    size: Size
    digest: str
    """Equal for equal files, and nearly always different for different ones."""


def headers(
    images: Mapping[str, Path | Raster], *, decode: bool, progress: Progress
) -> Iterator[tuple[str, Header | DataError]]:
    """Yield every image's name with its header, or with the reason why it cannot be read.

    With `decode` all pixels are decoded too, otherwise only headers and the ends of files are read.
    """
    from geovlm import raster
    from geovlm.raster import reference
    from geovlm.raster.bands import locate

    def kind(name: str) -> str:
        image = images[name]
        bands = f" {json.dumps(reference.encode(image))}" if isinstance(image, Raster) else ""
        return f"header-2-{decode}{bands}"

    def work(name: str, paths: Sequence[Path]) -> bytes:
        image = images[name]
        size = raster.image_size(image)
        if isinstance(image, Raster):
            for band in image.bands[1:]:
                locate(image, band)
        if decode:
            raster.open_image(image)
        return json.dumps([*size, digest(paths, window=window_of(image))]).encode()

    found = cache.look(list(images), kind=kind, files=lambda name: files(images[name]), work=work)
    for name, result in progress(found, label="images", total=len(images)):
        if isinstance(result, DataError):
            yield name, result
        else:
            width, height, made = json.loads(result)
            yield name, Header(size=(width, height), digest=made)


def same(
    images: Mapping[str, Path | Raster], digests: Mapping[str, str]
) -> Iterator[tuple[str, ...]]:
    """Yield groups of names whose images have the same bytes, compared byte by byte."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name, digest in digests.items():
        alike[digest].append(name)
    for names in alike.values():
        while len(names) > 1:
            first, *others = names
            equal = [other for other in others if same_bytes(images[first], images[other])]
            if equal:
                yield (first, *equal)
            names = [other for other in others if other not in equal]


def files(image: Path | Raster) -> tuple[Path, ...]:
    """Return the files of an image; of a raster those of the bands in its picture."""
    if not isinstance(image, Raster):
        return (image,)
    from geovlm.raster.bands import needed

    paths = [image.files[band] for band in needed(image)]
    if image.file is not None:
        paths.append(image.file)
    return tuple({str(path): path for path in paths}.values())  # hashing paths takes longer


class Gone(NamedTuple):
    """Images that are absent as a whole."""

    number: int
    """Number of the images, each once."""
    folder: Path
    """Folder in which none of them lies."""
    exists: bool
    first: Path
    """A file of the first image."""

    def __str__(self) -> str:
        if self.exists:
            return f"{self.folder} holds none of the {self.number:,} images"
        return f"{self.folder} does not exist, nor do the {self.number:,} images in it"


def gone(images: Sequence[Path | Raster]) -> Gone | None:
    """Return the folder in which none of the images lies; `None` if an image may be there.

    A few evenly spread images are looked for. If none of them exists, one look into the folder that
    holds all images, or would hold them, tells whether any can be there: that costs two seconds for
    half a million images. `None` for at most `FEW` images, whose files are better named one by one.
    """
    if len(images) <= FEW:
        return None
    spread = images[:: max(1, len(images) // _LOOKED_FOR)]
    if not all(is_absent(_first(image)) for image in spread):
        return None
    paths = [str(_first(image)) for image in images]
    try:
        common = Path(os.path.commonpath({path.rpartition(os.sep)[0] for path in paths}))
    except ValueError:  # of relative and absolute names
        return None
    folder = next((each for each in (common, *common.parents) if each.is_dir()), Path())
    if len(folder.parts) < 2:
        return None
    there, start = listing(folder).names, len(f"{folder}{os.sep}")
    if folder == common:
        if any(path[start:].partition(os.sep)[0] in there for path in paths):
            return None
        return Gone(len(set(paths)), folder, True, Path(paths[0]))
    missing = folder / common.parts[len(folder.parts)]
    return None if missing.name in there else Gone(len(set(paths)), missing, False, Path(paths[0]))


def _first(image: Path | Raster) -> Path:
    """Return a file of an image; of a raster that of its first band, without listing the others."""
    if isinstance(image, Raster):
        held = image.files.get(image.bands[0])
        return held or next(iter(files(image)), Path())
    return image


class Presence:
    """Tells which files exist, as of the first time that their folders are asked about.

    Below a folder that does not exist no file is looked for: half a million patches that were never
    unpacked cost seconds.
    """

    def __init__(self) -> None:
        self._absent: dict[str, bool] = {}

    def lacking(self, image: Path | Raster) -> list[Path]:
        """Return the files of an image that do not exist."""
        return [
            path
            for path in files(image)
            if self._is_absent_folder(str(path).rpartition(os.sep)[0]) or is_absent(path)
        ]

    def _is_absent_folder(self, folder: str) -> bool:
        known = self._absent.get(folder)
        if known is None:
            above = folder.rpartition(os.sep)[0]
            known = bool(above) and self._is_absent_folder(above)
            known = known or (bool(folder) and is_absent(Path(folder)))
            self._absent[folder] = known
        return known


def name_of(image: Path | Raster) -> str:
    """Return a name for an image, equal for the same files, bands and window."""
    if not isinstance(image, Raster):
        return str(image)
    from geovlm.raster.bands import needed

    bands = needed(image)
    first = image.files[bands[0]] if bands else image.file or next(iter(image.files.values()), "")
    part = "" if image.window is None else f" at {', '.join(map(str, image.window))}"
    return f"{first} ({', '.join(image.bands)}){part}"


def window_of(image: Path | Raster) -> Window | None:
    """Return the part of its files that an image shows; `None`: the whole."""
    return image.window if isinstance(image, Raster) else None


def digest(paths: Sequence[Path], *, window: Window | None = None) -> str:
    """Return `DIGEST` characters made of the lengths, beginnings and ends of files.

    Two windows of the same files have two digests.

    Raises:
        DataError: a file cannot be read; names it.
    """
    made = hashlib.blake2b(digest_size=DIGEST // 2)
    if window is not None:
        made.update(b"%d %d %d %d\0" % window)
    for path in paths:
        try:
            with path.open("rb") as file:
                length = file.seek(0, 2)
                file.seek(0)
                made.update(b"%d\0" % length)
                made.update(file.read(_ENDS))
                if length > _ENDS:
                    file.seek(max(_ENDS, length - _ENDS))
                    made.update(file.read(_ENDS))
        except OSError as error:
            raise unreadable(path, error) from error
    return made.hexdigest()


def same_bytes(one: Path | Raster, other: Path | Raster) -> bool:
    """Return true if two images show one window of equal files, compared byte by byte."""
    if window_of(one) != window_of(other) or len(files(one)) != len(files(other)):
        return False
    return all(
        filecmp.cmp(a, b, shallow=False) for a, b in zip(files(one), files(other), strict=True)
    )


def require_sizes(sample: Sample) -> None:
    """Read the headers of a sample's images, and compare their sizes with those declared.

    Raises:
        DataError: an image cannot be read, or does not have the size that its data set declares.
    """
    sizes = tuple(raster.image_size(image) for image in sample.images)
    if sample.image_sizes and sizes != sample.image_sizes:
        hint = "see 'geovlm data check'; was the copy converted?"
        if any(map(pictures.is_turned, sample.images)):
            hint = "it is turned upright, see docs/images.md: its boxes and size must be so too"
        raise DataError(
            f"the images of sample {sample.id!r} measure {list(sizes)} px, its data set declares "
            f"{list(sample.image_sizes)}",
            hint=hint,
        )
