"""Holds the types of a protocol: records in, counts per record, named scores of summed counts.

Every score of a protocol is a function of counts that add up over records. The scores of a resample
then cost no more than a sum, so every score has an interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from geovlm import answers

if TYPE_CHECKING:
    from geovlm.score.bootstrap import Interval

Counts: TypeAlias = Mapping[str, float]
"""Name -> number; an absent name counts 0."""
Scores: TypeAlias = dict[str, float]

_CAPTIONS = tuple(f"caption{i}" for i in range(5))


class UnreadableError(ValueError):
    """A record that cannot be scored; the message is the reason under which it is counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One line of a prediction file."""

    fields: Mapping[str, Any]
    """The JSON object of the line."""
    own: bool
    """True if GeoVLM's evaluation wrote it (it has `task`, `completion` and `target`)."""
    folder: Path = Path()
    """Folder of the file; paths in the record are relative to it."""

    def text(self, *names: str) -> str:
        """Return the first of these fields that the record has; raises if it is not text."""
        return text(self.fields, *names)

    def target(self) -> Mapping[str, Any]:
        """Return the target of a record of GeoVLM; `UnreadableError` if it is not an object."""
        value = self.fields.get("target")
        if not isinstance(value, dict):
            raise UnreadableError("field 'target' is not an object")
        return value

    def answer(self) -> str:
        """Return field `answer`; of a record of GeoVLM the answer block, empty if it has none."""
        return answers.answer_text(self.text("completion")) if self.own else self.text("answer")

    def captions(self) -> list[str]:
        """Return the fields `caption0` to `caption4`, as far as the record has them."""
        return [self.text(name) for name in _CAPTIONS if name in self.fields]


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """A published way to score predictions, with a strict counterpart."""

    name: str
    summary: str
    published_rule: str
    """One sentence about what the published scores measure."""
    strict_rule: str
    source: str
    """Paper, or repository, file and commit."""
    needs: tuple[tuple[str, ...], ...]
    """Fields that a record must have; of each tuple, one is enough."""
    needs_own: tuple[str, ...] | None
    """Keys that `target` must have in files of GeoVLM; `None`: such files cannot be scored."""
    read: Callable[[Record], Any]
    """Record -> a case for `tally`. Raises `UnreadableError`."""
    tally: Callable[[Sequence[Any]], Iterable[Counts]]
    """All cases -> the counts of each, in the same order."""
    published: Callable[[Counts], Scores]
    """Summed counts -> scores as published, fractions of 1. A score without a case is left out."""
    strict: Callable[[Counts], Scores]
    counted: Callable[[Counts], dict[str, int]]
    """Summed counts -> number of items behind each published score, under the same names."""
    left_out: Callable[[], dict[str, str]] = dict
    """Scores of this protocol that cannot be computed on this machine -> what each needs."""
    fits: Callable[[Mapping[str, Any]], bool] = lambda fields: True
    """True if a record that has the needed fields also looks like one of this protocol."""


class Score(NamedTuple):
    """The scores of one file under one protocol."""

    protocol: Protocol
    n: int
    """Records scored."""
    published: Scores
    strict: Scores
    counts: dict[str, int]
    ci95: dict[str, dict[str, Interval]]
    """`published` and `strict` -> score -> bounds of the 95 % interval."""
    resampled: str
    """Unit that the interval resamples: `image` or `row`."""
    skipped: dict[str, int]
    """Reason -> lines left out."""


def text(fields: Mapping[str, Any], *names: str) -> str:
    """Return the first of these fields that is there; raises if none is, or it is not text."""
    for name in names:
        if name in fields:
            value = fields[name]
            if not isinstance(value, str):
                raise UnreadableError(f"field {name!r} is not text")
            return value
    raise UnreadableError(f"no field {' or '.join(map(repr, names))}")


def share(part: float, whole: float) -> float:
    """Return part / whole, 0 if whole is 0."""
    return part / whole if whole else 0.0


def groups(counts: Counts, prefix: str) -> list[str]:
    """Return the names of the counts that begin with `prefix`, without it, in their order."""
    return [name.removeprefix(prefix) for name in counts if name.startswith(prefix)]
