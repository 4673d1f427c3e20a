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
from geovlm.score.protocols import values
from geovlm.score.protocols.values import UnreadableError

if TYPE_CHECKING:
    from geovlm.score.bootstrap import Interval

Counts: TypeAlias = Mapping[str, float]
"""Name -> number; an absent name counts 0."""
Scores: TypeAlias = dict[str, float]

_CAPTIONS = tuple(f"caption{i}" for i in range(5))


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One line of a prediction file."""

    fields: Mapping[str, Any]
    """The JSON object of the line."""
    own: bool
    """True if GeoVLM's evaluation wrote it (it has `task`, `completion` and `target`)."""
    folder: Path = Path()
    """Folder of the file; paths in the record are relative to it."""

    def text(self, *names: str, listed: bool = False) -> str:
        """Return the first of these fields that the record has; see `values.text`."""
        return values.text(self.fields, *names, listed=listed)

    def target(self) -> Mapping[str, Any]:
        """Return the target of a record of GeoVLM; `UnreadableError` if it is not an object."""
        value = self.fields.get("target")
        if not isinstance(value, dict):
            raise UnreadableError("field 'target' is not an object")
        return value

    def captions(self) -> list[str]:
        """Return `caption0` to `caption4`, as far as the record has them; null is blank.

        Some may be blank, as in published files; `UnreadableError` if all are.
        """
        known = {n: self.fields[n] for n in _CAPTIONS if n in self.fields}
        found = ["" if value is None else values.plain(value, n) for n, value in known.items()]
        if _CAPTIONS[0] not in known or not any(map(str.strip, found)):
            raise UnreadableError("no reference caption")
        return found


def answer(record: Record, *, listed: bool = False) -> str:
    """Return field `answer` as `values.text` reads it; of a record of GeoVLM the answer block.

    Raises:
        UnreadableError: there is no answer, or none that can be read.
    """
    if record.own:
        said = answers.answer_text(record.text("completion"))
        if not said:
            raise UnreadableError("field 'completion' has no answer block")
        return said
    return record.text("answer", listed=listed)


def answer_list(record: Record) -> str:
    """Return the answer as `answer` does; a list of labels or boxes is read too."""
    return answer(record, listed=True)


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
    read: Callable[[Record, Any], Any]
    """Record and its answer -> a case for `tally`. It reads the truth, and raises `UnreadableError`
    if it cannot."""
    credit: frozenset[str]
    """Names of all counts that can raise a score, without `<group>/` before and `:<name>` after
    them. They are 0 for an answer that cannot be read."""
    tally: Callable[[Sequence[Any]], Iterable[Counts]]
    """All cases -> the counts of each, in the same order."""
    published: Callable[[Counts], Scores]
    """Summed counts -> scores as published, fractions of 1. A score without a case is left out."""
    strict: Callable[[Counts], Scores]
    counted: Callable[[Counts], dict[str, int]]
    """Summed counts -> number of items behind each published score, under the same names."""
    answer: Callable[[Record], Any] = answer
    """Record -> its answer; no look at the truth. Raises `UnreadableError` if it cannot be read."""
    nothing: Any = ""
    """Stands for an answer that cannot be read."""
    left_out: Callable[[Counts], dict[str, str]] = lambda counts: {}
    """Summed counts -> published scores that mean nothing for this file, or cannot be computed on
    this machine -> the reason, which follows "it"."""
    notes: Callable[[Counts], list[str]] = lambda counts: []
    """Summed counts -> sentences without which the published scores mislead."""
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
    """Reason -> lines left out: no JSON object, or a truth that cannot be read."""
    unreadable: dict[str, int]
    """Reason -> answers that cannot be read; they count as wrong."""
    left_out: dict[str, str]
    """Published score -> the reason why there is none."""
    notes: list[str]
    """Sentences without which the published scores mislead."""

    @property
    def lines(self) -> int:
        """Number of lines of the file that are not blank; each is scored or skipped."""
        return self.n + sum(self.skipped.values())

    @property
    def skipped_share(self) -> float:
        """Share of the lines that is skipped, 0 to 1."""
        return sum(self.skipped.values()) / self.lines

    def headline(self) -> str:
        """Return a sentence about skipped lines and unreadable answers; empty without any."""
        skipped, unreadable = sum(self.skipped.values()), sum(self.unreadable.values())
        parts = []
        if skipped:
            parts.append(f"{skipped} of {self.lines} lines skipped ({self.skipped_share:.2%})")
        if unreadable:
            part = f"{unreadable} of {self.n} answers unreadable, counted as wrong"
            parts.append(f"{part} ({unreadable / self.n:.2%})")
        return "; ".join(parts)


def share(part: float, whole: float) -> float:
    """Return part / whole, 0 if whole is 0."""
    return part / whole if whole else 0.0


def groups(counts: Counts, prefix: str) -> list[str]:
    """Return the names of the counts that begin with `prefix`, without it, in their order."""
    return [name.removeprefix(prefix) for name in counts if name.startswith(prefix)]
