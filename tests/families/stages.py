"""All stages of one tiny checkpoint, by the commands of `geovlm`, in this process.

`python -m tests.families.stages NAME OUT` writes OUT/NAME/cells.json; the rest of the folder is
what the commands have left. The result of a stage is `pass` only after its product was checked, and
`refused` only if a command ended with the exit code of an impossible request before any step.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from geovlm.errors import GeoVLMError
from tests import inside
from tests.families import expected, frames, products
from tests.families.expected import Cell, Expected
from tools.families import checkpoints

SAMPLES = 2
"""Samples per task of an evaluation."""
COMPLETIONS = 8
"""Completions of the GRPO step: four groups of two."""
_TRAINER = "gradient_checkpointing=false,learning_rate=1e-3"
SFT = f'{{kind="sft",steps=1,limit=4,trainer={{per_device_train_batch_size=2,{_TRAINER}}}}}'
PROBE = '{kind="probe",prompts=4,limit=4,generations=2,batch_size=4,on_fail="warn",keep_flat=1.0}'
GRPO = (
    '{kind="grpo",steps=1,batch_size=4,trainer={'
    f"per_device_train_batch_size={COMPLETIONS},num_generations=2,max_completion_length=16,"
    f'optim="sgd",{_TRAINER}}}}}'
)
COMMON = (
    "rewards=robust",
    "max_new_tokens=16",
    f"eval.limit={SAMPLES}",
    "eval.resamples=2",
    "eval.base=false",
    "eval.blind=off",
    "sample.records=4",
)
SMALL = ("min_pixels=4096", "max_pixels=16384")
"""Limits of 64 and 128 px, for the families whose processor has limits of the area."""


class Refused(Exception):  # a result, not an error of the program
    """A command has refused its work, before any step."""


class Failed(Exception):
    """A command has failed."""


class Family:
    """One checkpoint, the folder of its results, and what is demanded of it."""

    def __init__(self, name: str, out: Path, *, demanded: Expected) -> None:
        self.name, self.out, self.demanded = name, out, demanded
        self.model = checkpoints.checkpoint(name)
        self.run = out / "run"
        self.plugins, self.cache = out.parent / "plugins", out.parent / "cache"
        self.cells: dict[str, Cell] = {}
        self.stages = [SFT, PROBE, GRPO]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note what the block does as the result of a stage."""
        began = _cpu_seconds()

        def note(result: str, said: str = "") -> None:
            seconds = round(_cpu_seconds() - began, 1)
            said = " ".join(said.split())[:300]
            self.cells[name] = Cell(result, seconds, said)  # type: ignore[arg-type]

        try:
            yield
        except Refused as refusal:
            note("refused", str(refusal))
        except GeoVLMError as error:  # of the engine's functions, called without a command
            note("refused" if error.exit_code == 2 else "failed", str(error))
        except (Failed, products.Missing) as failure:
            note("failed", str(failure))
        except Exception as error:  # its line is the result; the log has the rest
            traceback.print_exc()
            note("failed", f"{type(error).__name__}: {error}")
        else:
            note("pass")

    def command(self, *words: object, allowed: tuple[int, ...] = (0,)) -> str:
        """Run a command of `geovlm`; returns its standard output.

        Raises:
            Refused: it ended with exit code 2.
            Failed: it ended with another code that is not allowed.
        """
        print("$ geovlm", *words, flush=True)
        done = inside.geovlm(*words, folder=self.plugins, GEOVLM_CACHE=str(self.cache))
        print(done.stdout, done.stderr, sep="\n", flush=True)
        if done.returncode in allowed:
            return done.stdout
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        said = errors[-1].removeprefix("error: ") if errors else done.stderr[-300:].strip()
        raise (Refused if done.returncode == 2 else Failed)(said)

    def settings(self, *more: str) -> list[str]:
        """Return `--model` and `--set` options."""
        sets = (*COMMON, *(SMALL if frames.has_limits(self.model) else ()), *self.demanded.set)
        return ["--model", str(self.model), *(w for s in (*sets, *more) for w in ("--set", s))]

    def plan(self) -> None:
        """Plan all stages; without GRPO if that is what is refused."""
        words = ["plan", "--tasks", ",".join(products.TASKS)]
        try:
            self.command(*words, *self.settings(_stages(self.stages)))
        except Refused as refusal:
            self.stages = [SFT, PROBE]
            self.command(*words, *self.settings(_stages(self.stages)))
            self.cells["grpo"] = Cell("refused", 0.0, str(refusal))

    def train(self) -> None:
        """Run all stages that the plan allows, and note the result of each by its product."""
        began = _cpu_seconds()
        words = ["run", "--tasks", ",".join(products.TASKS), "--output", str(self.run)]
        failure: Exception | None = None
        try:
            self.command(*words, *self.settings(_stages(self.stages)))
        except Refused as refusal:
            failure = Failed(f"refused after its plan has passed: {refusal}")
        except Exception as error:
            failure = error
        folder, prefill = self.run / "stages", self.demanded.prefill
        checks: dict[str, Callable[[], None]] = {
            "sft": lambda: products.sft(folder / "0-sft", before=self.model),
            "probe": lambda: products.probe(folder / "1-probe"),
            "grpo": lambda: products.grpo(
                folder / "2-grpo",
                before=folder / "0-sft" / "model",
                completions=COMPLETIONS,
                prefill=prefill,
            ),
        }
        if GRPO not in self.stages:
            del checks["grpo"]
        for number, (name, check) in enumerate(checks.items()):
            with self.stage(name):
                if failure is not None and not (folder / f"{number}-{name}/done.json").is_file():
                    raise failure
                check()
            if self.cells[name].result != "pass":
                break
        else:
            with self.stage("evaluation"):
                if failure is not None:
                    raise failure
                names = tuple(name for name in checks if name != "probe")
                products.evaluation(self.run, stages=names, samples=SAMPLES, prefill=prefill)
        self._share_out(_cpu_seconds() - began)

    def _share_out(self, whole: float) -> None:
        """Give each stage of the run its part of the CPU seconds, by its time on the clock."""
        file = self.run / "metrics.json"
        clock = json.loads(file.read_text())["seconds"] if file.is_file() else {}
        for name, seconds in clock.items():
            cell = self.cells.get(name, Cell("not reached"))
            part = round(whole * seconds / sum(clock.values()), 1)
            self.cells[name] = Cell(cell.result, part, cell.said)

    def export(self) -> None:
        """Export the last model; transformers alone must load it and answer alike."""
        exported = self.out / "exported"
        said = self.command("export", self.run, "--out", exported, "--compare", 2, "--json")
        summary = json.loads(said)
        products.require(summary["compared"] >= 2, f"{summary['compared']} answers compared")
        products.model(exported)

    def predict(self) -> None:
        """Ask the exported model about a pair; exit code 1 says that no answer could be read."""
        images = sorted(self.cache.rglob("test/images/*_disaster.png"))[:2][::-1]
        found = self.out / "found.geojson"
        words = ["predict", *images, "--task", products.TASKS[1], "--out", found]
        model = ["--model", str(self.out / "exported"), *self.settings()[2:]]
        self.command(*words, *model, allowed=(0, 1))
        products.predicted(found)

    def lora(self) -> None:
        """Train adapters for a step; the merged model must have other weights of the decoder."""
        output = self.out / "lora"
        words = ["run", "--tasks", products.TASKS[0], "--output", str(output)]
        sets = (_stages([SFT]), "lora.r=4", "lora.alpha=64", "eval.limit=1")
        self.command(*words, *self.settings(*sets))
        products.sft(output / "stages" / "0-sft", before=self.model)
        products.adapted(output / "stages" / "0-sft" / "model", before=self.model)

    def all(self) -> None:
        """Try every stage, as far as the ones before it allow."""
        with self.stage("loads"):
            frames.forward(self.model)
        with self.stage("frame"):
            frames.boxes_survive(self.model, sets=self.demanded.set)
        with self.stage("plan"):
            self.plan()
        if self.cells["plan"].result != "pass":
            refusal = self.cells["plan"]
            behind = expected.BEHIND_PLAN if refusal.result == "refused" else ()
            self.cells |= {each: Cell("refused", 0.0, refusal.said) for each in behind[1:]}
            return
        self.train()
        if self.cells.get("evaluation", Cell("not reached")).result == "pass":
            with self.stage("export"):
                self.export()
            if self.cells["export"].result == "pass":
                with self.stage("predict"):
                    self.predict()
        with self.stage("lora"):
            self.lora()


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process and of those that it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _stages(stages: list[str]) -> str:
    return f"stages=[{','.join(stages)}]"


def main(name: str, out: Path) -> int:
    """Try all stages of a checkpoint; returns 0 unless the program itself fails."""
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    family = Family(name, folder, demanded=expected.read()[name])
    try:
        family.all()
    finally:
        expected.write(folder / "cells.json", family.cells)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]).absolute()))
