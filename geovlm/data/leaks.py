"""Finds images, events and scenes that training data share with held-out data, across data sets."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from geovlm.api import Raster, Sample, Split
from geovlm.data import cache, fingerprints
from geovlm.data.findings import Finding
from geovlm.data.imagefiles import (
    DIGEST,
    Progress,
    digest,
    files,
    name_of,
    same_bytes,
    window_of,
)
from geovlm.errors import DataError

SHARED_KEYS = ("event", "scene")
"""Keys of `Sample.meta` whose values mean the same in every data set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One split of one data set."""

    dataset: str
    split: Split
    records: Sequence[Sample]

    @property
    def name(self) -> str:
        """Data set and split, such as `xbd train`."""
        return f"{self.dataset} {self.split}"


@dataclass(frozen=True, slots=True)
class SharedImage:
    """An image that training and held-out data have in common."""

    kind: str
    """`same file` or `near duplicate`: equal bytes, or other bytes that show the same picture."""
    train: str
    """Data set and split."""
    train_image: str
    held_out: str
    held_out_image: str
    correlation: float
    """Correlation of the two thumbnails; 1 for the same file."""


@dataclass(frozen=True, slots=True)
class SharedGround:
    """An event or scene that training and held-out data have in common."""

    key: str
    value: str
    train: Mapping[str, int]
    """Data set and split -> records."""
    held_out: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaks:
    """Everything that training and held-out data share."""

    compared: Mapping[str, int]
    """Data set and split -> distinct images compared."""
    images: tuple[SharedImage, ...]
    grounds: tuple[SharedGround, ...]
    unreadable: Finding

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def lines(self) -> Iterable[tuple[str, object]]:
        """Yield (name, text) for people."""
        for name, count in self.compared.items():
            yield f"{name} images", count
        if self.unreadable.count:
            yield "images unreadable, not compared", self.unreadable
        pairs: dict[str, Finding] = defaultdict(Finding)
        for one in self.images:
            text = f"{one.train_image} = {one.held_out_image} ({one.kind}, {one.correlation:g})"
            pairs[f"{one.train} and {one.held_out}"].add(text)
        for name, found in pairs.items():
            yield f"images in {name}", found
        for key in SHARED_KEYS:
            shared = Finding()
            for each in self.grounds:
                if each.key == key:
                    shared.add(f"{each.value}: {_counted(each.train)}; {_counted(each.held_out)}")
            yield f"{key}s shared", shared
        yield "leaks", len(self.images) + len(self.grounds)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """Training data that a run leaves out because its evaluation has them too."""

    images: frozenset[str] = frozenset()
    """Names of images, as `name_of` returns them."""
    grounds: frozenset[tuple[str, str]] = frozenset()
    """Pairs of key and value of `Sample.meta`."""

    def keep(self, records: Iterable[Sample]) -> list[Sample]:
        """Return the records that are not left out."""
        return [record for record in records if not self._has(record)]

    def as_json(self) -> str:
        """Return it as a JSON text."""
        return json.dumps({"images": sorted(self.images), "grounds": sorted(self.grounds)})

    @classmethod
    def read(cls, path: Path) -> LeftOut:
        """Read what `as_json` wrote.

        Raises:
            DataError: the file does not exist or is not JSON; names it.
        """
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} cannot be read: {error}", hint="start the run again"
            ) from error
        return cls(
            images=frozenset(held["images"]),
            grounds=frozenset((key, value) for key, value in held["grounds"]),
        )

    def _has(self, record: Sample) -> bool:
        images = self.images and any(name_of(image) in self.images for image in record.images)
        return bool(images or (self.grounds and not self.grounds.isdisjoint(_grounds(record))))


def find(train: Sequence[Part], held_out: Sequence[Part], *, progress: Progress) -> Leaks:
    """Compare every image of the training parts with every one of the held-out parts.

    Thumbnails are kept in the cache, so an interrupted search continues where it stopped.

    Raises:
        DataError: the cache cannot be used; names it.
    """
    ours, theirs = _side(train), _side(held_out)
    unreadable = Finding()
    known = _thumbnails(ours.images | theirs.images, unreadable, progress=progress)
    names = [[name for name in side.images if name in known] for side in (ours, theirs)]
    alike: dict[bytes, list[str]] = defaultdict(list)
    for name in names[1]:
        alike[known[name][:DIGEST]].append(name)
    copies = {
        (one, other)
        for one in names[0]
        for other in alike.get(known[one][:DIGEST], ())
        if one == other or same_bytes(ours.images[one], theirs.images[other])
    }
    found = dict.fromkeys(sorted(copies), ("same file", 1.0))
    stacks = [fingerprints.stack([known[name][DIGEST:] for name in side]) for side in names]
    for pair in fingerprints.near(*stacks):
        one, other = names[0][pair.left], names[1][pair.right]
        found.setdefault((one, other), ("near duplicate", pair.correlation))
    compared = Counter(
        part for side in (ours, theirs) for holders in side.owners.values() for part in holders
    )
    return Leaks(
        images=tuple(
            SharedImage(kind, part, one, held, other, correlation)
            for (one, other), (kind, correlation) in found.items()
            for part in ours.owners[one]
            for held in theirs.owners[other]
        ),
        grounds=tuple(_shared_grounds(train, held_out)),
        compared={part.name: compared[part.name] for part in (*train, *held_out)},
        unreadable=unreadable,
    )


class _Side(NamedTuple):
    """The images of the training or of the held-out parts."""

    images: dict[str, Path | Raster]
    """Name -> image."""
    owners: Mapping[str, Iterable[str]]
    """Name -> parts that hold the image."""


def left_out(leaks: Leaks, *, events: bool) -> LeftOut:
    """Return the shared images; with `events` also every shared event and scene."""
    return LeftOut(
        images=frozenset(each.train_image for each in leaks.images),
        grounds=frozenset((g.key, g.value) for g in leaks.grounds) if events else frozenset(),
    )


def _side(parts: Sequence[Part]) -> _Side:
    """Return the distinct images of some parts."""
    images: dict[str, Path | Raster] = {}
    owners: dict[str, dict[str, None]] = defaultdict(dict)
    for part in parts:
        for image in (image for record in part.records for image in record.images):
            name = name_of(image)
            images[name] = image
            owners[name][part.name] = None
    return _Side(images, owners)


def _thumbnails(
    images: Mapping[str, Path | Raster], unreadable: Finding, *, progress: Progress
) -> dict[str, bytes]:
    """Return the digest of each image that can be read, then its thumbnail."""
    from geovlm.raster import reference

    def kind(name: str) -> str:
        image = images[name]
        bands = json.dumps(reference.encode(image)) if isinstance(image, Raster) else ""
        return f"thumbnail-3 {bands}"

    def work(name: str, paths: Sequence[Path]) -> bytes:
        made = digest(paths, window=window_of(images[name]))
        return made.encode() + fingerprints.thumbnail(images[name])

    looked = cache.look(list(images), kind=kind, files=lambda name: files(images[name]), work=work)
    known: dict[str, bytes] = {}
    for name, result in progress(looked, label="images", total=len(images)):
        if isinstance(result, DataError):
            unreadable.add(f"{name}: {result.args[0]}")
        else:
            known[name] = result
    return known


def _shared_grounds(train: Sequence[Part], held_out: Sequence[Part]) -> list[SharedGround]:
    counted: list[dict[tuple[str, str], Counter[str]]] = []
    for parts in (train, held_out):
        side: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for part in parts:
            for record in part.records:
                for ground in _grounds(record):
                    side[ground][part.name] += 1
        counted.append(side)
    ours, theirs = counted
    return [
        SharedGround(key, value, dict(ours[key, value]), dict(theirs[key, value]))
        for key, value in sorted(ours.keys() & theirs.keys())
    ]


def _grounds(record: Sample) -> list[tuple[str, str]]:
    return [(key, str(record.meta[key])) for key in SHARED_KEYS if record.meta.get(key)]


def _counted(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} in {name}" for name, count in parts.items())
