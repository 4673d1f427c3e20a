"""The parts of a run in their order (trainings, probes, evaluations), and the time that they need.

The time left is estimated from what the run itself has measured: seconds per step and per answer,
and the seconds of a stage outside its parts. What is not measured yet is a guess from the rest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig

START_S = 15.0
"""Seconds of a stage outside its parts (imports, model, files) until one has been measured."""
_SFT_ROW = 1.0
"""Guess: a training row takes so many times the time of an answer. Measured with the built-in model
on two cores: 0.06 s each."""
_GRPO_TRAINING = 1.0
"""Guess: a GRPO row takes the time of an answer and so many times that of an SFT row."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a stage, with a count of what it does."""

    stage: int
    """Position of the stage; -1 for an evaluation without training."""
    kind: str
    """`sft`, `probe`, `grpo` or `eval`."""
    name: str
    """`train`, `sample`, or `evaluate` with the name of the model, such as `evaluate sft`."""
    unit: str
    """The thing counted: `step` or `answer`."""
    total: int
    done: int = 0
    seconds: float = 0.0
    """Wall time of all attempts."""
    fresh: int = 0
    """Units that took these seconds; a resumed run takes over the others."""
    rows: float = 1.0
    """Rows per unit on each process: the batch of a step, a share of an answer."""
    over: bool = False
    exact: bool = True
    """True if `total` is known, not only planned."""
    detail: str = ""
    """Description of the units, in words."""

    def table(self) -> dict[str, Any]:
        """Return the part as JSON."""
        made = dataclasses.asdict(self)
        return {**made, "seconds": round(self.seconds, 1), "rows": round(self.rows, 4)}

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> Part:
        """Return the part of a JSON object of `table`; keys of later versions are left out."""
        return cls(**{field.name: table[field.name] for field in dataclasses.fields(cls)})


class StageTime(NamedTuple):
    """Wall time of a stage."""

    seconds: float
    """All attempts together."""
    over: bool


class Estimate(NamedTuple):
    """The time that a run still needs."""

    seconds: float | None
    """`None` as long as nothing is measured."""
    guess: bool
    """True if it rests on more than the run has measured."""


def planned(config: RunConfig, samples: Mapping[str, Mapping[str, int]]) -> list[Part]:
    """Return the parts of a run that has not begun; `samples` is task -> split -> number."""
    if not config.stages:
        return [_evaluation(config, samples, index=-1, name="base", last=True)]
    parts = []
    kinds = [stage.kind for stage in config.stages]
    for index, kind in enumerate(kinds):
        first = kind != "probe" and all(each == "probe" for each in kinds[:index])
        if first and config.eval.base:
            parts.append(_evaluation(config, samples, index=index, name="base", last=False))
        parts.append(_work(config, samples, index=index))
        if kind != "probe":
            last = all(each == "probe" for each in kinds[index + 1 :])
            name = config.evaluation_name(index)
            parts.append(_evaluation(config, samples, index=index, name=name, last=last))
    return parts


def _work(config: RunConfig, samples: Mapping[str, Mapping[str, int]], *, index: int) -> Part:
    """Return the training or the probe of a stage."""
    stage = config.stages[index]
    world = config.world_size(index)
    chosen = config.tasks_of(index, list(samples))
    counts = [samples[task].get("train", 0) for task in chosen]
    rows = sum(min(count, stage.limit or count) for count in counts)
    if stage.kind == "probe":
        total = min(stage.prompts, rows) * stage.generations
        return Part(
            stage=index, kind="probe", name="sample", unit="answer", total=total, rows=1 / world
        )
    trainer = stage.trainer_arguments()
    share = int(trainer["per_device_train_batch_size"])
    share *= int(trainer["gradient_accumulation_steps"])
    per_step = float(share * world)
    probes = [each for each in config.stages[:index] if each.kind == "probe"]
    if stage.kind == "grpo":
        per_step /= int(trainer.get("num_generations", 8))  # the default of TRL
        rows = min(rows, probes[-1].prompts) if probes else rows
    return Part(
        stage=index,
        kind=stage.kind,
        name="train",
        unit="step",
        total=stage.n_steps(rows=rows, per_step=per_step),
        rows=share,
        exact=stage.steps is not None,
    )


def _evaluation(
    config: RunConfig,
    samples: Mapping[str, Mapping[str, int]],
    *,
    index: int,
    name: str,
    last: bool,
) -> Part:
    """Return one evaluation; probes of image pairs are counted once it begins."""
    settings = config.eval
    total = 0
    for task, splits in samples.items():
        there = splits.get(config.eval_split(task), 0)
        own = min(there, settings.limit or there)
        total += (1 + settings.samples) * own  # greedy and sampled
        if settings.blind == "all" or (settings.blind == "last" and last):
            total += 2 * min(own, settings.control_limit or own)  # without and with other images
    return Part(
        stage=index,
        kind="eval",
        name=f"evaluate {name}",
        unit="answer",
        total=total,
        rows=1 / config.world_size(index),
        exact=not (settings.probes and last),
    )


def remaining(parts: Sequence[Part], stages: Mapping[int, StageTime]) -> Estimate:
    """Return the time that the parts and stages still need.

    `stages` is position -> time of the stages that have begun.
    """
    todo = [part for part in parts if not part.over]
    measured = {
        part.kind: part.seconds / (part.fresh * part.rows) for part in parts if part.fresh
    }  # the latest of a kind
    if not todo:
        return Estimate(_outside(parts, stages), False)
    if not measured:
        return Estimate(None, True)
    per_row = _per_row(measured)
    work = sum((part.total - part.done) * part.rows * per_row[part.kind] for part in todo)
    outside = _outside(parts, stages)
    guess = any(part.kind not in measured or not part.exact for part in todo)
    return Estimate(work + outside, guess)


def _per_row(measured: Mapping[str, float]) -> dict[str, float]:
    """Return kind of part -> seconds per row, measured or guessed; something is measured."""
    found = dict(measured)
    if "eval" not in found:
        found["eval"] = (
            found["probe"]
            if "probe" in found
            else found["sft"] / _SFT_ROW
            if "sft" in found
            else found["grpo"] / (1 + _GRPO_TRAINING * _SFT_ROW)
        )
    found.setdefault("probe", found["eval"])
    found.setdefault("sft", found["eval"] * _SFT_ROW)
    found.setdefault("grpo", found["probe"] + _GRPO_TRAINING * found["sft"])
    return found


def _outside(parts: Sequence[Part], stages: Mapping[int, StageTime]) -> float:
    """Return the seconds that stages still need outside their parts."""
    spent = {
        index: max(0.0, time.seconds - sum(part.seconds for part in parts if part.stage == index))
        for index, time in stages.items()
    }
    ended = [spent[index] for index, time in stages.items() if time.over]
    usual = sum(ended) / len(ended) if ended else max([START_S, *spent.values()])
    left = 0.0
    for index in dict.fromkeys(part.stage for part in parts):
        if index not in stages:
            left += usual
        elif not stages[index].over:
            left += max(0.0, usual - spent[index])
    return left
