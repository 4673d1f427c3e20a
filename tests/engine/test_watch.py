"""A real run in a terminal that is paused and then killed, as `geovlm watch` sees it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import inside
from tests.engine.faults import Faulty, wait_until

pytestmark = pytest.mark.slow


class Seen(NamedTuple):
    """What `watch --once --json` said of the run at three moments, and what its terminal got."""

    stage_paused: dict[str, Any]
    paused: dict[str, Any]
    killed: dict[str, Any]
    output: Path
    terminal: str


@pytest.fixture(scope="module")
def seen(faulty: Faulty, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """A run whose stage stands still after three steps, then all of it, and then is killed."""
    output = tmp_path_factory.mktemp("runs") / "watched"
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown: list[bytes] = []
    reader = threading.Thread(target=lambda: shown.extend(read(ours)), daemon=True)
    reader.start()
    process = in_terminal(faulty, output, theirs)
    os.close(theirs)
    try:
        wait_until(lambda: done(output) == 3, process)
        wait_until(lambda: look(output)["state"] == "paused", process)
        stage_paused = look(output)
        process.send_signal(signal.SIGSTOP)
        paused = look(output)
    finally:
        process.kill()
        process.wait()
    with contextlib.suppress(ProcessLookupError):  # it ends with the process that started it
        os.kill(stage_paused["stage_pid"], signal.SIGKILL)
    killed = look(output)
    reader.join(timeout=10)
    yield Seen(stage_paused, paused, killed, output, b"".join(shown).decode())


def in_terminal(faulty: Faulty, output: Path, terminal: int) -> subprocess.Popen[str]:
    """Start the run with a terminal as its standard error."""
    site = str(faulty.config.parent)
    path = os.pathsep.join(filter(None, [site, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "geovlm.cli", "run", str(faulty.config), "--output", str(output)],
        env=os.environ
        | {"PYTHONPATH": path, "GEOVLM_CACHE": str(faulty.cache), "OMP_NUM_THREADS": "1"}
        | {"FAULT": "sft 3 0 linger", "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        text=True,
        start_new_session=True,
    )


def read(terminal: int) -> Iterator[bytes]:
    """Yield what a terminal gets, until its other end is closed."""
    while True:
        try:
            yield os.read(terminal, 65_536)
        except OSError:
            return


def done(output: Path) -> int:
    """Return the number of steps that the state of the run counts."""
    try:
        record = json.loads((output / "status.json").read_text())
    except FileNotFoundError:
        return 0
    return int(record["parts"][0]["done"])


def look(output: Path) -> dict[str, Any]:
    """Return what `watch` prints, and its exit code as `code`."""
    ended = inside.geovlm("watch", output, "--once", "--json")
    found = json.loads(ended.stdout)
    assert isinstance(found, dict)
    return {**found, "code": ended.returncode}


def test_a_stage_that_is_paused_is_no_killed_run(seen: Seen) -> None:
    view = seen.stage_paused
    assert (view["state"], view["code"]) == ("paused", 0)
    assert view["why"] == f"process {view['stage_pid']} of the stage is paused"
    part = view["parts"][0]
    assert (part["done"], part["total"], part["unit"], part["name"]) == (3, 4, "step", "train")
    assert view["eta_s"] > 0
    assert view["eta_is_guess"] is True
    assert view["loss"] > 0


def test_a_run_that_is_paused_is_no_killed_run(seen: Seen) -> None:
    view = seen.paused
    assert (view["state"], view["code"]) == ("paused", 0)
    assert view["why"].endswith("is paused")
    assert f"process {view['process']['pid']} on " in view["why"]


def test_a_killed_run_is_seen_at_once(seen: Seen) -> None:
    view = seen.killed
    assert (view["state"], view["code"]) == ("killed", 1)
    assert view["why"].endswith("is gone and left no word")
    assert view["parts"][0]["done"] == 3


def test_a_killed_run_has_its_way_on(seen: Seen) -> None:
    ended = inside.geovlm("watch", seen.output)
    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    assert lines[1].startswith("ended in stage 1 of 3 (sft): step 3 of 4")
    assert lines[-1] == f"to continue: geovlm run --resume --output {seen.output}"


def test_the_terminal_has_a_bar_and_the_log_plain_lines(seen: Seen) -> None:
    log = (seen.output / "stages/0-sft/stderr.txt").read_text()
    assert "\x1b" not in log
    assert "\r" not in log
    assert "━" not in log
    assert len(log) < 2000
    assert "\x1b[" in seen.terminal
    assert "━" in seen.terminal
    assert "stage 1 of 3 (sft)" in seen.terminal
    assert "step 2 of 4" in seen.terminal
    assert "left in all" in seen.terminal
