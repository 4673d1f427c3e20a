"""Heartbeats of the machines of a run, and facts that they publish to each other.

Each machine writes `machines/<rank>.json` into the shared run folder and increments a counter
there; a counter that stops means the machine is lost. Clocks are not compared.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from geovlm.errors import GeoVLMError, RunFailedError, StoppedError
from geovlm.files.jsontext import dumps
from geovlm.run import files
from geovlm.run.folder import MACHINES, RunDir
from geovlm.run.machines import Machine
from geovlm.run.stopping import StopRequest


class _Seen(NamedTuple):
    """Last record of another machine, and the time when it was first read here, seconds."""

    record: dict[str, Any]
    at: float


class Heartbeat:
    """Heartbeat of this process, while its context is open, and the view of the other machines.

    On leaving the context, the others read how it ended.
    """

    def __init__(self, run: RunDir, machine: Machine, *, timeout_s: float) -> None:
        """Create the heartbeat; nothing is written before the context is entered.

        A machine counts as lost after `timeout_s` seconds without a heartbeat.
        """
        self.machine = machine
        self._run = run
        self._timeout_s = timeout_s
        self._beat_s = min(5.0, timeout_s / 10)
        self._seen: dict[int, _Seen] = {}
        self._checked = 0.0
        self._stop_seen = False
        self._record: dict[str, Any] = {
            "attempt": uuid.uuid4().hex,
            "beat": 0,
            "state": "running",
            "host": socket.gethostname(),
        }
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heartbeat:
        if not self.machine.leads:
            self._find_leader()
        if not self.machine.waits:
            self._write()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self.machine.waits:
            return
        self._over.set()
        self._thread.join()
        if error is None:
            self.publish(state="done")
        elif isinstance(error, StoppedError):  # the ranks agreed: every machine stops by itself
            self.publish(state="stopped")
        else:
            text = str(error) if isinstance(error, GeoVLMError) else ""
            with contextlib.suppress(OSError):  # a full disk must not hide why it failed
                self.publish(state="failed", error=text or kind.__name__ if kind else "")

    def publish(self, **facts: Any) -> None:
        """Add facts to the heartbeat, and write it at once."""
        with self._lock:
            self._record |= facts
        self._write()

    def read(self, rank: int, fact: str) -> Any:
        """Return a fact that a machine published in this attempt, or `None`."""
        if rank == self.machine.rank and not self.machine.waits:
            return self._record.get(fact)
        self._update(rank)
        record = self._seen[rank].record if rank in self._seen else {}
        return record.get(fact) if record.get("attempt") == self._record["attempt"] else None

    def wait(self, condition: Callable[[], bool], *, timeout: str | None = None) -> None:
        """Wait until a condition is true, for as long as all machines live.

        With `timeout`, an error message, wait for at most the machines' timeout.

        Raises:
            RunFailedError: a machine failed or was lost, or the time is over.
            StoppedError: a machine was stopped, so that it will never be true.
        """
        started = time.monotonic()
        while not condition():
            self.check()
            for rank in self._others():
                if self.read(rank, "state") == "stopped":
                    raise StoppedError(f"{_name(rank, self._seen[rank].record)} was stopped")
            if timeout is not None and time.monotonic() - started > self._timeout_s:
                raise RunFailedError(timeout, hint=_HINT)
            time.sleep(min(0.5, self._beat_s))

    def wait_for_all(self) -> None:
        """Wait on machine 0 until every other machine has started.

        Raises:
            RunFailedError: one did not start in time; names it.
        """
        for rank in range(1, self.machine.count):
            self.wait(
                lambda rank=rank: self.read(rank, "beat") is not None,  # type: ignore[misc]
                timeout=f"machine {rank} did not start within {self._timeout_s:g} s",
            )

    def check(self) -> None:
        """Check the other machines; cheap enough for frequent calls.

        Raises:
            RunFailedError: one failed or was lost.
        """
        now = time.monotonic()
        if now - self._checked < self._beat_s:
            return
        self._checked = now
        for rank in self._others():
            self._update(rank)
            if rank not in self._seen:
                continue
            record, at = self._seen[rank]
            if record.get("attempt") != self._record["attempt"]:
                if rank == 0:
                    raise RunFailedError("machine 0 restarted the run", hint=_HINT)
                continue
            self._stop_seen |= bool(record.get("stop"))
            if record["state"] == "failed":
                raise RunFailedError(f"{_name(rank, record)} failed: {record['error']}")
            if record["state"] == "running" and now - at > self._timeout_s:
                raise RunFailedError(
                    f"{_name(rank, record)} has sent no heartbeat for {self._timeout_s:g} s",
                    hint=_HINT,
                )

    def share_stop(self, stop: StopRequest) -> None:
        """Share a request to stop with all machines; cheap enough for frequent calls."""
        if stop.signal is not None and not self._record.get("stop"):
            self.publish(stop=True)
        elif stop.signal is None and self._stop_seen:
            stop.ask()

    def explain_failure(self) -> None:
        """Wait, after a stage failed here, until it is known if another machine caused it.

        Raises:
            RunFailedError: another machine failed or was lost.
        """
        before = {rank: self._beats(rank) for rank in self._others()}
        deadline = time.monotonic() + self._timeout_s + 3 * self._beat_s
        while time.monotonic() < deadline:
            self._checked = 0.0
            self.check()
            # two beats after the failure: a machine that fails too publishes it in the first
            if all(self._is_over(r) or self._beats(r) >= n + 2 for r, n in before.items()):
                return
            time.sleep(self._beat_s / 2)

    def _others(self) -> list[int]:
        if self.machine.waits:
            return [0]
        return [rank for rank in range(self.machine.count) if rank != self.machine.rank]

    def _beats(self, rank: int) -> int:
        self._update(rank)
        return int(self._seen[rank].record["beat"]) if rank in self._seen else 0

    def _is_over(self, rank: int) -> bool:
        return rank in self._seen and self._seen[rank].record["state"] != "running"

    def _find_leader(self) -> None:
        """Wait for a living machine 0: its file may be left from an earlier attempt."""
        deadline = time.monotonic() + self._timeout_s
        self._update(0)
        first = self._seen.get(0)
        while time.monotonic() < deadline:
            self._update(0)
            now = self._seen.get(0)
            if now is not None and (first is None or now.record != first.record):
                self._record["attempt"] = now.record["attempt"]
                return
            time.sleep(min(0.2, self._beat_s))
        raise RunFailedError(
            f"machine 0 has not started a run in {self._run.path} within {self._timeout_s:g} s",
            hint="is --output on a file system that all machines share? was it started with "
            "--machine-rank 0?",
        )

    def _update(self, rank: int) -> None:
        """Read the record of a machine; a file that cannot be read counts as unchanged."""
        try:
            record = json.loads(self._path(rank).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if rank not in self._seen or self._seen[rank].record != record:
            self._seen[rank] = _Seen(record, time.monotonic())

    def _path(self, rank: int) -> Path:
        return self._run.path / MACHINES / f"{rank}.json"

    def _beat(self) -> None:
        while not self._over.wait(self._beat_s):
            with self._lock:
                self._record["beat"] += 1
            with contextlib.suppress(OSError):  # the next one may get through
                self._write()

    def _write(self) -> None:
        with self._lock:
            # unsynced: behind a large checkpoint a sync may take longer than a machine's timeout
            path = self._path(self.machine.rank)
            files.write_text(path, dumps(self._record), sync=False)


_HINT = "start the same command with --resume on every machine"


def _name(rank: int, record: dict[str, Any]) -> str:
    return f"machine {rank} ({record['host']})"
