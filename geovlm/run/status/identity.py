"""Identifies the process that leads a run, and knows on its machine if it lives."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

_CLOCK_S = 2.0
"""Difference of two readings of one process's start time, seconds."""

Life = Literal["alive", "paused", "gone", "unknown"]


def own() -> dict[str, Any]:
    """Return what tells this process apart from all others on all machines."""
    import psutil  # a dependency of accelerate

    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "process_start": psutil.Process().create_time(),
    }


def life(process: Mapping[str, Any]) -> Life:
    """Return if a process of `own` lives; unknown on another machine or in another container.

    A process that is stopped by a signal is paused.
    """
    import psutil

    if not process["machine"] or process["machine"] != _machine():
        return "unknown"
    try:
        there = psutil.Process(process["pid"])
        state, started = there.status(), there.create_time()
    except psutil.NoSuchProcess:
        return "gone"
    except psutil.Error:
        return "unknown"
    if abs(started - process["process_start"]) > _CLOCK_S:
        return "unknown"  # another process has the number now, or the clock was set
    if state == psutil.STATUS_ZOMBIE:
        return "gone"
    return "paused" if state in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP) else "alive"


def is_paused(pid: int, *, of: Mapping[str, Any]) -> bool:
    """Return True if a process on the machine of the process `of` is known to be paused."""
    import psutil

    if not of["machine"] or of["machine"] != _machine():
        return False
    try:
        state = psutil.Process(pid).status()
    except psutil.Error:
        return False
    return bool(state in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP))


def _machine() -> str:
    """Return the start of this machine and its space of process numbers; empty if not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return ""
