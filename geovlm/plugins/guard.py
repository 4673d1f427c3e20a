"""Protects the process while the code of a plugin is imported or called.

Standard output belongs to the command, so the output of plugin code goes elsewhere; streams,
environment variables and working folder are restored. Code that ends the process (`os._exit`, a
crash in C) and threads that continue afterwards cannot be caught: disable such a plugin.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_MOST_BYTES = 10_000
"""Largest number of bytes of output that is kept."""


@dataclass(slots=True)
class Traces:
    """Output and changes of guarded code; complete when the guard is left."""

    printed: str = ""
    """Text written to standard output, and by Python to standard error, on one line."""
    changed: tuple[str, ...] = ()
    """Restored things: names of environment variables, never values, and the working folder."""


@contextmanager
def guarded() -> Iterator[Traces]:
    """Keep the standard streams, the environment and the working folder as they are.

    The traces are filled in when the block ends, by an exception too.
    """
    traces = Traces()
    text = io.StringIO()
    raw = _unnamed_file()
    environment = dict(os.environ)
    folder = _working_folder()
    try:
        with _descriptor_to(raw.fileno()), redirect_stdout(text), redirect_stderr(text):
            yield traces
    finally:
        # a StringIO that the code itself has closed has lost its text
        printed = "" if text.closed else text.getvalue()
        raw.seek(0)
        written = raw.read(_MOST_BYTES).decode(errors="replace")
        raw.close()
        traces.printed = " ".join(f"{printed} {written}".split())
        traces.changed = (*_put_back(environment), *_return_to(folder))


def _unnamed_file() -> IO[bytes]:
    """Return an empty file; on Linux one in memory, as the disk may be read-only or full."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("geovlm"), "w+b")
    return tempfile.TemporaryFile()


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Redirect standard output to standard error, and restore the streams afterwards."""
    stderr = sys.stderr
    with _descriptor_to(2), redirect_stdout(stderr), redirect_stderr(stderr):
        yield


@contextmanager
def _descriptor_to(target: int) -> Iterator[None]:
    """Point file descriptor 1 elsewhere: C code and child processes write there, too."""
    try:
        saved = os.dup(1)
    except OSError:  # the process has no standard output: nothing to keep clean
        yield
        return
    try:
        _flush()
        with suppress(OSError):  # no standard error either
            os.dup2(target, 1)
        yield
    finally:
        _flush()
        os.dup2(saved, 1)
        os.close(saved)


def _flush() -> None:
    """Write out the buffer that Python holds for descriptor 1."""
    if sys.__stdout__ is not None:
        with suppress(OSError, ValueError):  # a reader that went away, or a closed stream
            sys.__stdout__.flush()


def _working_folder() -> str | None:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # it was deleted meanwhile
        return None


def _put_back(environment: dict[str, str]) -> list[str]:
    """Restore the variables; returns the names of those that differed."""
    present = dict(os.environ)
    names = sorted(
        name
        for name in present.keys() | environment.keys()
        if present.get(name) != environment.get(name)
    )
    for name in names:
        if name in environment:
            os.environ[name] = environment[name]
        else:
            del os.environ[name]
    return [f"environment variable {name}" for name in names]


def _return_to(folder: str | None) -> list[str]:
    if folder is None or _working_folder() == folder:
        return []
    os.chdir(folder)
    return ["working folder"]
