"""Group-relative policy optimisation on what the probe kept, by TRL's `GRPOTrainer`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Sized
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from accelerate.utils import gather_object
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import GRPOConfig

from geovlm.config import health
from geovlm.engine import rewards
from geovlm.engine.generation.generate import image_tokens
from geovlm.engine.models import load, structure
from geovlm.engine.models.load import Loaded
from geovlm.engine.progress import ProgressCallback
from geovlm.engine.rows import tokens
from geovlm.engine.rows.rows import Row, dataset
from geovlm.engine.speedups import trial
from geovlm.engine.speedups.grpo_trainer import GroupTrainer
from geovlm.engine.stage import Stage
from geovlm.engine.training import fitting, probe, vllm
from geovlm.engine.training.callbacks import HealthCallback, LogCallback, StopCallback
from geovlm.engine.training.checkpoints import CheckpointCallback
from geovlm.run.files import JsonLines

_FREQUENT = 4
"""Number of rows with one correct answer from which they are spread by themselves."""

UNPADDED: Mapping[str, Any] = {"processor_kwargs": {"padding": False}, "return_tensors": None}
"""With them TRL gets the tokens of each prompt alone. Some processors pad by default, Gemma 4's for
one, and TRL takes every token that it gets for a part of the prompt."""


def arguments(
    stage: Stage,
    *,
    max_steps: int,
    on_cpu: bool,
    reward_weights: list[float] | None = None,
    suppress: list[int] | None = None,
    stops: Sequence[int] = (),
) -> GRPOConfig:
    """Return the trainer's arguments: the engine's, under those of the configuration.

    Raises:
        ValueError: checkpoints would fall between a generation and its last step.
    """
    own = dict(stage.settings.trainer)
    save_steps = own.get("save_steps", max(1, max_steps // 4))
    chosen = vllm.arguments(stage.settings, on_cpu=on_cpu, suppress=suppress or [], stops=stops)
    merged: dict[str, Any] = {
        **stage.trl_arguments(on_cpu=on_cpu),
        "max_steps": max_steps,
        "logging_steps": 1,
        "save_steps": save_steps,
        # one from before the window in which a health rule is broken has to be left
        "save_total_limit": 2 + int(health.WINDOW // save_steps if save_steps >= 1 else 0),
        "shuffle_dataset": False,  # the rows are in the order of the curriculum
        "max_completion_length": stage.max_new_tokens(stage.tasks),
        "reward_weights": reward_weights,
        "bf16": not on_cpu,
        "disable_dropout": True,  # of adapters: ratios and the KL term would carry its noise
        **chosen,
        **own,
        "chat_template_kwargs": dict(UNPADDED),
        "generation_kwargs": {
            **chosen["generation_kwargs"],
            **(own.get("generation_kwargs") or {}),
        },
    }
    args = GRPOConfig(**stage.spread(merged))
    every = generation_steps(args)
    if 0 < args.save_steps < 1:  # a share of all steps, as transformers takes it
        args.save_steps = math.ceil(args.save_steps * max_steps)
    if "save_steps" not in own:
        args.save_steps = every * math.ceil(args.save_steps / every)
    elif args.save_steps % every:
        raise ValueError(
            f"save_steps {args.save_steps:g} would save while generated completions wait to be "
            f"trained on; use a multiple of {every}"
        )
    return args


def train(stage: Stage, *, start: str, resume: bool) -> int:
    """Train from the weights at `start` and write `model/`; return the number of steps.

    `start` is also the reference of the KL term, after a resume too.

    Raises:
        StoppedError: the run is to stop, and a checkpoint is written.
    """
    begun = fitting.begin(stage, start=start, resume=resume)
    loaded = begun.loaded
    on_cpu = load.device(stage.config) == "cpu"
    rows, n_steps = _curriculum(stage, profile=loaded.profile, on_cpu=on_cpu)
    base = vllm.pinned(start, stage.config)
    if stage.settings.generation == "vllm-colocate":
        base = vllm.served(
            start,
            stage.config,
            processor=loaded.processor,
            profile=loaded.profile,
            folder=stage.folder / "served",
        )
    loaded.model.config._name_or_path = base  # TRL loads the reference model and vLLM from here
    cols = rewards.columns(stage.tasks, registry=stage.registry, active=stage.config.rewards)
    completions = JsonLines(stage.folder / "completions.jsonl")
    log = JsonLines(stage.folder / "log.jsonl")

    def write(records: list[dict[str, Any]]) -> None:
        if stage.config.log_completions:
            of_all_ranks = gather_object(records)
            if stage.is_main:
                completions.append(of_all_ranks)

    args = arguments(
        stage,
        max_steps=n_steps,
        on_cpu=on_cpu,
        reward_weights=[column.weight for column in cols],
        suppress=image_tokens(loaded.processor),
        stops=loaded.chat.stops,
    )
    keep, args.save_total_limit = args.save_total_limit, None  # `CheckpointCallback` deletes
    stop = StopCallback(stage.stop, every=generation_steps(args))
    built = trainer(
        stage,
        loaded,
        reward_funcs=rewards.trl_functions(
            cols,
            rows=rows,
            decode=partial(tokens.texts, loaded.processor),
            profile=loaded.profile,
            options=stage.config.reward_options,
            log=rewards.CompletionLog(cols, write=write),
            watch=stage.watch,
        ),
        rows=dataset(
            rows,
            cache=stage.cache,
            tokens=tokens.control_tokens(loaded.processor),
        ),
        args=args,
        adapter=begun.adapter,
        callbacks=[
            LogCallback(log, completions=completions),
            HealthCallback(
                stage.config.health,
                rewards={task.name: task.rewards for task in stage.tasks},
                log=log,
                findings=JsonLines(stage.folder / "health.jsonl"),
                checkpoints=stage.folder / "checkpoints",
                start=start,
            ),
            CheckpointCallback(keep=keep, resumed=begun.checkpoint),
            stop,
            ProgressCallback(stage.meter, log=log, weights=rewards.weights(cols)),
            *stage.registry.callbacks(stage.info()),
        ],
    )
    return fitting.finish(built, stage, begun, start=start, stop=stop)


def trainer(
    stage: Stage,
    loaded: Loaded,
    *,
    reward_funcs: list[Any],
    rows: Dataset,
    args: GRPOConfig,
    adapter: LoraConfig | None,
    callbacks: list[TrainerCallback],
) -> GroupTrainer:
    """Return the trainer of this stage, its reference model included.

    `loaded.model.config._name_or_path` names the weights that vLLM and TRL load.
    """
    kind: type[GroupTrainer] = GroupTrainer
    checked: AbstractContextManager[None] = nullcontext()
    if args.use_vllm:
        from geovlm.engine.training import trl_vllm, vllm_trainer

        kind = vllm_trainer.VllmTrainer
        checked = trl_vllm.installed(
            trl_vllm.Options(
                weights=loaded.model.config._name_or_path,
                dtype=loaded.model.dtype,
                on_cpu=args.use_cpu,
                timeout_s=stage.settings.vllm.timeout_s,
            )
        )
    given: dict[str, Any] = {
        "share_prompt": stage.settings.share_prompt,
        "merge_adapters": stage.settings.merge_adapters,
        "rows_per_generation": stage.settings.batch_size,
        "model": loaded.model,
        "reward_funcs": reward_funcs,
        "args": args,
        "train_dataset": rows,
        "processing_class": loaded.processor,
        "peft_config": adapter,
        "callbacks": callbacks,
    }
    with checked:
        built = kind(**given)
    if built.ref_model is not None:
        reference = built.accelerator.unwrap_model(built.ref_model)
        tower = reference.get_submodule(structure.tower(reference, loaded.profile))
        trial.repeat(loaded.speedups, reference, tower=tower)
    return built


def generation_steps(args: GRPOConfig) -> int:
    """Return the number of optimiser steps after which all completions are trained on.

    A checkpoint in between would lose the rest.
    """
    batches = (args.steps_per_generation or 1) * args.num_iterations
    return math.lcm(batches, args.gradient_accumulation_steps) // args.gradient_accumulation_steps


def _prompts_per_step(stage: Stage, *, on_cpu: bool) -> float:
    """Return the number of distinct prompts of one optimiser step."""
    args = arguments(stage, max_steps=1, on_cpu=on_cpu)
    per_generation = (args.generation_batch_size or 0) / (args.num_generations or 1)
    steps_per_generation = (args.steps_per_generation or 1) * args.num_iterations
    return per_generation * args.gradient_accumulation_steps / steps_per_generation


def plan(
    stage: Stage, parts: Mapping[str, Sized], *, on_cpu: bool
) -> tuple[list[tuple[str, int]], int]:
    """Return the (task, row number) pairs of all steps, and the number of steps."""
    per_step = _prompts_per_step(stage, on_cpu=on_cpu)
    n_steps = stage.settings.n_steps(rows=sum(map(len, parts.values())), per_step=per_step)
    return stage.plan(parts, n=math.ceil(n_steps * per_step)), n_steps


def _curriculum(stage: Stage, *, profile: Any, on_cpu: bool) -> tuple[list[Row], int]:
    """Return the rows of all steps and the number of steps.

    The rows are those that the probe kept, easy to hard in each pass; all rows without a probe.
    """
    difficulty = probe.difficulty(stage)
    parts: dict[str, Sequence[Row]] = {}
    for task, found in stage.train_rows(profile).items():
        rows = found if difficulty is None else [row for row in found if row.key in difficulty]
        if rows:
            parts[task] = rows
    kept = sum(map(len, parts.values()))
    picks, n_steps = plan(stage, parts, on_cpu=on_cpu)
    ordered = [parts[name][i] for name, i in picks]
    if difficulty is not None:
        # whole passes stay whole
        passes = [ordered[i : i + kept] for i in range(0, len(ordered), kept)]
        ordered = [row for one in passes for row in easy_to_hard(one, difficulty)]
    return ordered, n_steps


def easy_to_hard(rows: Sequence[Row], reward: Mapping[str, float]) -> list[Row]:
    """Order rows so that every task goes from its easiest to its hardest at the same pace.

    Every part of the result has the tasks in about the shares of the whole. In one order over all,
    easy tasks would come first, and a step for one task would undo what another task has learned.
    Frequent correct answers of a task are spread out the same way. Otherwise the first steps would
    contain only questions whose answer the model gives by default, and it would learn to repeat
    that answer. `reward` holds the mean reward of each row key in the probe: the higher the easier.
    """
    frequency = Counter((row.task, row.answer) for row in rows)
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: -reward[row.key]):
        own = row.task, row.answer
        rare = frequency[own] < _FREQUENT
        groups.setdefault((row.task, "") if rare else own, []).append(row)
    placed = [((i + 0.5) / len(own), row) for own in groups.values() for i, row in enumerate(own)]
    return [row for _, row in sorted(placed, key=lambda pair: pair[0])]
