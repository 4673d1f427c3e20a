"""Shows a run where it was started: a bar on a terminal, elsewhere plain lines.

The plain lines also go to `stderr.txt` of the stage, so that a log of a run in a terminal reads
like that of one in a batch job.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from geovlm.run.folder import RunDir
from geovlm.run.status import words
from geovlm.run.status.writer import Status

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_PLAIN_S = 60.0
"""Longest time between two plain lines of a part that goes on, seconds."""
_SHORTEST_S = 5.0
"""Shortest time between two of them."""
_BAR = 16
"""Width of a bar, characters."""
_WIDE = 110
"""Width of a terminal from which on the time left stands behind the bar, else below it."""


def shown(run: RunDir) -> Status:
    """Return the state of a run that begins, which is also shown on standard error."""
    return Status(run, listen=Display(run))


class Display:
    """Receives the records of a run that `geovlm.run.status.writer.Status` makes."""

    def __init__(self, run: RunDir) -> None:
        """Show nothing yet; on a terminal a bar, if it can redraw a line."""
        self._run = run
        self._live: Live | None = None
        """Only during a part: a model that is fetched between two parts has a bar of its own."""
        self._on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._record: Mapping[str, Any] = {}
        self._drawn = time.monotonic()
        self._over: set[tuple[int, str]] = set()
        self._part: tuple[int, str] | None = None
        self._tenth = 0
        self._said = 0.0

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Take the next record of the run."""
        if not self._record:  # what an earlier attempt has done is no news
            self._over = {_key(part) for part in record["parts"] if part["over"]}
        self._record, self._drawn = record, time.monotonic()
        for part in record["parts"]:
            if part["over"] and _key(part) not in self._over:
                self._over.add(_key(part))
                if part["fresh"]:
                    text = f"{words.place(record, part['stage'])}: {words.finished(part)}"
                    detail = f" ({part['detail']})" if part["detail"] else ""
                    self._say(part["stage"], f"{text}{detail}", everywhere=True)
        self._go_on(record)
        self._set_live(words.current(record) is not None)

    def _go_on(self, record: Mapping[str, Any]) -> None:
        """Write a plain line if the part has come a tenth further, or time has passed."""
        part = words.current(record)
        if part is None:
            return
        now = time.monotonic()
        tenth = 10 * part["done"] // max(1, part["total"])
        begun = _key(part) != self._part
        if begun:
            self._part, self._tenth = _key(part), tenth
            self._said = now
            if part["detail"]:
                head = f"{words.place(record)}: {words.counted(part)}"
                self._say(part["stage"], f"{head} ({part['detail']}); {words.left(record)}")
            return
        waited = now - self._said
        if (tenth > self._tenth and waited >= _SHORTEST_S) or waited >= _PLAIN_S:
            self._tenth, self._said = tenth, now
            self._say(part["stage"], line(record))

    def _say(self, index: int, text: str, *, everywhere: bool = False) -> None:
        """Print a line, and append it to the stage's log; next to a bar only if `everywhere`."""
        if everywhere or not self._on_terminal:
            print(text, file=sys.stderr, flush=True)  # a bar that is shown moves down
        log = self._run.stage(index) / "stderr.txt"
        with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def _set_live(self, on: bool) -> None:
        """Show or remove the bar."""
        if not self._on_terminal or on == (self._live is not None):
            return
        if self._live is not None:
            self._live.stop()
            self._live = None
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        self._live = Live(
            console=console,
            get_renderable=lambda: self._draw(console.width),
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
        )
        self._live.start()

    def _draw(self, width: int) -> RenderableType:
        """Return the bar of the record, with the seconds that have passed since."""
        return bar(self._record, width=width, later_s=time.monotonic() - self._drawn)


def line(record: Mapping[str, Any]) -> str:
    """Return what a run does as one plain line."""
    part = words.current(record)
    if part is None:
        doing = record["doing"] or "going on"
        where = "" if record["stage"] is None else f"{words.place(record)}: "
        return f"{where}{doing}; {words.left(record)}"
    notes = words.notes(record)
    told = f"{words.counted(part)}{f', {notes}' if notes else ''}"
    return f"{words.place(record)}: {told}; {words.left(record)}"


def bar(record: Mapping[str, Any], *, width: int, later_s: float = 0.0) -> RenderableType:
    """Return the part in progress as a bar, and the rewards of the last steps below it.

    `width` is that of the terminal; `later_s` is the time since the record was made.
    """
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    if record["eta_s"] is not None:
        record = {**record, "eta_s": max(0.0, record["eta_s"] - later_s)}
    part = words.current(record)
    if part is None:
        return Text(line(record))
    drawn = ProgressBar(total=max(1, part["total"]), completed=part["done"], width=_BAR)
    row = Table.grid(padding=(0, 1))
    cells: list[RenderableType] = [words.place(record), drawn, words.counted(part)]
    below = words.notes(record)
    if width >= _WIDE:
        cells[2] = f"{cells[2]}; {words.left(record)}"
    else:
        below = ", ".join(filter(None, (words.left(record), below)))
    row.add_row(*cells)
    return Group(row, Text(below)) if below else row


def _key(part: Mapping[str, Any]) -> tuple[int, str]:
    return part["stage"], part["name"]
