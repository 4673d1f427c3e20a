"""Checks a copy of a data set: counts, images, boxes, ids, labels, duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from geovlm import boxes
from geovlm.api import DatasetSpec, LoadContext, ModelProfile, Raster, Sample, Split
from geovlm.data import objects
from geovlm.data.findings import Finding, Report
from geovlm.data.imagefiles import Header, Presence, Progress, gone, headers, name_of, same
from geovlm.data.loading import load_records
from geovlm.data.texts import USED_ID
from geovlm.errors import DataError, GeoVLMError
from geovlm.plugins.references import resolve
from geovlm.raster import checks
from geovlm.raster.images import is_turned

SHORT_PX = 28
"""Side of one visual token of Qwen2.5-VL; images with a shorter side are reported."""
LOOKED_AT = 64
"""Number of images, evenly spread, whose pixels are compared with what is declared."""
DECODED_LOOKED_AT = 1024
"""The same if all images are decoded: a comparison takes longer than decoding."""
LONG = 200
"""Largest ratio of the sides that the resize of the Qwen family accepts."""


def inspect(
    spec: DatasetSpec,
    *,
    root: Path,
    options: Any = None,
    decode: bool = False,
    profile: ModelProfile | None = None,
    model: str = "",
    progress: Progress,
) -> Report:
    """Read every split, and every image once, several at a time.

    Results about files are kept in the cache, so an interrupted check continues where it stopped.
    With `decode` all pixels are decoded, otherwise only the headers are read. With the `profile` of
    a `model`, boxes are measured as it sees them.

    Raises:
        GeoVLMError: no split can be read; this is the error of the first.
    """
    report = Report(spec.name, root, spec.licence, spec.homepage, decoded=decode)
    parts = _read(spec, report, root=root, options=options)
    _count_labels(chain.from_iterable(parts.values()), report)
    _find_duplicates(chain.from_iterable(parts.values()), report)
    parts = _with_images(parts, report)
    images: dict[str, Path | Raster] = {}
    named: dict[Split, list[tuple[str, ...]]] = {split: [] for split in parts}
    for split, records in parts.items():
        for record in records:
            names = tuple(map(name_of, record.images))  # once: names are long, and many
            images.update(zip(names, record.images, strict=True))
            named[split].append(names)
    found = _read_images(images, report, decode=decode, progress=progress)
    readable = {name: images[name] for name in found}
    most = DECODED_LOOKED_AT if decode else LOOKED_AT
    _look_closer(readable, report, most=most, progress=progress)
    for split, records in parts.items():
        for record, names in zip(records, named[split], strict=True):
            _measure(record, names, found, report)
    if profile is not None:
        report.objects = objects.measure(_views(parts, found, profile=profile))
        report.too_small = objects.warning(report.objects, model=model, profile=profile)
    _compare_splits(named, images, found, report)
    return report


def _read(
    spec: DatasetSpec, report: Report, *, root: Path, options: Any
) -> dict[Split, list[Sample]]:
    """Return the records of every split that can be read; count them and the skipped items."""
    parts: dict[Split, list[Sample]] = {}
    errors: list[GeoVLMError] = []
    if options is None and spec.options is not None:
        options = spec.options()
    for split in spec.splits:
        try:
            loaded = load_records(spec, root=root, split=split, options=options)
        except GeoVLMError as error:
            report.failed[split] = str(error)
            errors.append(error)
            continue
        parts[split] = loaded.records
        report.records[split] = len(loaded.records)
        if spec.official is not None:
            context = LoadContext(root=loaded.root, split=split, options=options)
            official = resolve(spec.official)(context)
            if official is not None:
                report.official[split] = official
        report.skipped[split] = dict(loaded.skipped)
        report.duplicates.extend(report.skipped[split].pop(USED_ID, Finding()))
    if len(errors) == len(spec.splits):
        raise errors[0]
    return parts


def _find_duplicates(records: Iterable[Sample], report: Report) -> None:
    """Report ids that several records have."""
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            report.duplicates.add(record.id)
        seen.add(record.id)


def _with_images(parts: Mapping[Split, list[Sample]], report: Report) -> dict[Split, list[Sample]]:
    """Return the splits of which images may exist; report the others as a whole."""
    kept: dict[Split, list[Sample]] = {}
    for split, records in parts.items():
        absent = gone([image for record in records for image in record.images])
        if absent is None:
            kept[split] = records
            continue
        report.gone[split] = str(absent)
        report.images += absent.number
        report.incomplete += absent.number
        report.missing.extend(Finding(absent.number, [str(absent.first)]))
    return kept


def _count_labels(records: Iterable[Sample], report: Report) -> None:
    """Count labels and closed answers; report those outside their vocabulary, and unused ones."""
    vocabularies: dict[int, frozenset[str]] = {}  # by identity: records of a set share theirs
    for record in records:
        target = record.target
        labels: Any = target.get("labels")
        listed: Any = target.get("vocabulary")
        if labels is None and listed is not None and isinstance(target.get("answer"), str):
            labels = [target["answer"]]
        if not isinstance(labels, list | tuple):
            continue
        report.labels.update(map(str, labels))
        if not isinstance(listed, list | tuple):
            continue
        known = vocabularies.get(id(listed))
        if known is None:
            known = vocabularies[id(listed)] = frozenset(map(str, listed))
        for label in labels:
            if str(label) not in known:
                report.unknown.add(f"{record.id}: {label!r}")
    report.unused = sorted(frozenset().union(*vocabularies.values()) - report.labels.keys())


def _read_images(
    images: Mapping[str, Path | Raster], report: Report, *, decode: bool, progress: Progress
) -> dict[str, Header]:
    """Read every distinct image; return the headers of those that can be read."""
    report.images += len(images)
    there = Presence()
    present: dict[str, Path | Raster] = {}
    for name, image in images.items():
        absent = there.lacking(image)
        for path in absent:
            report.missing.add(str(path))
        if absent:
            report.incomplete += 1
        else:
            present[name] = image
    found: dict[str, Header] = {}
    for name, result in headers(present, decode=decode, progress=progress):
        if isinstance(result, DataError):
            report.unreadable.add(f"{name}: {result.args[0]}")
            continue
        found[name] = result
        width, height = result.size
        if max(width, height) > LONG * min(width, height):
            report.narrow.add(f"{name}: {width} x {height}")
        elif min(width, height) < SHORT_PX:
            report.small.add(f"{name}: {width} x {height}")
    return found


def _look_closer(
    images: Mapping[str, Path | Raster], report: Report, *, most: int, progress: Progress
) -> None:
    """Compare the pixels of about `most` images, evenly spread, with what is declared."""
    found = []
    names = list(images)[:: max(1, len(images) // most)]
    for name in progress(names, label="pixels", total=len(names)):
        try:
            found.append(checks.suspicions(images[name]))
        except DataError as error:
            report.unreadable.add(f"{name}: {error.args[0]}")
    verdict = checks.judge(found)
    report.assumed = list(verdict.notes)
    report.implausible = str(verdict.refusal or "")


def _views(
    parts: Mapping[Split, Sequence[Sample]],
    found: Mapping[str, Header],
    *,
    profile: ModelProfile,
) -> Iterator[objects.View]:
    """Yield the boxes of each record as a model sees them, of images that it can be shown."""
    for record in chain.from_iterable(parts.values()):
        listed = boxes.target_boxes(record.target)
        header = found.get(name_of(record.images[-1])) if listed else None
        if header is not None and max(header.size) <= LONG * min(header.size):
            seen = boxes.input_size(header.size, profile=profile)
            yield objects.View(listed, header.size, seen)


def _measure(
    record: Sample, names: Sequence[str], found: Mapping[str, Header], report: Report
) -> None:
    """Count boxes without area or outside their image, and sizes that differ from the declared."""
    for name, image, declared in zip(names, record.images, record.image_sizes, strict=False):
        header = found.get(name)
        if header is not None and header.size != declared:
            turned = ", turned upright by its orientation" if is_turned(image) else ""
            report.resized.add(
                f"{record.id}: {list(header.size)}{turned}, declared {list(declared)}"
            )
    listed = boxes.target_boxes(record.target)
    if not listed:
        return
    newest = found.get(names[-1])
    size = newest.size if newest is not None else None
    for box in listed:
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


def _compare_splits(
    named: Mapping[Split, list[tuple[str, ...]]],
    images: Mapping[str, Path | Raster],
    found: Mapping[str, Header],
    report: Report,
) -> None:
    """Find images that several splits hold, under one name or under several."""
    splits: dict[str, tuple[Split, ...]] = {}
    for split, many in named.items():
        for name in chain.from_iterable(many):
            before = splits.get(name, ())
            if split not in before:
                splits[name] = (*before, split)
    for name, where in splits.items():
        if len(where) > 1:
            report.shared.add(f"{name} in {', '.join(where)}")
    for names in same(images, {name: header.digest for name, header in found.items()}):
        if len({split for name in names for split in splits[name]}) > 1:
            report.shared.add(" = ".join(f"{name} ({', '.join(splits[name])})" for name in names))
