"""From BigEarthNet v2's metadata to a shuffled, mixed training set: seconds and memory.

    python benchmarks/bigearthnet_metadata.py [--all-train] [--rows 480038]

Writes a `metadata.parquet` of 480,038 generated rows in the official columns, splits and class
counts per patch, and the band files of only those patches whose images the engine decodes before it
trains. Then, each in a process of its own:

plan   what `geovlm run` does before it starts a stage: reading, counting, checksums
stage  what a stage does before its first step: lengths of all prompts, decoding a sample of images,
       the mixture of BigEarthNet (80 %) and RSVQA (20 %), and the first batch of 64 rows

Seconds are those of the clock and, behind them, of the processor: the first grow on a busy machine.
Memory is the peak of the process, Python, torch and transformers included; the line `imports` says
how much of it and of the time is theirs. With --all-train every row is of the training split.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS = 480_038
SPLITS = {"train": 237_871, "validation": 122_342, "test": 119_825}
COUNTRIES = (
    "Austria",
    "Belgium",
    "Finland",
    "Ireland",
    "Kosovo",
    "Lithuania",
    "Portugal",
    "Serbia",
)
BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--all-train", action="store_true")
    parser.add_argument("--folder", type=Path, help="keeps the data; default: a temporary folder")
    parser.add_argument("--phase", choices=("plan", "stage"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.phase:
        report = {"plan": plan, "stage": stage}[args.phase](args.folder)
        print(json.dumps(report))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        if not (folder / "eo").is_dir():
            write(folder / "eo", rows=args.rows, all_train=args.all_train)
        for phase in ("plan", "stage"):
            argv = [sys.executable, __file__, "--phase", phase, "--folder", str(folder)]
            done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
            print(f"{phase}:")
            for name, (clock, cpu, peak) in json.loads(done.stdout.splitlines()[-1]).items():
                print(f"  {name:<36}{clock:7.1f} s {cpu:7.1f} s {peak:6.0f} MB")


class Clock:
    """Notes seconds and peak memory after each step."""

    def __init__(self) -> None:
        self.steps: dict[str, tuple[float, float, float]] = {}
        self.skip()

    def skip(self) -> None:
        self._last = (time.perf_counter(), time.process_time())

    def note(self, name: str) -> None:
        clock, cpu = time.perf_counter() - self._last[0], time.process_time() - self._last[1]
        status = Path("/proc/self/status").read_text()  # ru_maxrss would count the parent's
        peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
        self.steps[name] = (clock, cpu, peak)
        self.skip()


def configure(folder: Path) -> dict[str, object]:
    return {
        "tasks": {"bigearthnet": {"weight": 0.8}, "rsvqa/lr": {"weight": 0.2}},
        "data_root": str(folder / "eo"),
        "output": str(folder / "run"),
        "device": "cpu",
        "stages": [{"kind": "sft", "epochs": 1, "trainer": {"per_device_train_batch_size": BATCH}}],
    }


def plan(folder: Path) -> dict[str, tuple[float, float, float]]:
    clock = Clock()
    from geovlm.cli import running
    from geovlm.config.schema import RunConfig
    from geovlm.plan import build as planning
    from geovlm.plugins import registry
    from geovlm.run.folder import RunDir

    config = RunConfig.model_validate(configure(folder))
    loaded = registry.load()
    clock.note("imports")
    made = planning.make(config, registry=loaded, output=folder / "run")
    clock.note("plan: read, count, check, hash")
    running.write(RunDir(folder / "run"), made)
    return clock.steps


def stage(folder: Path) -> dict[str, tuple[float, float, float]]:
    clock = Clock()
    from geovlm.config.control_tokens import ControlTokens
    from geovlm.config.model import inspect, source
    from geovlm.config.schema import RunConfig
    from geovlm.engine import work
    from geovlm.engine.models.processor import load_processor
    from geovlm.engine.rows.images import ImageCache
    from geovlm.engine.rows.rendering import Chat
    from geovlm.engine.rows.rows import Picked, dataset
    from geovlm.engine.stage import Stage
    from geovlm.plugins import registry
    from geovlm.run.folder import RunDir

    run = RunDir(folder / "run")
    resolved = run.read_resolved()
    config = RunConfig.model_validate(resolved["config"])
    loaded = registry.load()
    current = Stage(
        run=run,
        config=config,
        registry=loaded,
        index=0,
        task_names=tuple(resolved["task_names"]),
        data_roots={name: Path(root) for name, root in resolved["data_roots"].items()},
        cache=ImageCache(),
        rank=0,
        world_size=1,
    )
    profile = inspect(config, registry=loaded).profile
    assert profile is not None
    clock.note("imports")
    work.check(current)
    clock.note("precheck of all prompts, some images")
    parts = {
        task.name: current.rows(task, split="train", profile=profile) for task in current.tasks
    }
    clock.note("rows of both tasks")
    total = sum(map(len, parts.values()))
    picks = current.plan(parts, n=total)
    clock.note(f"mixture of {total:,} rows")
    table = dataset(
        Picked(parts, picks),
        cache=current.cache,
        tokens=ControlTokens(()),  # generated texts hold none
        chat=Chat.of(load_processor(source(config.model))),
    )
    clock.note("data set")
    for row in (parts[name][number] for name, number in picks[:BATCH] if name == "bigearthnet"):
        materialise(folder, [row.sample_id])
    clock.skip()
    assert len(table[:BATCH]["prompt"]) == BATCH
    clock.note(f"first {BATCH} rows, images decoded")
    return clock.steps


def write(folder: Path, *, rows: int, all_train: bool) -> None:
    """Write the metadata, a small RSVQA beside it, and the patches that are decoded."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from geovlm_bigearthnet.classes import CLASSES_19
    from geovlm_bigearthnet.sample import make_sample
    from geovlm_rsvqa.sample import make_lr

    rng = random.Random(0)
    root = folder / "BigEarthNet_v2"
    (root / "BigEarthNet-S2").mkdir(parents=True)
    make_lr(folder / "RSVQA_LR", 64, 0)
    make_sample(folder.parent / "patches", 1, 0)
    words = [word for word, n in SPLITS.items() for _ in range(round(n * rows / ROWS) + 1)][:rows]
    if all_train:
        half = rows // 1000  # the run needs some rows to evaluate on
        words = ["train"] * (rows - half) + ["test"] * half
    rng.shuffle(words)
    classes = sorted(CLASSES_19)
    names = [
        f"S2A_MSIL2A_{20170101 + i // 8100}T101031_N9999_R022_T33UUP_{i // 90 % 90}_{i % 90}"
        for i in range(rows)
    ]
    pq.write_table(
        pa.table(
            {
                "patch_id": names,
                "labels": [sorted(rng.sample(classes, rng.randint(1, 6))) for _ in names],
                "split": words,
                "country": [rng.choice(COUNTRIES) for _ in names],
                "s1_name": [f"S1B_IW_GRDH_1SDV_{name[11:26]}_33UUP_26_57" for name in names],
                "s2v1_name": [name[:26] + name[-6:] for name in names],
                "contains_seasonal_snow": [False] * rows,
                "contains_cloud_or_shadow": [False] * rows,
            }
        ),
        root / "metadata.parquet",
    )
    for word in SPLITS:
        own = [name for name, each in zip(names, words, strict=True) if each == word]
        # as geovlm.engine.rows.precheck and geovlm.plan.data choose them
        checked = own[:: -(-len(own) // 128) or 1] + own[:: max(1, len(own) // 32)]
        materialise(folder.parent, checked)


def materialise(folder: Path, names: list[str]) -> None:
    """Make the band files of some patches: links to those of a generated one."""
    (made,) = (folder / "patches" / "BigEarthNet-v1.0").glob("*0_0")
    for name in names:
        own = folder / "eo" / "BigEarthNet_v2" / "BigEarthNet-S2" / name.rsplit("_", 2)[0] / name
        if own.is_dir():
            continue
        own.mkdir(parents=True)
        for path in made.glob("*.tif"):
            os.link(path, own / f"{name}_{path.stem.rpartition('_')[2]}.tif")


if __name__ == "__main__":
    main()
