"""Looks into a user's annotations and writes the TOML file that describes them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from geovlm.api import Sample, Split
from geovlm.errors import ConfigError
from geovlm.files.jsontext import dumps
from geovlm.plugins.annotations import guessing, kinds, splits
from geovlm.plugins.annotations.description import NAME, NEED_LABELS, Description
from geovlm.plugins.annotations.loading import Loader
from geovlm.plugins.annotations.readers import READERS
from geovlm.plugins.annotations.records import LeftOut, Skipped, unusable

_CLOSED = 20
"""Distinct answers up to which the answers of questions are a list."""
_CLASSES = 200
"""Distinct labels up to which classes are a list."""
_NUMBERS = re.compile(r"\[\s*\d+(?:\.\d+)?(?:\s*,\s*\d+(?:\.\d+)?){3}\s*\]")
"""A box in a text."""
_COUNTED = 1000
"""Distinct answers that are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """Contents of a source."""

    records: Mapping[Split, int]
    """Split -> records that the task can use, by shares."""
    given: Mapping[Split, int]
    """Split -> the same records, as the source says it; empty: it says nothing."""
    labels: Mapping[str, int]
    """Label or answer -> number, most frequent first; at most a thousand."""
    reasons: int
    """Records with a reasoning."""
    skipped: Mapping[str, LeftOut]
    """Reason -> items that are left out."""
    numbers: int = 0
    """Records whose answer is a text with a box written as four numbers."""


def name_of(text: str) -> str:
    """Return a name for a data set, made of a text.

    Raises:
        ConfigError: the text is not a name; the hint is one that is near.
    """
    if NAME.fullmatch(text):
        return text
    near = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    near = near if NAME.fullmatch(near) else f"data_{near}".rstrip("_")
    raise ConfigError(f"{text!r} is not a name: use a-z, 0-9 and _", hint=f"such as {near}")


def survey(
    description: Description, *, defect: Callable[[Sample], str | None] = lambda sample: None
) -> Survey:
    """Read a source once, and count the records that the task can use, and their labels.

    `defect` returns why a sample is left out for its texts, as `geovlm.data.texts.Gate` finds it.

    Raises:
        DataError: the source cannot be read, or holds no record that can be used.
    """
    loader, kind = Loader(description), kinds.of(description)
    by_shares = replace(description, split=description.split.replace("given", "80/10/10"))
    hashed = splits.Splits(by_shares)
    records: Counter[Split] = Counter()
    given: Counter[Split] = Counter()
    labels: Counter[str] = Counter()
    reasons = stated = numbers = 0
    skipped = Skipped()
    for record in READERS[description.format].read(loader.source, description, skipped):
        if missing := kinds.lacks(record, description):
            skipped(f"record without {missing}", record.where)
            continue
        if why := defect(loader.sample(record)):
            skipped(why, record.where)
            continue
        records[hashed.of_record(record)] += 1
        given[record.split or "train"] += 1
        stated += record.split is not None
        reasons += bool(record.reasoning)
        numbers += record.boxes is None and _NUMBERS.search(record.answer or "") is not None
        for label in kind.labels(record):
            if label in labels or len(labels) < _COUNTED:
                labels[label] += 1
    if not records:
        raise unusable(loader.source, skipped, task=description.task, hint=_other(description))
    return Survey(
        records=records,
        given=given if stated else {},
        labels=dict(labels.most_common()),
        reasons=reasons,
        skipped=skipped,
        numbers=numbers,
    )


def _other(description: Description) -> str:
    """Return the hint that the first records are for another task; empty if they are for none."""
    look = replace(description, task="refer", columns={}, reasoning="auto")
    try:
        found = READERS[look.format].read(Loader(look).source, look, lambda reason, item: None)
        task = guessing.task_of(list(islice(found, guessing.LOOKED_AT)))
    except ConfigError:  # columns that only a description names
        return ""
    if task in ("", description.task):
        return ""
    wording = " --question 'Describe the object at {box}.'"
    marks = description.task == "refer" and task == "caption"
    return f"its records are for --task {task}{wording if marks else ''}"


def settle(description: Description, found: Survey, *, split: str) -> Description:
    """Return a description with its split, labels and reasoning, as the survey suggests them.

    Args:
        description: the description that was surveyed; without labels it gets all, where they are
            not too many.
        found: its survey.
        split: the split that is wanted; empty: `given` if the source says it, else 80/10/10.

    Raises:
        ConfigError: no record has one of the labels.
    """
    labels = description.labels
    unknown = next((label for label in labels if label not in found.labels), None)
    if unknown is not None:
        known = ", ".join(list(found.labels)[:_CLOSED])
        raise ConfigError(f"no object has the label {unknown!r}", hint=f"labels are {known}")
    task, n = description.task, sum(found.records.values())
    limit = {"detect": _COUNTED, "classify": _CLASSES, "vqa": min(_CLOSED, n // 5)}.get(task, 0)
    every = tuple(found.labels) if len(found.labels) <= limit else ()
    says = len(found.given) > 1 and found.given.get("train")
    reasoning = description.reasoning
    if reasoning == "auto" and not kinds.of(description).derives:
        reasoning = "tags" if found.reasons == n else "none"
    return replace(
        description,
        split=split or ("given" if says else "80/10/10"),
        labels=labels or every,
        reasoning=reasoning,
    )


def text(description: Description) -> str:
    """Return the TOML file of a description."""
    own = description
    lines = [
        "# A data set of your own; docs/your-data.md explains the keys. Paths start at this file.",
        "[dataset]",
        *(f"{key} = {dumps(getattr(own, key))}" for key in ("name", "source", "format")),
        f"images = {dumps(own.images)}  # empty: beside the source",
        f"task = {dumps(own.task)}",
        *_optional(own),
        f"question = {dumps(own.question)}  # empty: that of the row or of the task",
        f"split = {dumps(own.split)}  # train/val/test, or given",
        f"seed = {own.seed}  # of the split",
        f"licence = {dumps(own.licence)}",
        f"citation = {dumps(own.citation)}",
    ]
    return "\n".join(lines) + "\n"


def _optional(own: Description) -> Iterator[str]:
    """Yield the keys that only some formats and tasks have."""
    if own.labels:
        yield f"labels = {dumps(list(own.labels))}"
    if own.task == "detect" and (own.ask != "each" or len(own.labels) > 1):
        yield f"ask = {dumps(own.ask)}  # one question for each label, or for all"
    if own.columns:
        pairs = (f"{role} = {dumps(name)}" for role, name in own.columns.items())
        yield f"columns = {{{', '.join(pairs)}}}"
    if own.bands:
        yield f"bands = {dumps(list(own.bands))}"
    if own.tile:
        yield f"tile = {own.tile}  # side of the windows of a scene, pixels"
        yield f"overlap = {own.overlap}"
    if own.boxes != "xyxy":
        yield f"boxes = {dumps(own.boxes)}  # numbers of a box: xyxy, xywh or norm1"
    if own.task == "mcq":
        yield f"choices = {dumps(own.choices)}  # given or shuffled"
    if own.group_by != "image":
        yield f"group_by = {dumps(own.group_by)}  # stays together in one split"
    if own.reasoning != "auto":
        yield f"reasoning = {dumps(own.reasoning)}  # auto, none, tags, or a column"


def lines(description: Description, found: Survey) -> list[tuple[str, str]]:
    """Return what was found, as rows of name and text."""
    own = description
    names = list(found.labels.items())
    shown = ", ".join(f"{label[:40]} {n:,}" for label, n in names[:_CLOSED])
    more = f" and {len(names) - _CLOSED} others" if len(names) > _CLOSED else ""
    records = found.given if own.split == "given" else found.records
    counts = names or own.task in NEED_LABELS  # captions and phrases are not counted
    rows = [("format", own.format), ("task", own.task)]
    if own.ask != "each":
        rows.append(("ask", own.ask))
    if own.columns:
        pairs = (f"{role}: {_spoken(name)}" for role, name in own.columns.items())
        rows.append(("columns", ", ".join(pairs)))
    if own.boxes == "xywh":
        rows.append(("boxes", "xywh: a corner, width and height, as in COCO"))
    elif "answer" in own.columns and own.task in ("refer", "detect"):
        rows.append(("boxes", f"{own.boxes}, in the answers: edit 'boxes' if it is another frame"))
    rows += [
        ("records", ", ".join(f"{split} {n:,}" for split, n in sorted(records.items()))),
        *([(kinds.of(own).counted, f"{shown}{more}" or "none")] if counts else []),
        ("reasoning", own.reasoning),
    ]
    if found.numbers:
        rows.append(
            (
                "note",
                f"boxes written as numbers are in {found.numbers:,} answers and stay text: their "
                "frame is not known; with a column of their own they are read, see --task refer",
            )
        )
    absent = [split for split in ("train", "val", "test") if not records.get(split)]
    if absent:
        rows.append(("note", f"no record is in {' and '.join(absent)}: see --split and --group-by"))
    rows += [
        ("left out", f"{each.count:,} for {reason}: {', '.join(each.first)}")
        for reason, each in found.skipped.items()
    ]
    return rows


def _spoken(columns: str | tuple[str, ...]) -> str:
    return columns if isinstance(columns, str) else " + ".join(columns)
