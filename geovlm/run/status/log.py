"""The output of a stage as a file of plain lines."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Iterator

_PIECE = re.compile(
    rb"(?P<code>\x1b(?:\[(?P<up>[0-9]*)A|\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)))"
    rb"|(?P<end>\r?\n)|(?P<back>\r+)|(?P<text>[^\x1b\r\n]+|\x1b)"
)
"""A colour, a move of the cursor (up by some lines), or a link or title of a terminal; an end of a
line; a return to its begin; or text."""
_BEGUN = re.compile(rb"(?:\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,4000}\x1b?)?|\r)\Z")
"""The beginning of a code or of an end of a line, at the end of what was read."""
_REDRAWN_S = 60.0
"""Shortest time between two lines of the file that a bar on a terminal draws again, seconds."""


class Log:
    """The file of an output: whole lines, without the codes of a terminal.

    Of a bar that is drawn again and again, the file gets a line now and then.
    """

    def __init__(self, file: io.FileIO) -> None:
        self._file: io.FileIO | None = file
        self._held = b""
        self._line = b""
        self._again = 0
        self._redrawn: float | None = None

    def feed(self, data: bytes) -> None:
        """Take output as it comes."""
        found = _BEGUN.search(self._held + data)
        text = (self._held + data)[: found.start() if found else None]
        self._held = found[0] if found else b""
        lines = b"".join(self._lines(text))
        if lines:
            self._write(lines)

    def close(self) -> None:
        """Write what has come of the last line."""
        if self._line:
            self._write(self._line + b"\n")
        self._line = b""

    def _lines(self, text: bytes) -> Iterator[bytes]:
        for piece in _PIECE.finditer(text):
            if piece["text"]:
                self._line += piece["text"]
            elif piece["up"] is not None:
                self._again += int(piece["up"] or 1)
            elif piece["end"] or piece["back"]:
                again = bool(piece["back"] or self._again)
                if piece["end"]:
                    self._again = max(0, self._again - 1)
                if not again or (self._line and self._is_due()):
                    yield self._line + b"\n"
                self._line = b""

    def _is_due(self) -> bool:
        """Return True if a line that is drawn again may be written; the first one is not."""
        now = time.monotonic()
        if self._redrawn is None:
            self._redrawn = now
        if now - self._redrawn < _REDRAWN_S:
            return False
        self._redrawn = now
        return True

    def _write(self, lines: bytes) -> None:
        """Write to the file; a full disk ends only the file."""
        if self._file is None:
            return
        try:
            self._file.write(lines)
        except OSError as error:
            name, self._file = self._file.name, None
            print(f"warning: no more output is kept in {name}: {error.strerror}", file=sys.stderr)
