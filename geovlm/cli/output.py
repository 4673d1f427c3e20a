"""Prints results (tables, JSON) to standard output, messages and progress to standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

_PLAIN_EVERY_SECONDS = 5.0


def say(message: str) -> None:
    """Print one message line to standard error."""
    print(message, file=sys.stderr)


def print_json(value: Any) -> None:
    """Print one JSON document; NaN and infinity are errors."""
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)  # noqa: TID251
    print(text)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: aligned on a terminal, else tab-separated with one header line."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            print("\t".join(" ".join(str(cell).split()) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for position, column in enumerate(columns):
        drawn.add_column(column, no_wrap=position == 0, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))
    Console().print(drawn)


def fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Print `name: value` lines; a value of several lines is indented under its name."""
    for name, value in pairs:
        lines = str(value).splitlines() or [""]
        if len(lines) == 1:
            print(f"{name}: {lines[0]}".rstrip())
        else:
            print(f"{name}:")
            print("\n".join(f"  {line}" for line in lines))


def progress(items: Iterable[T], *, label: str, total: int) -> Iterator[T]:
    """Yield the items and print progress: a bar on a terminal, else a line every few seconds."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description=label, total=total, console=Console(stderr=True))
        return
    printed = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - printed > _PLAIN_EVERY_SECONDS:
            printed = time.monotonic()
            say(f"{label}: {done} of {total}")
