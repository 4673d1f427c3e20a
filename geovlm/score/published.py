"""Reads the scores that others have published from `published.toml`, row by row.

`PublishedRow.truth` states what a printed metric really measures. Compare only where split and
protocol agree.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from geovlm.api import Json, SetEntry

SOURCE = "arXiv 2509.25026; mustansarfiaz/GeoVLM-R1-Toolkit README.md, dbe450c"
"""Source of every row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedRow:
    """One printed number."""

    table: str
    model: str
    benchmark: str
    metric: str
    """Name in the `published` scores of the protocol."""
    value: float
    """A fraction, 0 to 1; the sources print percent."""
    split: str
    protocol: str
    """Name of the scoring protocol, as `geovlm score` takes it."""
    tasks: tuple[str, ...]
    """Our tasks that ask the same kind of question; see `note`."""
    truth: str
    """Meaning of the metric, if its printed name suggests another; may be empty."""
    note: str
    """Differences of our task from the benchmark, or doubts about the row; may be empty."""
    source: str = SOURCE


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """A benchmark of the tables, and how the set of tasks `paper` asks it."""

    name: str
    task: str
    images: int
    """Number of images of one sample."""
    official: int | None = None
    """Number of samples behind the published scores; `None`: not published."""
    ours: int | None = None
    """Number of samples of the task; `None`: it depends on the copy, or is not known."""
    rebuilt: bool = False
    """True if the published rows are not known, and ours are chosen by a rule of our own."""
    data_options: Mapping[str, Json] = field(default_factory=dict)
    """Options of the data set that choose these rows."""


def rows(task: str | None = None) -> list[PublishedRow]:
    """Return the published rows that belong to a task, table by table; all rows without a task.

    A dash in the sources is left out. A task without published scores gives an empty list.
    """
    return [row for row in _all() if task is None or task in row.tasks]


def benchmarks() -> dict[str, Benchmark]:
    """Return the benchmarks that have a task, by name, in the order of the tables."""
    known = _file()["benchmarks"]
    names = dict.fromkeys(row.benchmark for row in _all())
    return {name: Benchmark(name=name, **known[name]) for name in names if name in known}


def entries() -> list[SetEntry]:
    """Return the entries of the set of tasks `paper`."""
    return [
        SetEntry(benchmark=each.name, task=each.task, data_options=each.data_options)
        for each in benchmarks().values()
    ]


@cache
def _file() -> dict[str, Any]:
    text = (resources.files("geovlm.score") / "published.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def _all() -> tuple[PublishedRow, ...]:
    found: list[PublishedRow] = []
    for table in _file()["tables"]:
        doubts = table.get("row_notes", {})
        for model, values in table["rows"].items():
            for column, value in zip(table["columns"], values, strict=True):
                if value == "":
                    continue
                notes = (column.get("note", ""), doubts.get(model, ""))
                found.append(
                    PublishedRow(
                        table=table["name"],
                        model=model,
                        benchmark=column["benchmark"],
                        metric=column["metric"],
                        value=round(value / 100, 6),
                        split=column["split"],
                        protocol=table["protocol"],
                        tasks=tuple(column["tasks"]),
                        truth=table["truth"],
                        note="; ".join(note for note in notes if note),
                    )
                )
    return tuple(found)
