"""Writes, checks and finds checkpoints: they count if a manifest, written last, fits their files.

The manifest holds sizes and checksums. Hashing reads every file once more, at save and at resume,
with XXH3: 5 to 20 GB/s from memory, else as fast as the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import xxhash
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, set_seed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from geovlm.run.files import write_json
from geovlm.run.folder import CHECKPOINT_MANIFEST

_BLOCK_BYTES = 16 * 1024 * 1024


class Found(NamedTuple):
    """The checkpoints of a folder."""

    last: Path | None
    """The newest one that is whole."""
    damaged: list[tuple[Path, str]]
    """Newer ones that are not, newest first, and their damage."""


@dataclass(eq=False, kw_only=True)
class CheckpointCallback(TrainerCallback):
    """Writes the manifest after everything else, then deletes what is too old.

    The trainer itself must not delete: it does so before the new checkpoint is known to be whole.
    """

    keep: int | None
    """Number of checkpoints that are kept; all, if that is `None` or not positive."""
    resumed: Path | None
    """The checkpoint from which the training goes on."""

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Draw new random numbers in the first step on a rank whose state was not saved.

        The trainer names the states by rank, and that of a single process without.
        """
        if self.resumed is None:
            return
        rank = f"_{args.process_index}" if args.world_size > 1 else ""
        if not (self.resumed / f"rng_state{rank}.pth").is_file():
            set_seed(args.seed + state.global_step, device_specific=True)
        self.resumed = None

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Wait until every rank has written its files; then write the manifest on the first."""
        PartialState().wait_for_everyone()
        if not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir))
        rows = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        write_manifest(
            folder / f"checkpoint-{state.global_step}",
            step=state.global_step,
            rows=state.global_step * rows,
            processes=args.world_size,
        )
        if self.keep is not None and self.keep > 0:
            for old in _by_step(folder)[self.keep :]:
                shutil.rmtree(old, ignore_errors=True)


def write_manifest(folder: Path, *, step: int, rows: int, processes: int) -> None:
    """Make a checkpoint count: force its files to the disk, then write their sizes and checksums.

    `rows` of the mixture were trained on; GRPO counts each completion.
    """
    files = {}
    for path in sorted(
        p for p in folder.rglob("*") if p.is_file() and p.name != CHECKPOINT_MANIFEST
    ):
        files[path.relative_to(folder).as_posix()] = {
            "bytes": path.stat().st_size,
            "xxh3_128": _checksum(path, sync=True),
        }
    manifest = {"step": step, "rows": rows, "processes": processes, "files": files}
    write_json(folder / CHECKPOINT_MANIFEST, manifest)


def damage(folder: Path) -> str | None:
    """Return the damage of a checkpoint, or `None` if it is as it was written."""
    try:
        files = json.loads((folder / CHECKPOINT_MANIFEST).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return f"half-written: it has no {CHECKPOINT_MANIFEST}"
    except (ValueError, KeyError, TypeError):
        return f"{CHECKPOINT_MANIFEST} cannot be read"
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected["bytes"]:
            return f"{name} has {path.stat().st_size} of {expected['bytes']} bytes"
    for name, expected in files.items():
        if _checksum(folder / name) != expected["xxh3_128"]:
            return f"{name} differs from what was written"
    return None


def find(folder: Path, *, before_step: int | None = None) -> Found:
    """Return the newest whole checkpoint (before a step), and the newer ones that are damaged."""
    damaged: list[tuple[Path, str]] = []
    for path in _by_step(folder):
        if before_step is not None and _step(path) >= before_step:
            continue
        why = damage(path)
        if why is None:
            return Found(path, damaged)
        damaged.append((path, why))
    return Found(None, damaged)


def to_resume(folder: Path) -> Path | None:
    """Return the checkpoint to resume from, or `None` to begin the stage; the same on every rank.

    A warning names the damaged ones, which are deleted: the stage is about to write them again.
    """
    state = PartialState()
    chosen: list[str | None] = [None]
    if state.is_main_process:
        found = find(folder)
        go_on = f"going on from {found.last.name}" if found.last else "the stage begins again"
        for path, why in found.damaged:
            print(f"warning: {path} is damaged ({why}); {go_on}", file=sys.stderr, flush=True)
            shutil.rmtree(path)
        chosen = [str(found.last) if found.last else None]
    broadcast_object_list(chosen)
    return Path(chosen[0]) if chosen[0] else None


def remove_unfinished(folder: Path) -> None:
    """Delete checkpoints without a manifest, to give a full disk its space back."""
    for path in _by_step(folder):
        if not (path / CHECKPOINT_MANIFEST).is_file():
            shutil.rmtree(path, ignore_errors=True)


def _by_step(folder: Path) -> list[Path]:
    """Return all checkpoints, newest first."""
    return sorted(folder.glob("checkpoint-*"), key=_step, reverse=True)


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _checksum(path: Path, *, sync: bool = False) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
        if sync:
            os.fsync(file.fileno())
    return digest.hexdigest()
