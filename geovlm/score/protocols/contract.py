"""What a protocol is: records in, counts per record, named scores out of summed counts.

Everything a protocol reports is a function of counts that add up over records. That makes scores
of a resample as cheap as a sum, so that every score comes with an interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from geovlm import answers

Counts: TypeAlias = Mapping[str, float]
"""Name -> number; what is absent is 0."""
Scores: TypeAlias = dict[str, float]


class UnreadableError(ValueError):
    """A record that cannot be scored; the message is the reason under which it is counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One line of a prediction file."""

    fields: Mapping[str, Any]
    """The JSON object as it stands."""
    own: bool
    """Whether GeoVLM's evaluation wrote it (`task`, `completion`, `target`)."""
    folder: Path = Path()
    """Where the file lies; paths in the record are relative to it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """A way to score predictions, published by somebody, with a strict counterpart."""

    name: str
    summary: str
    published_rule: str
    """What the published scores measure, in one sentence."""
    strict_rule: str
    source: str
    """Paper, or repository, file and commit."""
    needs: tuple[tuple[str, ...], ...]
    """Fields that a record must have; of alternatives one."""
    needs_own: tuple[str, ...] | None
    """Keys that `target` must have in files of GeoVLM; `None`: such files cannot be scored."""
    read: Callable[[Record], Any]
    """Record -> what `tally` takes. Raises `UnreadableError`."""
    tally: Callable[[Sequence[Any]], Iterable[Counts]]
    """All that was read -> the counts of each, in the same order."""
    published: Callable[[Counts], Scores]
    """Summed counts -> scores as published, fractions. A score without any case is left out."""
    strict: Callable[[Counts], Scores]
    counted: Callable[[Counts], dict[str, int]]
    """Summed counts -> how many items stand behind the published scores, under the same keys."""
    left_out: Callable[[], dict[str, str]] = dict
    """Scores of this protocol that cannot be computed here, and what each needs."""
    fits: Callable[[Mapping[str, Any]], bool] = lambda fields: True
    """Whether a record that has the needed fields also looks like one of this protocol."""


class Score(NamedTuple):
    """Everything that one file yields under one protocol."""

    protocol: Protocol
    n: int
    """Records scored."""
    published: Scores
    strict: Scores
    counts: dict[str, int]
    ci95: dict[str, dict[str, tuple[float, float]]]
    """`published` and `strict` -> score -> bounds of the 95 % interval."""
    resampled: str
    """What the interval resamples: `image` or `row`."""
    skipped: dict[str, int]
    """Reason -> lines left out."""


def text(fields: Mapping[str, Any], *names: str) -> str:
    """Return the first of these fields that is there, which must be text.

    Raises:
        UnreadableError: none is there, or it is no text.
    """
    for name in names:
        if name in fields:
            value = fields[name]
            if not isinstance(value, str):
                raise UnreadableError(f"field {name!r} is no text")
            return value
    raise UnreadableError(f"no field {' or '.join(map(repr, names))}")


def target(record: Record) -> Mapping[str, Any]:
    """Return the gold of a record of GeoVLM.

    Raises:
        UnreadableError: it is no object.
    """
    value = record.fields.get("target")
    if not isinstance(value, dict):
        raise UnreadableError("field 'target' is no object")
    return value


def own_answer(record: Record) -> str:
    """Return the content of the answer block of a record of GeoVLM; empty if it has none."""
    return answers.answer_text(text(record.fields, "completion"))


def share(part: float, whole: float) -> float:
    """Return part / whole, 0 where there is nothing to share."""
    return part / whole if whole else 0.0


def sums(counts: Iterable[Counts]) -> dict[str, float]:
    """Add up counts by name."""
    total: dict[str, float] = {}
    for each in counts:
        for name, value in each.items():
            total[name] = total.get(name, 0.0) + value
    return total


def groups(counts: Counts, prefix: str) -> list[str]:
    """Return what stands behind `prefix` in the names of the counts, in order of appearance."""
    return [name.removeprefix(prefix) for name in counts if name.startswith(prefix)]
