"""Finds what would stop a run, before its first stage begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from geovlm.api import Split
from geovlm.config.model import source
from geovlm.config.schema import RunConfig
from geovlm.data.prompts import Prompt, visual_tokens
from geovlm.engine.evaluation import evaluate
from geovlm.engine.models import load
from geovlm.engine.rows import precheck
from geovlm.engine.rows.rendering import Chat
from geovlm.engine.rows.rows import Selected
from geovlm.engine.rows.tokens import control_tokens
from geovlm.engine.stage import Stage, numbers
from geovlm.engine.training import arguments, grpo, probe, sft, vllm
from geovlm.errors import ConfigError
from geovlm.run import files


def check_once(stage: Stage) -> None:
    """Check the run before its first stage, and again where it goes on with other settings.

    Raises:
        GeoVLMError: see `check`.
    """
    config, checked = stage.config, stage.run.stage(0) / "checked.json"
    known = files.read_json(checked) if checked.is_file() else None
    if stage.index > 0 and known == _choice(config):
        check_arguments(stage)
        return
    check(stage)
    if stage.is_main:
        files.write_json(checked, _choice(config))


def check(stage: Stage) -> None:
    """Find what would stop a later stage, or an evaluation, before the first one begins.

    Builds every stage's trainer arguments, measures every row that a stage or an evaluation reads
    and decodes images of every task.

    Raises:
        ConfigError: TRL refuses the `trainer` table of a stage, names the stage; or the chat
            template of a run that trains leaves no place for reasoning.
        DataError: a prompt does not fit into the model or an image into vLLM, or an image cannot be
            decoded.
    """
    config = stage.config
    tasks = [stage.task(name) for name in stage.task_names]
    check_arguments(stage)
    processor, profile = load.load_reader(source(config.model), config, registry=stage.registry)
    tokenizer, control = processor.tokenizer, control_tokens(processor)
    chat = Chat.of(processor)
    if config.stages:
        chat.require_place(thinks=any(task.reasoning == "think" for task in tasks))
    template_tokens = cache(chat.template_tokens)

    def count_images(prompt: Prompt) -> int:
        sizes = prompt.picture_sizes
        return template_tokens(len(sizes)) + visual_tokens(sizes, profile=profile)

    def count_tokens(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(list(texts))["input_ids"]]

    most = load.max_positions(load.load_config(config), tokenizer)
    colocated = {
        task.name
        for index, settings in enumerate(config.stages)
        if settings.kind == "grpo" and settings.generation == "vllm-colocate"
        for task in dataclasses.replace(stage, index=index).tasks
    }
    stages = list(_stages(stage))
    trained = {task.name: task for each in stages for task in each.tasks}
    read = rows_read(
        stages,
        {
            name: len(stage.rows(task, split="train", profile=profile))
            for name, task in trained.items()
        },
    )
    for task in tasks:
        splits: list[Split] = ["train"] if config.stages else []
        for split in dict.fromkeys([*splits, config.eval_split(task.name)]):
            rows = stage.rows(task, split=split, profile=profile)
            chosen: set[int] = set()
            if split == config.eval_split(task.name):
                chosen.update(numbers(len(rows), config.eval.limit, seed=config.seed))
            if split == "train":
                chosen |= read.get(task.name, set())
                if config.eval.blind != "off":
                    chosen.update(numbers(len(rows), evaluate.MAJORITY_ROWS, seed=config.seed))
            rows = dataclasses.replace(rows, samples=Selected(rows.samples, sorted(chosen)))
            precheck.audit_lengths(
                rows.prompts(),
                task=task.name,
                instruction=rows.instruction,
                tokens=control,
                count_tokens=count_tokens,
                count_images=count_images,
                limit=most,
            )
            precheck.audit_tokens(rows, processor=processor)
            precheck.audit_images(rows, cache=stage.cache)
            if split == "train" and task.name in colocated:
                vllm.refuse_large_images(rows.prompts(), task=task.name, profile=profile)


def check_arguments(stage: Stage) -> None:
    """Build the trainer's arguments of this stage and of all later ones.

    Raises:
        ConfigError: TRL refuses a `trainer` table, or a resumed run has processes that cannot share
            its batches; names the stage.
    """
    config = stage.config
    on_cpu = load.device(config) == "cpu"
    for each in _stages(stage):
        settings, index = each.settings, each.index
        if settings.kind == "probe":
            continue
        arguments.check(settings.kind, settings.trainer, path=f"stages.{index}.trainer")
        build = sft.arguments if settings.kind == "sft" else grpo.arguments
        try:
            build(each, max_steps=max(1, settings.steps or 1), on_cpu=on_cpu)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"stages.{index}.trainer: {str(error).splitlines()[0]}",
                hint=f"it takes the arguments of trl.{settings.kind.upper()}Config",
            ) from error


def rows_read(stages: Iterable[Stage], samples: Mapping[str, int]) -> dict[str, set[int]]:
    """Return task -> numbers of its training samples that a stage trains on or probes.

    Args:
        stages: stages as they will run, each with its processes.
        samples: task -> number of its training samples.
    """
    found: dict[str, set[int]] = {name: set() for name in samples}
    for stage in stages:
        settings, config = stage.settings, stage.config
        on_cpu = load.device(config) == "cpu"
        parts = {
            task.name: numbers(samples[task.name], settings.limit, seed=config.seed)
            for task in stage.tasks
        }
        if settings.kind == "sft":
            picks, _ = sft.plan(stage, parts, on_cpu=on_cpu)
        elif settings.kind == "probe":
            picks = probe.plan(stage, parts)
        elif any(each.kind == "probe" for each in config.stages[: stage.index]):
            continue  # its rows are among those of the probe
        else:
            picks, _ = grpo.plan(stage, parts, on_cpu=on_cpu)
        for name, number in picks:
            found[name].add(parts[name][number])
    return found


def _stages(stage: Stage) -> Iterator[Stage]:
    """Yield this stage and all later ones, each with the processes that it will have."""
    before = started_with(stage.run.read_resolved())
    for index in range(max(0, stage.index), len(stage.config.stages)):
        yield dataclasses.replace(
            stage,
            index=index,
            world_size=stage.config.world_size(index),
            started_with=before[str(index)],
        )


def _choice(config: RunConfig) -> dict[str, Any]:
    """Return the settings that choose the rows which `check` measures, and others of stages."""
    splits = {task: config.eval_split(task) for task in config.tasks}
    return {
        "stages": config.model_dump(mode="json")["stages"],
        "eval": [config.eval.limit, config.eval.blind, splits],
    }


def started_with(resolved: Mapping[str, Any]) -> dict[str, int]:
    """Return the processes of every stage when the run was started."""
    found: dict[str, int] = resolved.get("started_with", resolved["world_sizes"])
    return found
