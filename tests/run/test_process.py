from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from geovlm.run.process import execute

STOPPER = """
import os, signal, sys, time
from pathlib import Path

def stop(number, frame):
    print("stopped: saved at step 3", file=sys.stderr, flush=True)
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
Path("pids").write_text(f"{os.getppid()} {os.getpid()} ")
time.sleep(100)
"""
LAUNCHER = """
import os, subprocess, sys
from pathlib import Path
from geovlm.run.process import execute
from geovlm.run.stopping import StopRequest

between = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'stopper'])"
with StopRequest(worker="stopper") as stop:
    done = execute([sys.executable, "-c", between], variables=dict(os.environ),
        log=Path("log"), stop=stop)
print(done.status, done.stopped, stop.signal)
"""


@pytest.fixture
def launcher(tmp_path: Path) -> subprocess.Popen[str]:
    (tmp_path / "stopper.py").write_text(STOPPER)
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()


def pids(folder: Path) -> list[int]:
    """Return the process between launcher and worker, and the worker, once that listens."""
    deadline = time.monotonic() + 60
    while not ((folder / "pids").is_file() and (folder / "pids").read_text().endswith(" ")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [int(each) for each in (folder / "pids").read_text().split()]


def test_sigterm_to_all_processes_stops_the_worker_alone(launcher, tmp_path):
    for pid in (launcher.pid, pids(tmp_path)[0]):  # as Slurm does
        os.kill(pid, signal.SIGTERM)
    said, messages = launcher.communicate(timeout=60)
    assert said == f"0 saved at step 3 {signal.SIGTERM.value}\n"
    assert messages == "stopping after this step or batch\n"


def test_ctrl_c_asks_once_and_then_kills(launcher, tmp_path):
    worker = pids(tmp_path)[1]
    os.kill(worker, signal.SIGSTOP)  # a worker in a step without end
    launcher.send_signal(signal.SIGINT)
    assert "Ctrl-C again ends it now" in launcher.stderr.readline()
    launcher.send_signal(signal.SIGINT)
    launcher.communicate(timeout=60)
    assert launcher.returncode == -signal.SIGINT
    assert not Path(f"/proc/{worker}").exists() or _is_zombie(worker)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_under_the_log_does_not_end_the_work(tmp_path, capsys):
    code = "import time; print('one', flush=True); time.sleep(0.5); print('two')"
    log = tmp_path / "log"
    log.symlink_to("/dev/full")
    assert execute([sys.executable, "-c", code], variables=dict(os.environ), log=log).status == 0
    messages = capsys.readouterr().err
    assert messages.count("no more output is kept in") == 1
    assert "one\ntwo\n" in messages.replace(messages.splitlines()[0] + "\n", "")


def _is_zombie(pid: int) -> bool:
    """Return True if a process has ended and nobody has read its status yet."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_what_a_process_alone_says_does_not_change_how_it_ended(tmp_path: Path) -> None:
    code = (
        "import os, sys; print('warning: gcc returned non-zero exit status 2'); "
        "print('Signal: died with <Signals.SIGABRT: 6>', flush=True); os.kill(os.getpid(), 9)"
    )
    done = execute([sys.executable, "-c", code], variables=dict(os.environ), log=tmp_path / "log")
    assert (done.status, done.rank) == (-signal.SIGKILL, None)


def test_the_codes_of_a_terminal_are_not_kept(tmp_path: Path, capfd) -> None:
    code = """
import os, time
for part in ("\\x1b[1;3", "1mred\\x1b[0m \\x1b]8;;http://a", "\\x1b\\\\link\\x1b", "[2K\\n"):
    os.write(2, part.encode())
    time.sleep(0.3)
"""
    log = tmp_path / "log"
    done = execute([sys.executable, "-c", code], variables=dict(os.environ), log=log)
    assert (done.status, log.read_bytes()) == (0, b"red link\n")
    assert "\x1b[1;31mred" in capfd.readouterr().err


def test_no_pipe_of_an_ended_process_stays_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    execute([sys.executable, "-c", "pass"], variables=dict(os.environ), log=tmp_path / "log")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
