"""Explains errors whose cause is outside of a stage's process: a full disk, another rank."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from geovlm.run import files
from geovlm.run.folder import RunDir

_LOST = re.compile(
    r"closed by peer|reset by peer|[Bb]roken pipe|Connection refused|remote process exited"
)
"""Messages of gloo and NCCL when another rank is gone."""
_WAITED = re.compile(r"[Tt]imed out|[Tt]imeout")
_BRACKET = re.compile(r"^\[[^]]*\] *")
"""Location in the source of torch, which stands before its messages."""


class Place(NamedTuple):
    """Rank of this process as the launcher set it: the ranks may not have joined yet."""

    rank: int
    world_size: int
    local_rank: int


def place() -> Place:
    """Return the rank of this process; without a launcher it is the only one."""
    names = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    return Place(*(int(os.environ.get(name, alone)) for name, alone in names.items()))


def who() -> str:
    """Return `rank 1 of 2: `, or nothing for a single process."""
    here = place()
    return f"rank {here.rank} of {here.world_size}: " if here.world_size > 1 else ""


def explain(error: Exception, run: RunDir, *, stage: str) -> str | None:
    """Return one line on an error from outside of this process, or `None` for a bug.

    It begins with `error: `, except where another rank is gone: that rank reports its own error.
    """
    refused = files.refusal(error)
    if refused is not None:
        return (
            f"error: {who()}{run.path} cannot be written: {refused} (nothing that was saved is "
            "lost; make room, then go on with --resume)"
        )
    if place().world_size == 1:
        return None
    if _WAITED.search(str(error)):
        name = stage if stage == "eval" else run.stage(int(stage)).name
        seconds = run.read_resolved()["config"]["timeout_s"]
        reason = _BRACKET.sub("", str(error).splitlines()[0])
        return (
            f"error: {who()}another rank of stage {name} did not answer within {seconds} s: "
            f"{reason} (where one hangs, go on with --resume; where one has more to do, set a "
            "longer timeout_s)"
        )
    if _LOST.search(str(error)):
        return f"{who()}another rank is gone"
    return None
