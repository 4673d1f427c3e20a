"""Does the work of one stage and turns its errors into exit statuses."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors import SafetensorError

from geovlm.api import Split
from geovlm.config.model import source
from geovlm.config.schema import RunConfig
from geovlm.data.prompts import Prompt, visual_tokens
from geovlm.engine import failures
from geovlm.engine.evaluation import evaluate
from geovlm.engine.evaluation.local import Local
from geovlm.engine.models import load
from geovlm.engine.programs.main import quiet_libraries
from geovlm.engine.progress import memory
from geovlm.engine.rows import precheck
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rendering import Chat
from geovlm.engine.rows.rows import Selected
from geovlm.engine.rows.tokens import control_tokens
from geovlm.engine.stage import Stage, numbers
from geovlm.engine.stopping import RewardWatch, Stop, end_with_launcher
from geovlm.engine.training import (
    arguments,
    checkpoints,
    groups,
    grpo,
    probe,
    reading,
    sft,
    sharded,
    vllm,
)
from geovlm.engine.writers import opening
from geovlm.errors import ConfigError, GeoVLMError, RunFailedError, StoppedError
from geovlm.plugins import registry
from geovlm.run import files
from geovlm.run.folder import RunDir
from geovlm.run.status import meter
from geovlm.run.vllm import stage as vllm_stage

_LISTENING_S = 5.0
"""A rank that lost another one waits, so that the launcher sees the lost one's end first."""


def main(run: RunDir, *, stage: str, resume: bool) -> int:
    """Do the work of a stage, a number or `eval`; returns the status of `geovlm.engine.worker`."""
    stop = Stop()
    stop.listen()
    end_with_launcher()
    quiet_libraries()
    try:
        work(run, stage=stage, resume=resume, stop=stop)
    except StoppedError as stopped:
        if failures.place().local_rank == 0:
            _report(f"stopped: {stopped}")
    except GeoVLMError as error:
        _report(f"error: {failures.who()}{error}")
        return error.exit_code
    except (OSError, RuntimeError, SafetensorError) as error:
        message = failures.explain(error, run, stage=stage)
        if message is None:
            raise
        _report(message)
        if not message.startswith("error: "):
            time.sleep(_LISTENING_S)
        elif stage != "eval" and failures.place().rank == 0:
            checkpoints.remove_unfinished(run.stage(int(stage)) / "checkpoints")
        return RunFailedError.exit_code
    finally:
        stop.close()
    return 0


def _report(line: str) -> None:
    """Write a line at once, so that those of two ranks do not mix."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def work(run: RunDir, *, stage: str, resume: bool, stop: Stop | None = None) -> None:
    """Train, probe or evaluate as the stage configures, and write `done.json` last.

    Raises:
        StoppedError: `stop` was requested, and the stage can be resumed.
        RunFailedError: the number of processes is not that of the run.
        GeoVLMError: the stage finds something impossible.
    """
    started = time.monotonic()
    resolved = run.read_resolved()
    config = RunConfig.model_validate(resolved["config"])
    state = PartialState(
        cpu=load.device(config) == "cpu", timeout=timedelta(seconds=config.timeout_s)
    )
    index = -1 if stage == "eval" else int(stage)
    expected = resolved["world_sizes"][stage]
    if state.num_processes != expected:
        raise RunFailedError(
            f"stage {stage} runs on {state.num_processes} processes, {expected} were asked for",
            hint="the launcher did not start all ranks; see accelerate.yaml in the stage's folder, "
            "or start the run by geovlm run",
        )
    if state.device.type == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    current = Stage(
        run=run,
        config=config,
        registry=registry.load(),
        index=index,
        task_names=tuple(resolved["task_names"]),
        data_roots={name: Path(root) for name, root in resolved["data_roots"].items()},
        cache=ImageCache(),
        rank=state.process_index,
        world_size=state.num_processes,
        started_with=_started_with(resolved)[stage],
        stop=stop or Stop(),
        meter=meter.Meter(
            run.stage(index) / meter.FILE if state.is_main_process else None, memory=memory
        ),
        watch=RewardWatch(limit_s=config.timeout_s, rank=failures.who()),
    )
    with contextlib.closing(current.meter):
        if index == -1:
            check(current)
            with opening.writer(source(config.model), config, registry=current.registry) as writer:
                evaluate.evaluate(current, Local(writer), name="base")
            return
        checked = run.stage(0) / "checked.json"
        if index == 0 or not checked.is_file() or files.read_json(checked) != _choice(config):
            check(current)
            if current.is_main:
                files.write_json(checked, _choice(config))
        else:
            check_arguments(current)
        steps = _stage(current, resume=resume)
        if current.is_main:
            files.write_json(
                current.folder / "done.json",
                {
                    "kind": config.stages[index].kind,
                    "steps": steps,
                    "seconds": round(time.monotonic() - started, 1),
                    "world_size": state.num_processes,
                    "images_opened": current.cache.opened,
                },
            )
    state.wait_for_everyone()


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
    read = reading.rows_read(
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


def _stages(stage: Stage) -> Iterator[Stage]:
    """Yield this stage and all later ones, each with the processes that it will have."""
    started_with = _started_with(stage.run.read_resolved())
    for index in range(max(0, stage.index), len(stage.config.stages)):
        yield dataclasses.replace(
            stage,
            index=index,
            world_size=stage.config.world_size(index),
            started_with=started_with[str(index)],
        )


def _choice(config: RunConfig) -> dict[str, Any]:
    """Return the settings that choose the rows which `check` measures, and others of stages."""
    splits = {task: config.eval_split(task) for task in config.tasks}
    return {
        "stages": config.model_dump(mode="json")["stages"],
        "eval": [config.eval.limit, config.eval.blind, splits],
    }


def _started_with(resolved: Mapping[str, Any]) -> dict[str, int]:
    """Return the processes of every stage when the run was started."""
    found: dict[str, int] = resolved.get("started_with", resolved["world_sizes"])
    return found


def _stage(stage: Stage, *, resume: bool) -> int:
    """Train or probe, with the evaluations that belong to it; returns the number of steps."""
    config, index = stage.config, stage.index
    start = vllm_stage.start_weights(stage.run, config=config, index=index)
    kind = config.stages[index].kind
    if kind == "probe":
        return probe.run(stage, start=start)
    trains_first = all(each.kind == "probe" for each in config.stages[:index])
    if trains_first and config.eval.base:
        with opening.writer(start, config, registry=stage.registry) as writer:
            evaluate.evaluate(stage, Local(writer), name="base")
        del writer
        load.free()
    finished = stage.folder / "model"
    steps = 0
    if not finished.is_dir():
        train = sft.train if kind == "sft" else grpo.train
        steps = train(stage, start=start, resume=resume)
        if sharded.is_sharded(stage):
            sharded.release()
        else:
            load.free()
    name = config.evaluation_name(index)
    if kind == "grpo" and stage.is_main:
        stage.run.write_across_tasks("signal", name, groups.measure(stage.folder))
    with opening.writer(str(finished), config, registry=stage.registry) as writer:
        evaluate.evaluate(stage, Local(writer), name=name)
    return steps
