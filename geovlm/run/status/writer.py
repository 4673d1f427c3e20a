"""Writes `status.json` in the folder of a run, in the process that leads the run.

This process is the only writer; the stages report to it through `geovlm.run.status.meter`. The
counter `beat` changes as long as the process lives. Ages are durations, because the clocks of two
machines may differ. A disk that refuses the file neither ends the run nor hides why it ended.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from geovlm.errors import GeoVLMError, StoppedError
from geovlm.files.jsontext import dumps
from geovlm.run import files
from geovlm.run.folder import RunDir
from geovlm.run.status import identity, meter, reading
from geovlm.run.status.ledger import Ledger
from geovlm.run.status.parts import planned

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig

BEAT_S = 2.0
"""Seconds between two writes."""
_LOOK_S = 0.5
"""Seconds between two looks at the file of the stage."""
_FINDINGS = 3
"""Largest number of findings of health kept."""
_TASKS = 50
"""Largest number of tasks whose rewards are kept."""
_LETTERS = 500
"""Longest text of a reason or a finding."""


class Status:
    """The state of a run, in a file and to a listener, while the context is open."""

    def __init__(
        self, run: RunDir, *, listen: Callable[[Mapping[str, Any]], None] = lambda record: None
    ) -> None:
        """Write nothing before `begin`; `listen` receives every record, twice a second."""
        self._run = run
        self._listen = listen
        self._ledger = Ledger([], folders={})
        self._facts: dict[str, Any] = {}
        self._folder: Path | None = None
        self._beat = 0
        self._written = 0.0
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_writing, daemon=True)

    def __enter__(self) -> Status:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if not self._facts:
            return
        self._over.set()
        self._thread.join(timeout=5)  # a disk that hangs must not keep the process
        state, reason = _ending(error)
        with self._lock:
            self._facts |= {"state": state, "reason": reason, "doing": ""}
        self._write(sync=True)
        self._listen(self.record())

    def begin(
        self, config: RunConfig, samples: Mapping[str, Mapping[str, int]], *, resume: bool
    ) -> None:
        """Write the first state of a run, or with `resume` of another attempt at it.

        `samples` is task -> split -> number of samples.
        """
        before = reading.before(self._run) if resume else {}
        indexes = range(len(config.stages)) if config.stages else [-1]
        folders = {index: self._run.stage(index).name for index in indexes}
        self._ledger = Ledger(planned(config, samples), folders=folders, before=before)
        now = _now()
        self._facts = {
            "version": reading.VERSION,
            "state": "running",
            "reason": "",
            "doing": "starting",
            "process": identity.own(),
            "stage_pid": None,
            "attempt": int(before.get("attempt", 0)) + 1,
            "started_at": before.get("started_at", now),
            "resumed_at": now if before else None,
            "beat_s": BEAT_S,
            "timeout_s": config.machine_timeout_s,
            "loss": None,
            "rewards": before.get("rewards", {}),
            "no_signal": before.get("no_signal"),
            "health": before.get("health", []),
            "memory": {},
        }
        self._write()
        self._listen(self.record())
        self._thread.start()

    @contextlib.contextmanager
    def stage(self, index: int) -> Iterator[None]:
        """Follow a stage while the context is open."""
        self._folder = folder = self._run.stage(index)
        path = folder / meter.FILE
        with contextlib.suppress(OSError):  # of an attempt that was killed
            path.unlink(missing_ok=True)
        with self._lock:
            self._ledger.begin_stage(index)
            self._facts |= {"doing": "starting", "loss": None}
        done = False
        try:
            yield
            done = True
        finally:
            self._look()
            self._folder = None
            with self._lock:
                self._ledger.end_stage(done=done)
                self._facts |= {"doing": "", "stage_pid": None}
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def skip(self, index: int) -> None:
        """Count a stage as done that an earlier attempt has finished."""
        with self._lock:
            self._ledger.skip_stage(index)

    def doing(self, what: str) -> None:
        """Say what the run does outside its stages, as a participle."""
        with self._lock:
            self._facts["doing"] = what

    def record(self) -> dict[str, Any]:
        """Return the state as JSON."""
        with self._lock:
            record = {**self._facts, "at": _now(), "beat": self._beat, **self._ledger.table()}
        if record["state"] == "done":
            record |= {"percent": 100.0, "eta_s": 0.0, "eta_is_guess": False}
        return record

    def _keep_writing(self) -> None:
        while not self._over.wait(_LOOK_S):
            self._look()
            if time.monotonic() - self._written >= BEAT_S:
                self._write()
            self._listen(self.record())

    def _write(self, *, sync: bool = False) -> None:
        self._written = time.monotonic()
        with self._lock:
            self._beat += 1
            with contextlib.suppress(OSError):  # a full disk must not hide why the run ended
                text = dumps(self.record()) + "\n"
                files.write_text(self._run.path / reading.FILE, text, sync=sync)

    def _look(self) -> None:
        """Take over what the stage has reported."""
        folder = self._folder
        if folder is None:
            return
        try:
            report = json.loads((folder / meter.FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there yet; the next look may find it
            return
        findings = _findings(folder)
        with self._lock:
            self._ledger.take(report["parts"])
            others = [each for each in self._facts["health"] if each["stage"] != folder.name]
            self._facts |= {
                "doing": report["doing"],
                "stage_pid": report["pid"],
                "memory": report["memory"],
                "loss": report.get("loss"),
                "health": [*others, *findings][-_FINDINGS:],
            }
            if "rewards" in report:
                self._facts["rewards"] = dict(list(report["rewards"].items())[:_TASKS])
                self._facts["no_signal"] = report["no_signal"]


def _ending(error: BaseException | None) -> tuple[str, str]:
    """Return the last state of a run and the reason for it, on one line."""
    if error is None:
        return "done", ""
    if isinstance(error, StoppedError):
        return "stopped", _line(str(error))
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "stopped", "ended at once by a signal; what was saved before is kept"
    if isinstance(error, GeoVLMError):
        return "failed", _line(str(error))
    return "failed", _line(f"{type(error).__name__}: {error}")


def _findings(folder: Path) -> list[dict[str, Any]]:
    """Return the last findings of health of a stage."""
    try:
        found = files.JsonLines(folder / "health.jsonl").read()[-_FINDINGS:]
    except OSError:
        return []
    return [
        {
            "stage": folder.name,
            "rule": each["rule"],
            "step": each["step"],
            "figures": _line(each["figures"]),
        }
        for each in found
    ]


def _line(text: str) -> str:
    return " ".join(text.split())[:_LETTERS]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
