"""All stages of one tiny checkpoint, by the commands of `geovlm`, in this process.

`logged` writes OUT/NAME/cells.json; the rest of the folder is what the commands have left. The
result of a stage is `pass` only after its product was checked, and `refused` only if a command
ended with the exit code of an impossible request before any step.
"""

from __future__ import annotations

import json
import os
import shutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from geovlm.errors import GeoVLMError
from tests import inside
from tests.families import expected, frames, perfect, products
from tests.families.expected import Cell, Expected
from tools.families import checkpoints

SAMPLES = 2
"""Samples per task of an evaluation."""
_TRAINER = "gradient_checkpointing=false,learning_rate=1e-3"


def sft(rows: int) -> str:
    """Return an SFT stage of one step."""
    trainer = f"per_device_train_batch_size={rows},{_TRAINER}"
    return f'{{kind="sft",steps=1,limit=4,trainer={{{trainer}}}}}'


SFT = sft(2)
PROBE = '{kind="probe",prompts=4,limit=4,generations=2,batch_size=4,on_fail="warn",keep_flat=1.0}'
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


def grpo(completions: int) -> str:
    """Return a GRPO stage of one step, in groups of two."""
    return (
        f'{{kind="grpo",steps=1,batch_size={completions // 2},trainer={{'
        f"per_device_train_batch_size={completions},num_generations=2,max_completion_length=16,"
        f'optim="sgd",{_TRAINER}}}}}'
    )


class Refused(Exception):  # a result, not an error of the program
    """A command has refused its work, before any step."""


class Failed(Exception):
    """A command has failed."""


class Family:
    """One checkpoint, the folder of its results, and what is demanded of it."""

    def __init__(self, name: str, out: Path, *, demanded: Expected, completions: int = 4) -> None:
        self.name, self.out, self.demanded = name, out, demanded
        self.model = checkpoints.checkpoint(name)
        self.run = out / "run"
        self.plugins, self.cache = out.parent / "plugins", out.parent / "cache"
        self.cells: dict[str, Cell] = {}
        self.completions = completions
        """Of the GRPO step."""
        self.stages = [SFT, PROBE, grpo(completions)]
        """Of the run; the plan may leave GRPO out."""

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
        expected.write(self.out / "cells.json", self.cells)

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
        sets = self.sets(*COMMON, *more)
        return ["--model", str(self.model), *(word for each in sets for word in ("--set", each))]

    def sets(self, *more: str) -> list[str]:
        """Return what the family needs set, and more."""
        small = SMALL if frames.has_limits(self.model) else ()
        return [*small, *self.demanded.set, *more]

    def perfect(self, *, sizes: int = frames.SIZES, others: int = frames.OTHERS) -> None:
        """Pass correct answers through tokenizer, decoding, parser and frame.

        `sizes` and `others` are numbers of random sizes, see `frames.boxes_survive`.
        """
        frames.boxes_survive(self.model, sets=self.demanded.set, sizes=sizes, others=others)
        output = self.out / "perfect"
        words = ["eval", "--tasks", ",".join(products.SOURCES), "--output", output]
        sets = ("sample.records=4", "eval.limit=4", "eval.resamples=2", "eval.blind=off")
        model = ["--model", self.model, *(w for s in self.sets(*sets) for w in ("--set", s))]
        _, profile = frames.reader(self.model, sets=tuple(self.sets()))
        with perfect.answering(profile) as counted:
            self.command(*words, *model)
        products.require(len(counted) > 0, "nothing was asked")
        wrong = [each for each in counted if each.said != each.made]
        products.require(not wrong, f"tokens of images: {wrong[:1]}")
        products.perfect(output)

    def plan(self) -> None:
        """Plan all stages; without GRPO if that is what is refused."""
        words = ["plan", "--tasks", ",".join(products.TASKS)]
        try:
            self.command(*words, *self.settings(_stages(self.stages)))
        except Refused as refusal:
            self.stages = [SFT, PROBE]
            self.command(*words, *self.settings(_stages(self.stages)))
            self.cells["grpo"] = Cell("refused", 0.0, str(refusal))

    def train(self, stages: list[str]) -> None:
        """Run stages, and note the result of each, and of the evaluations, by its product."""
        began = _cpu_seconds()
        words = ["run", "--tasks", ",".join(products.TASKS), "--output", str(self.run)]
        failure: Exception | None = None
        try:
            self.command(*words, *self.settings(_stages(stages)))
        except Refused as refusal:
            failure = Failed(f"refused after its plan has passed: {refusal}")
        except Exception as error:
            failure = error
        folder, prefill = self.run / "stages", self.demanded.prefill
        names = [stage.partition('kind="')[2].partition('"')[0] for stage in stages]
        folders = {name: folder / f"{number}-{name}" for number, name in enumerate(names)}
        checks: dict[str, Callable[[], None]] = {
            "sft": lambda: products.sft(folders["sft"], before=self.model),
            "probe": lambda: products.probe(folders["probe"]),
            "grpo": lambda: products.grpo(
                folders["grpo"],
                before=folders["sft"] / "model",
                completions=self.completions,
                prefill=prefill,
            ),
        }
        for name in names:
            with self.stage(name):
                if not (folders[name] / "done.json").is_file():
                    raise failure or Failed(f"{name} has ended without being done")
                checks[name]()
            if self.cells[name].result != "pass":
                break
        else:
            with self.stage("evaluation"):
                if failure is not None:
                    raise failure
                scored = tuple(name for name in names if name != "probe")
                products.evaluation(self.run, stages=scored, samples=SAMPLES, prefill=prefill)
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
        sets = (_stages([sft(1)]), "lora.r=4", "lora.alpha=64", "eval.limit=1")
        self.command(*words, *self.settings(*sets))
        products.sft(output / "stages" / "0-sft", before=self.model)
        products.adapted(output / "stages" / "0-sft" / "model", before=self.model)

    def all(self) -> None:
        """Try every stage, as far as the ones before it allow."""
        with self.stage("loads"):
            frames.forward(self.model)
        with self.stage("perfect"):
            self.perfect()
        with self.stage("plan"):
            self.plan()
        if self.cells["plan"].result != "pass":
            refusal = self.cells["plan"]
            behind = expected.BEHIND_PLAN if refusal.result == "refused" else ()
            self.cells |= {each: Cell("refused", 0.0, refusal.said) for each in behind[1:]}
            expected.write(self.out / "cells.json", self.cells)
            return
        self.train(self.stages)
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


def logged(name: str, out: Path) -> None:
    """Try all stages of a checkpoint in a process of its own; its output goes to OUT/NAME.log."""
    with (out / f"{name}.log").open("wb", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    Family(name, folder, demanded=expected.read()[name]).all()
