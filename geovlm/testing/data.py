"""Checks a plugin's data sets on the data that it generates."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from geovlm import boxes, raster
from geovlm.api import DatasetSpec, Raster, Sample
from geovlm.data.loading import find_root
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm.files.caches import cache_dir
from geovlm.plugins.references import resolve
from geovlm.raster import reference
from geovlm.testing.findings import Finding, PluginFault, fault, remark, source
from geovlm.testing.subject import Subject, read


def sample_deterministic(subject: Subject) -> Iterator[Finding]:
    """The same seed writes the same files, byte for byte."""
    for spec in subject.datasets:
        if spec.make_sample is None:
            continue
        first, second = (_bytes(subject.write(spec, n=2, seed=7)) for _ in range(2))
        differing = sorted(name for name in first | second if first.get(name) != second.get(name))
        if differing:
            yield fault(
                f"make_sample of {spec.name!r} wrote {differing[0]!r} differently the second time, "
                "with the same seed",
                file=source(resolve(spec.make_sample)),
            )


def sample_loads(subject: Subject) -> Iterator[Finding]:
    """The loader reads what make_sample wrote: every split, in a stable order, up to the limit.

    Without make_sample it reads a few real records of some split.
    """
    for spec in subject.datasets:
        root, file = subject.roots[spec.name], source(resolve(spec.load))
        limit, n = subject.limit(spec), sum(map(len, subject.records[spec.name].values()))
        if spec.make_sample is None:
            if not n:
                yield fault(f"load of {spec.name!r} reads no record of {root}", file=file)
            yield remark(f"data set {spec.name!r} has no make_sample: {n} records of {root} read")
        for split, records in subject.records[spec.name].items():
            where = f"load of {spec.name!r}, split {split!r},"
            if not records:
                if spec.make_sample is not None:
                    yield fault(f"{where} reads no record of what make_sample wrote", file=file)
                continue
            again = read(spec, root, split=split, limit=limit)
            if [r.id for r in again] != [r.id for r in records]:
                yield fault(f"{where} yields other records the second time", file=file)
            limited = [r.id for r in read(spec, root, split=split, limit=1)]
            if limited != [records[0].id]:
                yield fault(
                    f"{where} yields {limited} with limit=1 instead of the first record", file=file
                )
            if spec.root is None:
                yield from _outside_root(spec, records, root=root)
    for task in subject.tasks:
        if not subject.chosen[task.name]:
            yield fault(
                f"task {task.name!r} makes no sample of the records of {task.dataset!r}",
                file=source(resolve(task.samples or subject.registry.dataset(task.dataset).load)),
            )


def absent_data_named(subject: Subject) -> Iterator[Finding]:
    """An empty folder is refused with DatasetNotFoundError or DataError, not read as no data."""
    for spec in subject.datasets:
        split, file = spec.splits[0], source(resolve(spec.load))
        with tempfile.TemporaryDirectory(dir=subject.scratch.name) as empty:
            try:
                read(spec, Path(empty), split=split)
            except PluginFault as caught:
                if isinstance(caught.__cause__, DatasetNotFoundError | DataError):
                    continue
                yield fault(f"{caught.finding.sentence} on an empty folder", file=file)
            else:
                yield fault(
                    f"load of {spec.name!r}, split {split!r}, accepts an empty folder: raise "
                    "DatasetNotFoundError with the file that it looked for",
                    file=file,
                )


def folders_recognised(subject: Subject) -> Iterator[Finding]:
    """The data set is found and read under each of its folder names."""
    for spec in subject.datasets:
        for name in spec.folders:
            if name in ("", ".", "..") or Path(name).name != name:
                yield fault(
                    f"data set {spec.name!r}: folder {name!r} is not the bare name of a folder",
                    file=subject.declarations,
                )
                continue
            with tempfile.TemporaryDirectory(dir=subject.scratch.name) as common:
                (Path(common) / name).symlink_to(subject.roots[spec.name])
                root = find_root(spec, data_root=Path(common))
                split = next(each for each, many in subject.records[spec.name].items() if many)
                if not read(spec, root, split=split, limit=1):
                    yield fault(
                        f"data set {spec.name!r}: nothing is read in a folder called {name!r}",
                        file=source(resolve(spec.load)),
                    )


def unique_ids(subject: Subject) -> Iterator[Finding]:
    """No id occurs twice, over all splits, among the records and among a task's samples."""
    faulty = set()
    for spec in subject.datasets:
        twice = _twice([r for many in subject.records[spec.name].values() for r in many])
        if twice:
            faulty.add(spec.name)
            yield fault(
                f"data set {spec.name!r} gives the id {twice[0]!r} to more than one record",
                file=source(resolve(spec.load)),
            )
    for task in subject.tasks:
        twice = _twice([s for many in subject.samples[task.name].values() for s in many])
        if twice and task.samples is not None and task.dataset not in faulty:
            yield fault(
                f"task {task.name!r} gives the id {twice[0]!r} to more than one sample",
                file=source(resolve(task.samples)),
            )


def images_open(subject: Subject) -> Iterator[Finding]:
    """Every record has an image, and every image can be decoded."""
    for spec in subject.datasets:
        file = source(resolve(spec.load))
        seen: set[str] = set()
        for record in _records(subject, spec):
            if not record.images:
                yield fault(f"record {record.id!r} of {spec.name!r} has no image", file=file)
            for image in record.images:
                key = json.dumps(reference.encode(image), sort_keys=True)
                if key in seen:
                    continue
                seen.add(key)
                try:
                    raster.open_image(image)
                except DataError as error:
                    yield fault(
                        f"record {record.id!r} of {spec.name!r}: {error.args[0]}", file=file
                    )


def boxes_inside(subject: Subject) -> Iterator[Finding]:
    """Every box has four or five numbers and an area, and lies in the last image."""
    return _faults(subject, _odd_boxes)


def targets_survive_json(subject: Subject) -> Iterator[Finding]:
    """Target and meta are the same after JSON: lists, not tuples or arrays; no NaN."""
    return _faults(subject, _lost_in_json)


def _faults(subject: Subject, find: Callable[[Sample], Iterator[str]]) -> Iterator[Finding]:
    """Yield what is found in the records, and in the samples that tasks make of them."""
    for spec in subject.datasets:
        file = source(resolve(spec.load))
        for record in _records(subject, spec):
            for why in find(record):
                yield fault(f"record {record.id!r} of {spec.name!r}: {why}", file=file)
    for task in subject.tasks:
        if task.samples is None:
            continue
        file = source(resolve(task.samples))
        for sample in subject.chosen[task.name]:
            for why in find(sample):
                yield fault(f"sample {sample.id!r} of task {task.name!r}: {why}", file=file)


def _records(subject: Subject, spec: DatasetSpec) -> Iterator[Sample]:
    for many in subject.records[spec.name].values():
        yield from many


def _bytes(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _outside_root(spec: DatasetSpec, records: list[Sample], *, root: Path) -> Iterator[Finding]:
    """Name the first image that lies neither in the folder of the data set nor in the cache."""
    allowed = (root, Path(os.path.normpath(cache_dir().absolute())))
    for record in records:
        for image in record.images:
            for path in image.files.values() if isinstance(image, Raster) else (image,):
                if not any(map(Path(os.path.normpath(path)).is_relative_to, allowed)):
                    yield fault(
                        f"record {record.id!r} of {spec.name!r} reads {path}, outside its folder",
                        file=source(resolve(spec.load)),
                    )
                    return


def _twice(samples: list[Sample]) -> list[str]:
    """Return the ids that occur more than once."""
    seen: set[str] = set()
    return [s.id for s in samples if s.id in seen or seen.add(s.id)]  # type: ignore[func-returns-value]


def _odd_boxes(sample: Sample) -> Iterator[str]:
    """Yield a sentence for each box that is malformed, or leaves the image by over 0.01 px."""
    width, height = raster.image_size(sample.images[-1])
    for numbers in sample.target.get("boxes") or ():  # type: ignore[union-attr]
        if not isinstance(numbers, list | tuple) or len(numbers) not in (4, 5):
            yield f"box {numbers} does not have four or five numbers"
            continue
        box = boxes.Box(*map(float, numbers))
        hull = boxes.enclosing(box)
        if box.x1 <= box.x0 or box.y1 <= box.y0:
            yield f"box {list(numbers)} has no area"
        elif min(hull.x0, hull.y0, width - hull.x1, height - hull.y1) < -0.01:
            yield f"box {list(numbers)} leaves its image of {width} x {height} px"


def _lost_in_json(sample: Sample) -> Iterator[str]:
    for field, value in (("target", sample.target), ("meta", sample.meta)):
        try:
            again = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            yield f"its {field} is not JSON: {error}"
            continue
        changed = sorted(key for key in value if again.get(key) != value[key])
        if changed:
            name = changed[0]
            yield f"its {field}[{name!r}] changes when written as JSON: use lists and numbers"
