"""Starts one process per tracker next to a run, and ends them after it.

They read the files of the run, so no stage waits for them, ranks and resumed runs make no
difference, and a tracker that hangs or dies leaves the run as it is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from geovlm.config import trackers
from geovlm.errors import ConfigError, StoppedError
from geovlm.run.folder import RunDir
from geovlm.run.process import end_tree, isolated, python

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig

_MODULE = "geovlm.engine.tracking.main"
_CHECK_S = 120.0
_PATIENCE_S: Mapping[str, float] = {"done": 120.0, "failed": 20.0, "stopped": 10.0}
"""End of the run -> seconds that trackers have to send the rest; a batch system waits for 30."""


def check(config: RunConfig) -> None:
    """Refuse trackers that are not installed, cannot be imported or have no login.

    Raises:
        ConfigError: names the tracker and how to fix it.
    """
    trackers.check_installed(config.track)
    started = {
        name: subprocess.Popen(
            python("-m", _MODULE, "--tracker", name, "--check"),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for name in config.track
    }
    problems = [problem for name, each in started.items() if (problem := _problem(name, each))]
    if problems:
        raise ConfigError("\n       ".join(problems))


def _problem(name: str, process: subprocess.Popen[bytes]) -> str:
    """Return what is wrong with a tracker; empty if it is ready."""
    try:
        _, printed = process.communicate(timeout=_CHECK_S)
    except subprocess.TimeoutExpired:
        end_tree(process)
        return f"track: {name} was not imported within {_CHECK_S:g} s (leave it out)"
    if process.returncode == 0:
        return ""
    text = printed.decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()] or ["no output"]
    sign = "error: "
    found = [line.removeprefix(sign) for line in lines if line.startswith(sign)]
    return found[-1] if found else f"track: {name} cannot be used: {lines[-1]}"


@contextlib.contextmanager
def following(run: RunDir, config: RunConfig) -> Iterator[None]:
    """Let the trackers of a run follow it in the context; its plan must be written."""
    if not config.track:
        yield
        return
    started: dict[str, subprocess.Popen[bytes]] = {}
    for name in config.track:
        started[name] = _start(run, name)
    end = "failed"
    try:
        yield
        end = "done"
    except (StoppedError, KeyboardInterrupt):
        end = "stopped"
        raise
    finally:
        _finish(started, run, end=end)


def _start(run: RunDir, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        python("-m", _MODULE, "--tracker", name, "--run", str(run.path)),
        env=_environment(),
        stdin=subprocess.PIPE,  # closed when this process ends, however it ends
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    return isolated() | {"OMP_NUM_THREADS": "1"}


def _finish(started: Mapping[str, subprocess.Popen[bytes]], run: RunDir, *, end: str) -> None:
    """Tell the trackers how the run ended, wait for them, and say what is missing."""
    for process in started.values():
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended before
            process.stdin.write(f"{end}\n".encode())
            process.stdin.close()
    deadline = time.monotonic() + _PATIENCE_S[end]
    try:
        for name, process in started.items():
            problem = _end(process, patience_s=max(0.1, deadline - time.monotonic()))
            if problem:
                _say_missing(run, f"{name} {problem}", log=f"{name}.txt", end=end)
    finally:  # also after a second Ctrl-C
        for process in started.values():
            if process.poll() is None:
                end_tree(process, patience_s=0.0)


def _end(process: subprocess.Popen[bytes], *, patience_s: float) -> str:
    """Wait for a tracker and end it; return what went wrong, or an empty text."""
    try:
        status = process.wait(timeout=patience_s)
    except subprocess.TimeoutExpired:
        end_tree(process, patience_s=0.0)
        return "was too slow and is ended"
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return "did not get everything" if status else ""


def _say_missing(run: RunDir, what: str, *, log: str, end: str) -> None:
    """Say that a tracker has not got everything, and how to send it."""
    from geovlm.run.resuming import line

    file = os.path.relpath(run.path / "tracking" / log)
    again = f"; to send the rest: {line(run.path)}" if end == "done" else ""
    print(f"warning: track: {what}, see {file}{again}", file=sys.stderr, flush=True)
