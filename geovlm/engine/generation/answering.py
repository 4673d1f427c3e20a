"""Answers rows batch by batch; each batch is on disk before the next one begins.

A killed evaluation is resumed with the batches that are missing. Batches and their seeds depend on
the rows alone, so a kill makes no difference to the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from geovlm.engine.rows.rows import Row
from geovlm.run.files import JsonLines

Respond: TypeAlias = Callable[[Sequence[Row], float, int], list[str]]
"""(rows, temperature, seed) -> one text per row; temperature 0 is greedy."""
Texts: TypeAlias = Mapping[str, Sequence[str]]
"""Row key -> its texts, one per temperature."""
SEEDS_APART = 1_000_003
"""Between the seeds of two answers at one temperature: more than a stage has batches."""


class Advance(Protocol):
    """Receives the number of texts of a batch."""

    def __call__(self, n: int, *, fresh: bool) -> None:
        """Count `n` texts; not `fresh` are those of an earlier start."""


def _ignore(n: int, *, fresh: bool) -> None: ...


@dataclass(frozen=True, kw_only=True)
class PromptSet:
    """Rows that are all answered in the same way."""

    name: str
    """Name of the files of the answers: `model`, `text_only`, …"""
    rows: Sequence[Row]
    temperatures: tuple[float, ...] = (0.0,)
    """One per answer; one that is there twice gets two answers from different seeds."""


def answer(
    prompts: PromptSet,
    respond: Respond,
    *,
    folder: Path,
    batches: Sequence[Sequence[Row]],
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    advance: Advance = _ignore,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, list[str]]:
    """Return this process's share of the answers, those of an earlier start included.

    `folder` keeps them in `<name>.<rank>.jsonl`; the files of all ranks are read. The first batch
    has the `seed`, each further one adds 1, each repeated temperature `SEEDS_APART`. `advance` is
    called after each batch; where `stop` returns True before a batch, the rest is left out.
    """
    known: dict[str, list[str]] = {}
    for path in sorted(folder.glob(f"{prompts.name}.*.jsonl")):
        known.update({record["key"]: record["texts"] for record in JsonLines(path).read()})
    own = JsonLines(folder / f"{prompts.name}.{rank}.jsonl")
    own.repair()
    found: dict[str, list[str]] = {}
    for number, batch in _share(batches, rank=rank, world_size=world_size):
        if stop():
            break
        fresh = not all(row.key in known for row in batch)
        if fresh:
            seeds = [
                seed + number + prompts.temperatures[:i].count(each) * SEEDS_APART
                for i, each in enumerate(prompts.temperatures)
            ]
            texts = [
                respond(batch, each, own)
                for each, own in zip(prompts.temperatures, seeds, strict=True)
            ]
            answered = {
                row.key: list(row_texts) for row, *row_texts in zip(batch, *texts, strict=True)
            }
            records = [{"key": key, "texts": texts} for key, texts in answered.items()]
            own.append(records, sync=True)
            known.update(answered)
        found.update({row.key: known[row.key] for row in batch})
        advance(len(batch) * len(prompts.temperatures), fresh=fresh)
    return found


def n_texts(
    prompts: PromptSet, *, batches: Sequence[Sequence[Row]], rank: int, world_size: int
) -> int:
    """Return the number of texts in a process's share of the answers."""
    mine = _share(batches, rank=rank, world_size=world_size)
    return sum(len(batch) for _, batch in mine) * len(prompts.temperatures)


def batched(rows: Sequence[Row], *, size: int, length: Callable[[Row], int]) -> list[list[Row]]:
    """Return the rows in batches of similar length, so that little is padded; longest first."""
    ordered = sorted(rows, key=length, reverse=True)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _share(
    batches: Sequence[Sequence[Row]], *, rank: int, world_size: int
) -> list[tuple[int, Sequence[Row]]]:
    """Return a process's batches with their numbers: every `world_size`-th one."""
    return list(enumerate(batches))[rank::world_size]
