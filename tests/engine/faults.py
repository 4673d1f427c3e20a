"""A tiny run of all stages that can be hurt at any step, and what to hurt it with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import inside

RUN = """
max_new_tokens = 12
rewards = "robust"
sample.records = 12
tasks = ["faulty"]
[[stages]]
kind = "sft"
steps = 4
trainer = {per_device_train_batch_size = 4, save_steps = 2, logging_steps = 1, learning_rate = 1e-3}
[[stages]]
kind = "probe"
prompts = 4
generations = 2
batch_size = 2
on_fail = "warn"
keep_flat = 1.0
[[stages]]
kind = "grpo"
steps = 3
trainer = {per_device_train_batch_size = 4, num_generations = 2, save_steps = 1, optim = "sgd"}
[eval]
limit = 4
batch_size = 2
resamples = 2
base = false
blind = "off"
"""

PLUGIN = '''
import os, signal, time
from pathlib import Path
from geovlm import hookimpl
from geovlm.api import DatasetSpec, RewardSpec, Sample, TaskSpec, Turn

ILL = {}

def load(ctx):
    for path in sorted((ctx.root / ctx.split).glob("*.png")):
        target = {"labels": ["blue"], "vocabulary": ["blue"]}
        yield Sample(id=path.stem, images=(path,), target=target)

def make_sample(root, n, seed):
    from PIL import Image
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        for i in range(n):
            tile = Image.new("RGB", (56, 56), (0, 9 * i, 255 - 9 * i))
            tile.save(root / split / f"{split}{i:02d}.png")

def prompt(sample, ctx):
    return Turn(question=f"What is {sample.id}?", answer="blue", reasoning="It looks blue.")

def judge(completion, ctx):
    if ILL.get("judge") == "raise":
        raise ConnectionError("the judge is down")
    if ILL.get("judge") == "hang":
        time.sleep(3600)
    return sum(map(ord, completion)) % 7 / 7

@hookimpl
def geovlm_datasets():
    yield DatasetSpec(name="faulty", summary="Tiles.", splits=("train", "test"), load=load,
        make_sample="faulty_plugin:make_sample", folders=("faulty",), licence="CC0-1.0",
        homepage="https://example.org/faulty", citation="Nobody 2026")

@hookimpl
def geovlm_rewards():
    yield RewardSpec(name="faulty/judge", summary="A sum.", score=judge, gold_is_max=False)

@hookimpl
def geovlm_tasks():
    yield TaskSpec(name="faulty", summary="Name the tile.", dataset="faulty", prompt=prompt,
        rewards={"paper": {"recall": 1.0}, "robust": {"faulty/judge": 1.0}}, metrics=("accuracy",),
        primary_metric="accuracy", max_answer_tokens=12)

@hookimpl
def geovlm_callbacks(stage):
    from transformers import TrainerCallback

    class Hurt(TrainerCallback):
        """FAULT is `<stage kind> <step> <rank> <what>`: done at the end of that step."""

        def on_step_end(self, args, state, control, **_):
            kind, step, rank, what = (os.environ.get("FAULT") or "- 0 0 -").split()
            if (stage.kind, state.global_step, args.process_index) != (kind, int(step), int(rank)):
                return
            if what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "linger":  # until the state of the run has it too
                time.sleep(3)
            if what in ("freeze", "linger"):
                os.kill(os.getpid(), signal.SIGSTOP)
            if what == "full":  # the optimiser of the next checkpoint goes to a disk without room
                folder = Path(args.output_dir) / f"checkpoint-{state.global_step + 1}"
                folder.mkdir()
                (folder / "optimizer.pt").symlink_to("/dev/full")
            ILL["judge"] = what

    yield Hurt()
'''


class Faulty:
    """Starts `geovlm run` with the plugin above, and waits for moments."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.config = folder / "faults.toml"
        self.config.write_text(RUN)
        self._site = folder
        self.cache = cache

    def start(self, output: Path, *extra: str, fault: str = "") -> subprocess.Popen[str]:
        """Start, or go on with, the run in `output`; its own talk goes to `<output>.txt`."""
        path = [str(self._site), *filter(None, [os.environ.get("PYTHONPATH")])]
        variables = os.environ | {
            "PYTHONPATH": os.pathsep.join(path),
            "GEOVLM_CACHE": str(self.cache),
            "OMP_NUM_THREADS": "1",
        }
        variables |= {"FAULT": fault} if fault else {}
        with output.with_suffix(".txt").open("w") as talk:
            return subprocess.Popen(
                [sys.executable, "-m", "geovlm.cli", "run", *extra, "--output", str(output)],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=talk,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def begin(self, output: Path, *extra: str, fault: str = "") -> subprocess.Popen[str]:
        """Start a new run."""
        return self.start(output, str(self.config), *extra, fault=fault)

    def run(
        self,
        output: Path,
        *extra: str,
        fault: str = "",
        first: Callable[[], object] = lambda: None,
        until: str = "",
    ) -> tuple[int, str]:
        """As `start`, in this process and to the end; returns the exit status and what was said."""
        ended = inside.geovlm(
            *("run", *extra, "--output", output),
            folder=self._site,
            first=first,
            until=until,
            GEOVLM_CACHE=str(self.cache),
            OMP_NUM_THREADS="1",
            FAULT=fault,
        )
        return ended.returncode, ended.stderr

    def go_on(self, output: Path, *extra: str, fault: str = "", until: str = "") -> tuple[int, str]:
        """Resume a run in this process; returns the exit status and what was said."""
        return self.run(output, "--resume", *extra, fault=fault, until=until)


def finish(
    process: subprocess.Popen[str], output: Path, *, within_s: float = 500
) -> tuple[int, str]:
    """Wait for a run; returns its exit status and what it said."""
    status = process.wait(timeout=within_s)
    return status, output.with_suffix(".txt").read_text()


def wait_until(happened: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    """Wait for a moment of a run that goes on; fails if it ends before."""
    deadline = time.monotonic() + 500
    while not happened():
        assert process.poll() is None, "the run ended before it could be hurt"
        assert time.monotonic() < deadline, "the moment did not come"
        time.sleep(0.01)


def sft_alone(process: subprocess.Popen[str], output: Path) -> tuple[int, str]:
    """Stop a run when its first stage is done; returns its exit status and what it said."""
    wait_until(lambda: (output / "stages/0-sft/done.json").exists(), process)
    process.send_signal(signal.SIGTERM)
    return finish(process, output)


def newer(output: Path, pattern: str, *, than: float) -> bool:
    """Return True if a file was written since a moment of `time.time`."""
    found = False
    for path in output.glob(pattern):
        try:
            found = found or path.stat().st_mtime > than
        except FileNotFoundError:  # renamed or deleted just now
            continue
    return found


def workers(output: Path) -> list[int]:
    """Return the processes of a run's stages, wherever they are in the process tree."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                argv = (each / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(output).encode() in argv and b"--stage" in argv and b"--module" not in argv:
                found.append(int(each.name))
    return found


def kill_tree(pid: int) -> None:
    """Kill a process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(pid, signal.SIGKILL)
    for child in children:
        kill_tree(int(child))


def scores(output: Path) -> dict[str, Any]:
    """Return all scores of a run."""
    return json.loads((output / "metrics.json").read_text())["tasks"]


def sft_scores(output: Path) -> dict[str, Any]:
    """Return the scores of every task after SFT."""
    return {name: task["stages"]["sft"] for name, task in scores(output).items()}


def losses(output: Path) -> list[float]:
    """Return the loss of every step of SFT."""
    lines = (output / "stages" / "0-sft" / "log.jsonl").read_text().splitlines()
    return [record["loss"] for record in map(json.loads, lines) if "loss" in record]


def in_sft(whole: Path, copy: Path) -> Path:
    """Return a copy of a run as it was before the SFT stage had written its model."""
    shutil.copytree(whole, copy)
    for gone in ("eval", "stages/0-sft/model", "stages/1-probe", "stages/2-grpo"):
        shutil.rmtree(copy / gone)
    (copy / "stages/0-sft/done.json").unlink()
    (copy / "metrics.json").unlink()
    return copy


def in_grpo(whole: Path, copy: Path) -> Path:
    """Return a copy of a run as it was when the probe had ended."""
    shutil.copytree(whole, copy)
    shutil.rmtree(copy / "eval" / "grpo")
    shutil.rmtree(copy / "stages" / "2-grpo")
    metrics = json.loads((copy / "metrics.json").read_text())
    for task in metrics["tasks"].values():
        del task["stages"]["grpo"]
    (copy / "metrics.json").write_text(json.dumps(metrics))
    return copy
