"""`geovlm watch`: shows how far a run is and whether it lives."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geovlm.cli import options

if TYPE_CHECKING:
    from geovlm.run.status.watching import View, Watch

_LOOK_S = 1.0
"""Seconds between two looks."""
_PLAIN_S = 60.0
"""Longest time between two plain lines, seconds."""
_FAILED, _STOPPED, _INTERRUPTED = 1, 3, 130


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    once: Annotated[bool, typer.Option("--once", help="Print the state once and end.")] = False,
    json: options.JsonOption = False,
) -> None:
    """Show how far a run is, and whether it lives, until it ends.

    Works in another terminal and on another machine that shares the folder: it reads files only.
    With --json it prints one object per look, on a line of its own.

    Exit code 0: the run is done; 1: it failed or was killed; 3: it was stopped and can be resumed.
    With --once also 0 while it goes on.
    """
    from geovlm.run.folder import RunDir
    from geovlm.run.status.watching import Watch

    looks = Watch(RunDir(run))
    try:
        view = looks.settle()
        if json:
            view = _json_lines(looks, view, once=once)
        elif sys.stdout.isatty() and not once:
            view = _live(looks, view, run)
        elif not once:
            view = _plain_lines(looks, view, run)
        if not json:
            print("\n".join(_lines(view, run)))
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    raise typer.Exit({"failed": _FAILED, "killed": _FAILED, "stopped": _STOPPED}.get(view.state, 0))


def _json_lines(looks: Watch, first: View, *, once: bool) -> View:
    """Print one JSON object per news and return the last view; with `once` the given one alone."""
    from geovlm.files.jsontext import dumps

    view, before = first, None
    for view in [first] if once else _views(looks, first):
        news = (view.state, view.why, view.record["beat"])
        if news != before:
            before = news
            print(dumps(view.table(), ascii=False), flush=True)
    return view


def _plain_lines(looks: Watch, first: View, run: Path) -> View:
    """Print a line for each tenth of a part, at least every minute; return the last view."""
    from geovlm.run.status import words
    from geovlm.run.status.display import line
    from geovlm.run.status.summary import head

    view, before, printed = first, None, 0.0
    for view in _views(looks, first):
        part = words.current(view.record)
        tenth = None if part is None else 10 * part["done"] // max(1, part["total"])
        doing = view.record["doing"] if part is None else part["name"]
        news = (view.state, view.slow, view.record["stage"], doing, tenth)
        if news == before and time.monotonic() - printed < _PLAIN_S:
            continue
        before, printed = news, time.monotonic()
        if view.state in ("running", "paused", "silent"):
            print(f"{head(view, run=run)}; {line(view.record)}", flush=True)
    return view


def _live(looks: Watch, first: View, run: Path) -> View:
    """Redraw the state on the terminal until the run ends; return the last view."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from geovlm.run.status.display import bar
    from geovlm.run.status.watching import OVER

    view, console = first, Console()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for view in _views(looks, first):
            if view.state in OVER:
                break
            told = [Text(each) for each in _lines(view, run)]
            drawn = bar(view.record, width=console.width)  # in place of the second line
            live.update(Group(told[0], drawn, *told[2:]), refresh=True)
    return view


def _lines(view: View, run: Path) -> list[str]:
    """Return the state in full, with the scores so far."""
    from geovlm.run.folder import RunDir
    from geovlm.run.status.summary import lines

    return lines(view, run=run, metrics=RunDir(run).read_metrics())


def _views(looks: Watch, view: View) -> Iterator[View]:
    """Yield one view per look, the given one first, up to the one in which the run has ended."""
    from geovlm.run.status.watching import OVER

    yield view
    while view.state not in OVER:
        time.sleep(_LOOK_S)
        view = looks.look()
        yield view
