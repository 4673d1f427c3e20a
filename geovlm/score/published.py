"""Reads the scores that others have published from `published.toml`, row by row.

`PublishedRow.truth` states what a printed metric really measures. Compare only where split and
protocol agree.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

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


def rows(task: str | None = None) -> list[PublishedRow]:
    """Return the published rows that belong to a task, table by table; all rows without a task.

    A dash in the sources is left out. A task without published scores gives an empty list.
    """
    return [row for row in _all() if task is None or task in row.tasks]


@cache
def _all() -> tuple[PublishedRow, ...]:
    text = (resources.files("geovlm.score") / "published.toml").read_text(encoding="utf-8")
    found: list[PublishedRow] = []
    for table in tomllib.loads(text)["tables"]:
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
