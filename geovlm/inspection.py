"""Is a copy of a data set fit for training? Images, boxes, ids, labels and counts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geovlm import boxes
from geovlm.api import DatasetSpec, Raster, Sample, Size
from geovlm.errors import DataError, GeoVLMError
from geovlm.loading import load_records

NAMED = 10
"""Offending items that are named, per kind; the rest are only counted."""

Progress = Callable[..., Iterator[Any]]


@dataclass(slots=True)
class Finding:
    """How often something was found, and where first."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, item: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(item)

    def __str__(self) -> str:
        more = self.count - len(self.first)
        return "\n".join([str(self.count), *self.first, *([f"and {more} more"] if more else [])])


@dataclass(slots=True)
class Report:
    """What was found in one copy of a data set."""

    dataset: str
    root: Path
    licence: str
    homepage: str
    records: dict[str, int] = field(default_factory=dict)
    """Split -> records that the loader gives."""
    failed: dict[str, str] = field(default_factory=dict)
    """Split -> why it could not be read."""
    skipped: dict[str, dict[str, Finding]] = field(default_factory=dict)
    """Split -> reason -> records that the loader left out."""
    images: int = 0
    missing: Finding = field(default_factory=Finding)
    unreadable: Finding = field(default_factory=Finding)
    boxes: int = 0
    outside: Finding = field(default_factory=Finding)
    degenerate: Finding = field(default_factory=Finding)
    duplicates: Finding = field(default_factory=Finding)
    labels: Counter[str] = field(default_factory=Counter)
    decoded: bool = False

    @property
    def fit(self) -> bool:
        """Whether nothing was found that would stop or spoil a training run."""
        spoilt = self.missing.count + self.unreadable.count + self.duplicates.count
        return not spoilt and not self.failed and sum(self.records.values()) > 0

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        kinds = ("missing", "unreadable", "outside", "degenerate", "duplicates")
        found: dict[str, Finding] = {
            "missing": self.missing,
            "unreadable": self.unreadable,
            "outside": self.outside,
            "degenerate": self.degenerate,
            "duplicates": self.duplicates,
        }
        return {
            "dataset": self.dataset,
            "root": str(self.root),
            "fit": self.fit,
            "licence": self.licence,
            "homepage": self.homepage,
            "records": self.records,
            "failed": self.failed,
            "skipped": {
                split: {
                    reason: {"count": one.count, "first": one.first}
                    for reason, one in reasons.items()
                }
                for split, reasons in self.skipped.items()
            },
            "images": self.images,
            "decoded": self.decoded,
            "boxes": self.boxes,
            "labels": dict(self.labels.most_common()),
        } | {kind: {"count": found[kind].count, "first": found[kind].first} for kind in kinds}

    def lines(self) -> Iterator[tuple[str, object]]:
        """Yield (name, text) for people."""
        yield "data set", f"{self.dataset} in {self.root}"
        yield "licence", f"{self.licence} ({self.homepage})"
        for split, count in self.records.items():
            yield f"{split} records", count
        for split, why in self.failed.items():
            yield f"{split} cannot be read", why
        for split, reasons in self.skipped.items():
            for reason, found in reasons.items():
                yield f"{split} skipped, {reason}", found
        yield "images", f"{self.images}, {'decoded' if self.decoded else 'headers read'}"
        yield "images missing", self.missing
        yield "images unreadable", self.unreadable
        yield "boxes", self.boxes
        yield "boxes that leave the image", self.outside
        yield "boxes without area", self.degenerate
        yield "ids used twice", self.duplicates
        if self.labels:
            listed = [f"{count} {label}" for label, count in self.labels.most_common()]
            yield f"labels, {len(listed)}", "\n".join(listed)


def inspect(
    spec: DatasetSpec,
    *,
    root: Path,
    options: Any = None,
    decode: bool = False,
    progress: Progress,
) -> Report:
    """Read every split and look at every image once, several at a time.

    Args:
        spec: the data set.
        root: its folder.
        options: an instance of the spec's `options` class; its defaults if `None`.
        decode: decode all pixels; otherwise only the headers are read.
        progress: `(items, *, label, total)` yields the items and shows how far it is.

    Raises:
        GeoVLMError: no split can be read; the error of the first.
    """
    report = Report(
        dataset=spec.name,
        root=root,
        licence=spec.licence,
        homepage=spec.homepage,
        decoded=decode,
    )
    records: list[Sample] = []
    errors: list[GeoVLMError] = []
    for split in spec.splits:
        try:
            loaded = load_records(spec, root=root, split=split, options=options)
        except GeoVLMError as error:
            report.failed[split] = str(error)
            errors.append(error)
            continue
        report.records[split] = len(loaded.records)
        report.skipped[split] = {
            reason: Finding(count=count, first=loaded.examples.get(reason, [])[:NAMED])
            for reason, count in loaded.skipped.items()
        }
        records += loaded.records
    if len(errors) == len(spec.splits):
        raise errors[0]
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            report.duplicates.add(record.id)
        seen.add(record.id)
        report.labels.update(_labels(record))
    sizes = _look(records, report, decode=decode, progress=progress)
    for record in records:
        _measure(record, sizes.get(_key(record.images[-1])), report)
    return report


def _look(
    records: Iterable[Sample], report: Report, *, decode: bool, progress: Progress
) -> dict[str, Size]:
    """Look at every distinct image; return the sizes of those that can be read."""
    from geovlm import raster

    images = {_key(image): image for record in records for image in record.images}
    report.images = len(images)

    def look(image: Path | Raster) -> Size | DataError:
        try:
            return raster.open_image(image).size if decode else raster.image_size(image)
        except DataError as error:
            return error

    sizes: dict[str, Size] = {}
    with ThreadPoolExecutor(max_workers=min(16, 4 * (os.cpu_count() or 1))) as pool:
        results = zip(images, pool.map(look, images.values()), strict=True)
        for key, result in progress(results, label="images", total=len(images)):
            if not isinstance(result, DataError):
                sizes[key] = result
            elif all(path.is_file() for path in _files(images[key])):
                report.unreadable.add(f"{key}: {result.args[0]}")
            else:
                report.missing.add(key)
    return sizes


def _measure(record: Sample, size: Size | None, report: Report) -> None:
    """Count the record's boxes that have no area or leave their image."""
    for box in boxes.target_boxes(record.target):
        report.boxes += 1
        if box.x1 <= box.x0 or box.y1 <= box.y0:
            report.degenerate.add(f"{record.id}: {list(box)}")
            continue
        hull = boxes.enclosing(box) if box.angle_deg else box
        inside = size is None or (
            hull.x0 >= 0 and hull.y0 >= 0 and hull.x1 <= size[0] and hull.y1 <= size[1]
        )
        if not inside:
            report.outside.add(f"{record.id}: {[round(v, 2) for v in box]} in {size}")


def _labels(record: Sample) -> list[str]:
    labels = record.target.get("labels")
    return [str(label) for label in labels] if isinstance(labels, list | tuple) else []


def _files(image: Path | Raster) -> list[Path]:
    if isinstance(image, Raster):
        return [image.files[band] for band in image.bands]
    return [image]


def _key(image: Path | Raster) -> str:
    """A name for an image: the same for the same pixels."""
    if isinstance(image, Raster):
        return " + ".join(dict.fromkeys(str(path) for path in _files(image)))
    return str(image)
