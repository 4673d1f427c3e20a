"""Finds the folder of a data set, and reads its records and the samples of its tasks."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from geovlm import answers
from geovlm.api import DatasetSpec, LoadContext, Sample, Split, TaskSpec
from geovlm.data import texts
from geovlm.data.findings import Finding
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm.files.caches import cache_dir
from geovlm.files.images import only_folder
from geovlm.plugins.references import resolve

REAL_RECORDS = 8
"""Most records of a data set without `make_sample` that a check reads where a few are enough."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """Records of one split, and the number of items that were left out of it."""

    records: list[Sample]
    root: Path
    """Folder that holds the data set: the given one, or the only folder in it."""
    skipped: dict[str, Finding]
    """Reason -> records left out."""
    defects: tuple[str, ...] = ()
    """Those of the reasons that come from `geovlm.data.texts`, not from the loader."""

    @property
    def reasons(self) -> str:
        """The reasons as the end of a sentence; empty if nothing is left out."""
        found = (
            f"{each.count:,} left out for {reason} ({each.first[0]}, …)"
            for reason, each in self.skipped.items()
        )
        return "".join(f"; {each}" for each in found)


def find_root(spec: DatasetSpec, *, data_root: Path | None, override: Path | None = None) -> Path:
    """Return the folder of the data set.

    That is `override`, else the first of the spec's folder names that exists under `data_root`.

    Raises:
        DatasetNotFoundError: neither exists; the hint names the folders that were tried.
    """
    hint = f"give its folder: --data {spec.name}=DIR"
    if override is not None:
        if not override.is_dir():
            raise DatasetNotFoundError(spec.name, override, hint=hint)
        return override
    if data_root is None:
        raise DatasetNotFoundError(spec.name, Path(spec.folders[0]), hint=hint)
    if not data_root.is_dir():
        raise DatasetNotFoundError(spec.name, data_root, hint="--data takes an existing folder")
    for name in spec.folders:
        if (data_root / name).is_dir():
            return data_root / name
    raise DatasetNotFoundError(
        spec.name,
        data_root / spec.folders[0],
        hint=f"looked for {', '.join(spec.folders)}; or {hint}",
    )


def sample_folder(spec: DatasetSpec, *, n: int, seed: int) -> Path:
    """Return the folder of a miniature, which may not be there yet."""
    name = spec.name.replace("/", "__")
    return cache_dir() / "samples" / f"{name}-v{spec.version}-n{n}-seed{seed}"


def generator(
    spec: DatasetSpec, *, hint: str = "there are only real ones"
) -> Callable[[Path, int, int], None]:
    """Return the `make_sample` of a data set.

    Raises:
        DataError: it has none.
    """
    if spec.make_sample is None:
        where = f"the real ones are in {spec.root}" if spec.root is not None else hint
        raise DataError(f"data set {spec.name!r} has no generated data", hint=where)
    return resolve(spec.make_sample)


def sample_root(spec: DatasetSpec, *, n: int, seed: int) -> Path:
    """Return a miniature of the data set in its real layout, `n` records per split, written once.

    It is written into a temporary folder, then moved: an interrupted write leaves no folder.

    Raises:
        DataError: the data set cannot be generated.
    """
    make = generator(spec, hint=f"give real ones: --data {spec.name}=DIR")
    final = sample_folder(spec, n=n, seed=seed)
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        make(scratch, n, seed)
        scratch.chmod(0o755)
        scratch.rename(final)
    except OSError:
        if not final.is_dir():  # another process may have finished the same miniature first
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return final


@runtime_checkable
class AtOnce(Protocol):
    """The `load` of a data set that reads several splits in the time of one."""

    def by_split(self, wanted: Mapping[Split, LoadContext]) -> Iterable[tuple[Split, Sample]]:
        """Yield the samples of all these splits."""
        ...


def reads_at_once(spec: DatasetSpec) -> bool:
    """Return True if `load_splits` reads several splits of a data set in the time of one."""
    return isinstance(resolve(spec.load), AtOnce)


def load_records(
    spec: DatasetSpec,
    *,
    root: Path,
    split: Split,
    limit: int | None = None,
    options: Any = None,
) -> Loaded:
    """Read one split, with the default options if `None`; count the items that are left out.

    The items are those that the loader skips, and records that do not pass `geovlm.data.texts`. If
    `root` does not hold the data set and has exactly one folder in it, that one is read: an archive
    was unpacked into a folder of its own name.

    Raises:
        DataError: the spec has no such split, the loader cannot read a text of its files, or the
            name of the folder is not Unicode.
        DatasetNotFoundError: `root` does not hold the data set.
    """
    return load_splits(spec, root=root, splits=[split], limit=limit, options=options)[split]


def load_splits(
    spec: DatasetSpec,
    *,
    root: Path,
    splits: Sequence[Split],
    limit: int | None = None,
    options: Any = None,
) -> dict[Split, Loaded]:
    """Read several splits, at most `limit` records of each; see `load_records`."""
    for split in splits:
        if split not in spec.splits:
            raise DataError(
                f"data set {spec.name!r} has no split {split!r}",
                hint=f"one of {', '.join(spec.splits)}",
            )
    why = answers.defect(str(root))
    if why is not None:
        raise DataError(
            f"data set {spec.name!r}: the name of its folder {root} holds {why}", hint="rename it"
        )
    if options is None and spec.options is not None:
        options = spec.options()

    def read(folder: Path) -> dict[Split, Loaded]:
        made = {split: _Made(folder, split, limit=limit, options=options) for split in splits}
        load = resolve(spec.load)
        if isinstance(load, AtOnce):
            for split, record in load.by_split({split: made[split].context for split in splits}):
                made[split].add(record)
        else:
            for each in made.values():
                for record in load(each.context):
                    each.add(record)
        return {split: each.loaded() for split, each in made.items()}

    collecting = gc.isenabled()
    gc.disable()  # it would walk the growing list of records again and again, and find nothing
    try:
        return read(root)
    except DatasetNotFoundError as error:
        inner = only_folder(root)
        if inner is None:
            raise
        try:
            return read(inner)
        except DatasetNotFoundError:
            raise error from None
    except UnicodeEncodeError as error:
        raise DataError(
            f"data set {spec.name!r}, split {', '.join(map(repr, splits))}: a text of {root} is "
            f"not Unicode: {error.object[max(0, error.start - 40) : error.end + 40]!a}",
            hint="half of a surrogate pair; write the record anew, or leave it out",
        ) from error
    finally:
        if collecting:
            gc.enable()


class _Made:
    """Collects the records of one split while they are read."""

    def __init__(self, root: Path, split: Split, *, limit: int | None, options: Any) -> None:
        self.context = LoadContext(
            root=root, split=split, limit=limit, options=options, skip=self._skip
        )
        self._records: list[Sample] = []
        self._skipped: dict[str, Finding] = defaultdict(Finding)
        self._defects: set[str] = set()
        self._gate = texts.Gate()

    def _skip(self, reason: str, item: str) -> None:
        self._skipped[texts.shown(reason)].add(texts.shown(item))

    def add(self, record: Sample) -> None:
        """Take a record, or leave it out for its texts."""
        defect = self._gate.defect(record)
        if defect is None:
            self._records.append(record)
        else:
            self._skip(defect, str(record.id))
            self._defects.add(defect)

    def loaded(self) -> Loaded:
        """Return what was collected."""
        return Loaded(
            records=self._records,
            root=self.context.root,
            skipped=dict(self._skipped),
            defects=tuple(sorted(self._defects)),
        )


def task_samples(task: TaskSpec, records: Sequence[Sample]) -> Sequence[Sample]:
    """Return the samples that the task's `samples` makes of each record, else the records."""
    if task.samples is None:
        return records
    expand = resolve(task.samples)
    return [sample for record in records for sample in expand(record)]
