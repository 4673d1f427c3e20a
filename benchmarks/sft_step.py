"""Compares the time of an SFT step with that of a plain script with TRL.

    python benchmarks/sft_step.py --rounds 3

Both sides train nano on the same generated rows in the same order, with the same arguments; they
take turns, every other round in the opposite order, each in a trainer of its own. `trl` is
`SFTTrainer` on a data set whose images `datasets` decodes when a row is read, with the stock image
processor. `geovlm` is the engine's stage with its log, its checks and its callbacks; `off` is the
same without sharing equal images. Time runs from the end of a step to the end of the next, so that
reading and collating count. Prints the median seconds of a step, the ratio by round, that of
each side's fastest step (what other work of the machine disturbs least), and how far the losses are
apart, relatively. On a machine that does other work too, take `--cpu-time` and one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import AutoModelForImageTextToText, PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from geovlm import nano
from geovlm.config import load
from geovlm.config.control_tokens import ControlTokens
from geovlm.data import loading
from geovlm.engine.models.processor import load_processor
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Picked, gold, messages
from geovlm.engine.stage import Stage
from geovlm.engine.training import sft
from geovlm.plugins import registry
from geovlm.plugins.profiles import QWEN2_5_VL
from geovlm.run import files
from geovlm.run.folder import RunDir

_SKIPPED = 2


class Clock(TrainerCallback):
    """Notes the seconds from step to step, and the losses."""

    def __init__(self, *, cpu_time: bool) -> None:
        self._now = time.process_time if cpu_time else time.perf_counter
        self._ends: list[float] = []
        self.losses: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self._ends.append(self._now())

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self.losses.append(logs["loss"])

    @property
    def steps(self) -> list[float]:
        """Seconds of every step, the first ones left out."""
        return [after - before for before, after in pairwise(self._ends[_SKIPPED:])]


def stage(folder: Path, args: argparse.Namespace, *, share_images: bool) -> Stage:
    """Return the engine's SFT stage on generated data."""
    sets = [
        "device=cpu",
        f"sample.records={args.records}",
        f"share_images={str(share_images).lower()}",
        f"min_pixels={args.pixels**2}",
        f"max_pixels={args.pixels**2}",
        f"stages.0.steps={args.steps + _SKIPPED + 1}",
        f"stages.0.trainer.per_device_train_batch_size={args.batch}",
        "stages.0.trainer.logging_steps=1",
        "stages.0.trainer.save_steps=1000",
    ]
    config = load.load(None, tasks=args.tasks, overrides=sets)
    run = RunDir(folder)
    files.write_json(run.resolved, {"stage_folders": config.stage_folders()})
    run.stage(0).mkdir(parents=True)
    known = registry.load()
    roots = {}
    for name in dict.fromkeys(known.task(task).dataset for task in config.tasks):
        roots[name] = loading.sample_root(known.dataset(name), n=args.records, seed=config.seed)
    return Stage(
        run=run,
        config=config,
        registry=known,
        index=0,
        task_names=tuple(config.tasks),
        data_roots=roots,
        cache=ImageCache(),
        rank=0,
        world_size=1,
    )


def engine(args: argparse.Namespace, *, share_images: bool) -> Clock:
    """Train by the engine."""
    clock = Clock(cpu_time=args.cpu_time)

    class Clocked(SFTTrainer):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given | {"callbacks": [*given["callbacks"], clock]})

    ordinary, sft.SFTTrainer = sft.SFTTrainer, Clocked
    try:
        with tempfile.TemporaryDirectory() as folder:
            sft.train(
                stage(Path(folder), args, share_images=share_images),
                start=str(nano.path()),
                resume=False,
            )
    finally:
        sft.SFTTrainer = ordinary
    return clock


def by_hand(args: argparse.Namespace) -> Clock:
    """Train as a script would, on the rows that the engine picks."""
    clock = Clock(cpu_time=args.cpu_time)
    with tempfile.TemporaryDirectory() as folder:
        theirs = stage(Path(folder), args, share_images=False)
        config: SFTConfig = sft.arguments(theirs, max_steps=args.steps + _SKIPPED + 1, on_cpu=True)
        processor = load_processor(
            str(nano.path()),
            min_pixels=args.pixels**2,
            max_pixels=args.pixels**2,
            cache_patches=False,
        )
        trainer = SFTTrainer(
            model=AutoModelForImageTextToText.from_pretrained(nano.path(), dtype=torch.float32),
            args=config,
            train_dataset=examples(theirs, n=config.max_steps * args.batch),
            processing_class=processor,
            callbacks=[clock],
        )
        trainer.model_accepts_loss_kwargs = True  # as the engine: every token the same weight
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock


def examples(stage: Stage, *, n: int) -> datasets.Dataset:
    """Return the engine's rows as a data set that decodes its images when they are read."""
    parts = {
        task.name: stage.rows(task, split="train", profile=QWEN2_5_VL, limit=stage.settings.limit)
        for task in stage.tasks
    }
    picks = stage.plan(parts, n=n)
    rows = list(Picked(parts, picks))
    letters = ControlTokens(())  # generated texts hold none
    table = datasets.Dataset.from_dict(
        {
            "images": [[json.loads(image) for image in row.images] for row in rows],
            "prompt": [messages(row, tokens=letters) for row in rows],
            "completion": [
                [{"role": "assistant", "content": gold(row, tokens=letters)}] for row in rows
            ],
        }
    )
    return table.cast_column("images", datasets.List(datasets.Image()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["rsvqa/lr"], help="of images that PIL reads")
    parser.add_argument("--records", type=int, default=64)
    parser.add_argument("--pixels", type=int, default=84, help="image side")
    parser.add_argument("--batch", type=int, default=16, help="rows per step")
    parser.add_argument("--steps", type=int, default=8, help="per turn, after three of warm-up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true", help="seconds of CPU, not of the clock")
    args = parser.parse_args()
    sides = {
        "trl": lambda: by_hand(args),
        "off": lambda: engine(args, share_images=False),
        "geovlm": lambda: engine(args, share_images=True),
    }
    found: dict[str, list[Clock]] = {name: [] for name in sides}
    for number in range(args.rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            torch.manual_seed(0)
            found[name].append(sides[name]())
    theirs = [statistics.median(clock.steps) for clock in found["trl"]]
    print(f"{args.pixels} px, {args.batch} rows: trl {statistics.median(theirs):.3f} s")
    for name in ("off", "geovlm"):
        ours = [statistics.median(clock.steps) for clock in found[name]]
        ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
        fastest, own = (
            min(step for clock in found[side] for step in clock.steps) for side in ("trl", name)
        )
        apart = max(
            abs(a - b) / a
            for one, other in zip(found["trl"], found[name], strict=True)
            for a, b in zip(one.losses, other.losses, strict=True)
        )
        print(
            f"{name} {statistics.median(ours):.3f} s, trl takes {statistics.median(ratios):.3f} "
            f"times as long ({min(ratios):.3f} to {max(ratios):.3f}), "
            f"{fastest / own:.3f} by fastest steps; losses within {apart:.1e}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
