"""Answers to rows, batch by batch, each batch on disk before the next one begins.

A killed evaluation goes on with the batches that are missing. Batches and their seeds depend on the
rows alone, so that it makes no difference to the answers whether there was a kill.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from geovlm.engine.rows import rows as data

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
        known.update(_read(path))
    own = folder / f"{ask.name}.{rank}.jsonl"
    _drop_torn_end(own)
    found: dict[str, list[str]] = {}
    for number, batch in _share(batches, rank=rank, world_size=world_size):
        if stop():
            break
        if not all(row.key in known for row in batch):
            texts = [respond(batch, each, seed + number) for each in ask.temperatures]
            answered = {
                row.key: list(row_texts) for row, *row_texts in zip(batch, *texts, strict=True)
            }
            _append(own, answered)
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


def _append(path: Path, answered: Mapping[str, list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps({"key": k, "texts": texts}) + "\n" for k, texts in answered.items())
    with path.open("a", encoding="utf-8") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> dict[str, list[str]]:
    """Return the answers in a file, without the last line of a killed process."""
    whole = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    records = [json.loads(line) for line in whole]
    return {record["key"]: record["texts"] for record in records}


def _drop_torn_end(path: Path) -> None:
    """Cut the file after its last whole line, so that the next one does not continue a torn one."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
