"""Answers to rows, batch by batch, each batch on disk before the next one begins.

A killed evaluation goes on with the batches that are missing. Batches and their seeds depend on the
rows alone, so that it makes no difference to the answers whether there was a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from geovlm.engine.rows import rows as data
from geovlm.run.files import JsonLines

Respond: TypeAlias = Callable[[Sequence[data.Row], float, int], list[str]]
"""(rows, temperature, seed) -> one text per row; temperature 0 is greedy."""
Texts: TypeAlias = Mapping[str, Sequence[str]]
"""Row key -> its texts, one per temperature."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Rows that are all asked in the same way."""

    name: str
    """Names the files of the answers: `model`, `text_only`, …"""
    rows: Sequence[data.Row]
    temperatures: tuple[float, ...] = (0.0,)


def answer(
    ask: Ask,
    respond: Respond,
    *,
    folder: Path,
    batches: Sequence[Sequence[data.Row]],
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    advance: Callable[[int], None] = lambda n: None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, list[str]]:
    """Return this process's share of the answers, those of an earlier start included.

    Args:
        ask: what is asked.
        respond: the model.
        folder: where answers are kept, `<ask>.<rank>.jsonl`; the files of all ranks are read.
        batches: the rows, as they go into a call of `respond`; see `batched`.
        seed: of the first batch; each further one adds 1.
        rank: number of this process.
        world_size: processes that share the batches.
        advance: called with the number of texts that are done.
        stop: asked before each batch; the rest is then left out.
    """
    known: dict[str, list[str]] = {}
    for path in sorted(folder.glob(f"{ask.name}.*.jsonl")):
        known.update({record["key"]: record["texts"] for record in JsonLines(path).read()})
    own = JsonLines(folder / f"{ask.name}.{rank}.jsonl")
    own.repair()
    found: dict[str, list[str]] = {}
    for number, batch in _share(batches, rank=rank, world_size=world_size):
        if stop():
            break
        if not all(row.key in known for row in batch):
            texts = [respond(batch, each, seed + number) for each in ask.temperatures]
            answered = {
                row.key: list(row_texts) for row, *row_texts in zip(batch, *texts, strict=True)
            }
            records = [{"key": key, "texts": texts} for key, texts in answered.items()]
            own.append(records, sync=True)
            known.update(answered)
        found.update({row.key: known[row.key] for row in batch})
        advance(len(batch) * len(ask.temperatures))
    return found


def n_texts(ask: Ask, *, batches: Sequence[Sequence[data.Row]], rank: int, world_size: int) -> int:
    """Return how many texts are a process's share of the answers."""
    mine = _share(batches, rank=rank, world_size=world_size)
    return sum(len(batch) for _, batch in mine) * len(ask.temperatures)


def batched(
    rows: Sequence[data.Row], *, size: int, length: Callable[[data.Row], int]
) -> list[list[data.Row]]:
    """Return the rows in batches of similar length, so that little is padded; longest first.

    Args:
        rows: in any order; it decides between rows of one length.
        size: rows per batch.
        length: tokens of a row's prompt; see `generate.lengths`.
    """
    ordered = sorted(rows, key=length, reverse=True)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _share(
    batches: Sequence[Sequence[data.Row]], *, rank: int, world_size: int
) -> list[tuple[int, Sequence[data.Row]]]:
    """Return a process's batches with their numbers: every `world_size`-th one."""
    return list(enumerate(batches))[rank::world_size]
