"""Estimates the memory of every stage of a plan, and compares it with that of the GPUs."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from geovlm.config.stages import SCHEMES
from geovlm.plan.memory import estimate, ladder
from geovlm.plan.memory.ladder import Fit, StageWork
from geovlm.plan.memory.parts import GIB, Adapter, Estimate, ModelShape, Placement, Work

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.plan.build import Plan
    from geovlm.plan.data import TaskPlan

TEMPLATE_TOKENS = 32
"""Tokens of the chat template and of the markers around images."""
UNKNOWN_TEXT_TOKENS = 256
"""Text tokens per row, assumed if the tokenizer is not on this machine."""
SMALL_SHARE = 0.1
"""Share of the decoder below which the targets of adapters are called few: attention alone has an
eighth (Qwen2.5-7B) to a quarter (Qwen3-4B) of a dense one, and a few percent of one of experts."""
SMALL = 50_000_000
"""Number of parameters up to which a run on the CPU prints no estimate."""


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Estimates of every stage and of the evaluation."""

    shape: ModelShape
    trained: int
    """Number of weights that training changes."""
    adapter: Adapter | None
    """The run's adapters; `None` without a training stage too."""
    limit: float
    """Bytes of one GPU; on the CPU, of the machine per process."""
    device: str
    estimates: Mapping[str, Estimate]
    """Name of a stage's folder, or `eval` -> estimate."""
    nearest: Fit | None
    """Nearest configuration that fits; `None` if this one does, or if none was found."""

    @property
    def fits(self) -> bool:
        """True if every stage fits."""
        return all(each.total <= self.limit for each in self.estimates.values())


def of(plan: Plan, *, shape: ModelShape, limit: float) -> MemoryPlan:
    """Return the estimates of a plan's stages; `limit` as in `MemoryPlan`."""
    config = plan.config
    adapter = adapter_of(config)
    stages = works(plan, shape=shape, limit=limit)
    estimates = {
        each.name: estimate.estimate(
            shape, each.work, each.placement, adapter=adapter, freeze_vision=each.freeze_vision
        )
        for each in stages
    }
    nearest = None
    if any(each.total > limit for each in estimates.values()):
        profile = plan.model.profile
        assert profile is not None  # its shape has been read
        nearest = ladder.nearest(
            shape,
            stages,
            adapter=adapter,
            pixels=max(task.most_pixels for task in plan.tasks),
            min_pixels=config.min_pixels or 0,
            cell_pixels=profile.size_factor**2,
        )
    training = [each for each in stages if each.trains]
    frozen = all(each.freeze_vision for each in training)
    trained = estimate.trained_parameters(shape, adapter, freeze_vision=frozen) if training else 0
    return MemoryPlan(
        shape=shape,
        trained=trained,
        adapter=adapter if training else None,
        limit=limit,
        device=config.device,
        estimates=estimates,
        nearest=nearest,
    )


def adapter_of(config: RunConfig) -> Adapter | None:
    """Return the run's adapters, as far as they matter for memory."""
    if config.lora is None:
        return None
    return Adapter(
        rank=config.lora.r,
        dropout=config.lora.dropout != 0,
        vision=config.lora.vision,
        quantized=config.lora.quantize != "none",
    )


def works(plan: Plan, *, shape: ModelShape, limit: float) -> list[StageWork]:
    """Return the work of every stage, and that of the evaluation last."""
    config = plan.config
    found = [_stage(plan, index, shape=shape, limit=limit) for index in range(len(config.stages))]
    lengths = _lengths(plan.tasks, shape=shape)
    work = Work(kind="eval", batch=0, generated=config.eval.batch_size, **lengths)
    placement = _placement(config, -1, limit=limit)
    return [*found, StageWork(name="eval", index=-1, work=work, placement=placement)]


def _stage(plan: Plan, index: int, *, shape: ModelShape, limit: float) -> StageWork:
    config = plan.config
    stage = config.stages[index]
    name = config.stage_folders()[index]
    tasks = [task for task in plan.tasks if task.name in plan.stages[index].tasks]
    lengths = _lengths(tasks, shape=shape)
    placement = _placement(config, index, limit=limit)
    if stage.kind == "probe":
        work = Work(kind="probe", batch=0, generated=stage.batch_size, **lengths)
        return StageWork(name=name, index=index, work=work, placement=placement)
    trainer = stage.trainer_arguments()
    gathers = bool(trainer["ds3_gather_for_generation"])
    placement = replace(placement, gather_for_generation=gathers)
    batch = int(trainer["per_device_train_batch_size"])
    accumulation = int(trainer["gradient_accumulation_steps"])
    generated, vllm_share = 0, 0.0
    if stage.kind == "grpo":
        lengths["answer_tokens"] = trainer.get("max_completion_length") or lengths["answer_tokens"]
        whole = trainer.get("generation_batch_size")
        steps = trainer.get("steps_per_generation") or accumulation
        if stage.generation == "transformers":
            generated = int(whole) // placement.processes if whole else batch * int(steps)
        elif stage.generation == "vllm-colocate":
            vllm_share = stage.vllm.memory or trainer["vllm_gpu_memory_utilization"]
    else:
        lengths["answer_tokens"] = _text(tasks)
    work = Work(
        kind=stage.kind,
        batch=batch,
        generated=generated,
        accumulates=accumulation > 1,
        checkpointing=bool(trainer["gradient_checkpointing"]),
        optimizer=str(trainer["optim"]),
        reference=stage.kind == "grpo" and float(trainer["beta"]) != 0,
        whole_logits=stage.kind == "sft" and float(trainer["label_smoothing_factor"]) > 0,
        vllm_share=vllm_share,
        **lengths,
    )
    return StageWork(
        name=name,
        index=index,
        work=work,
        placement=placement,
        accumulation=accumulation,
        steps_per_generation=trainer.get("steps_per_generation"),
        capped=stage.processes is not None,
        freeze_vision=stage.freeze_vision,
    )


def _placement(config: RunConfig, index: int, *, limit: float) -> Placement:
    scheme = config.scheme(index)
    return Placement(
        device="cpu" if config.device == "cpu" else "cuda",
        processes=config.world_size(index),
        parallel=scheme if scheme in SCHEMES else "ddp",
        memory=limit,
    )


def _lengths(tasks: Iterable[TaskPlan], *, shape: ModelShape) -> dict[str, Any]:
    """Return cells and tokens of the longest row, and the longest completion."""
    tasks = list(tasks)
    visual = max(task.most_visual_tokens or 0 for task in tasks)
    return {
        "cells": math.ceil(visual / shape.tokens_per_cell),
        "prompt_tokens": visual + _text(tasks),
        "answer_tokens": max(task.answer_tokens for task in tasks),
    }


def _text(tasks: Iterable[TaskPlan]) -> int:
    """Return the largest number of text tokens of a row, with correct answer and template."""
    return TEMPLATE_TOKENS + max(task.most_text_tokens or UNKNOWN_TEXT_TOKENS for task in tasks)


def present_gpu_bytes() -> float | None:
    """Return the memory of the smallest GPU of this machine, or `None` without one."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    sizes = [float(line) for line in listed.stdout.split() if line.strip().isdigit()]
    return min(sizes) * 2**20 if sizes else None


def limit_of(config: RunConfig, *, gpu_gib: float | None) -> float:
    """Return the bytes that one process may fill: by `gpu_gib`, else by the GPUs here, else 80 GiB.

    On the CPU, its share of the machine.
    """
    if config.device == "cpu":
        import psutil

        return float(psutil.virtual_memory().total) / config.processes
    if gpu_gib is not None:
        return gpu_gib * GIB
    return present_gpu_bytes() or 80.0 * GIB


def lines(found: MemoryPlan) -> list[str]:
    """Return the estimate, one stage per line, and the options with which it fits."""
    where = "process" if found.device == "cpu" else "GPU"
    shape = found.shape
    share = found.trained / shape.parameters
    made = [
        f"params  {shape.parameters:,}, {shape.vision_parameters:,} of them in the vision tower; "
        f"{found.trained:,} are trained ({share:.1%})"
    ]
    if found.adapter is not None:
        made.append(_reach(shape))
        if found.adapter.quantized and shape.experts:
            made.append(
                f"experts {shape.experts:,} weights of fused experts stay in "
                f"{'32' if found.device == 'cpu' else '16'} bits: peft cannot adapt them in 4"
            )
    for name, each in found.estimates.items():
        parts = ", ".join(f"{part} {_gib(value)}" for part, value in each.parts().items())
        made.append(
            f"memory  {name}: about {_gib(each.total)} of {_gib(found.limit)} GiB per {where}: "
            f"{parts}"
        )
    if found.nearest is not None:
        made.append(
            f"fits    no; nearest that does, with at most {_gib(found.nearest.most)} GiB: "
            f"{' '.join(found.nearest.options)}"
        )
    elif not found.fits:
        made.append("fits    no, and nothing tried makes it fit: choose a smaller model")
    return made


def _reach(shape: ModelShape) -> str:
    """Return the share of the decoder's layers that adapters are put on."""
    share = shape.adapted / shape.text.parameters
    line = f"lora    adapters on {share:.1%} of the weights of the text decoder's layers"
    if share < SMALL_SHARE:
        line += ": few; without lora.targets they go on all its linear layers and experts"
    return line


def table(found: MemoryPlan) -> dict[str, Any]:
    """Return the estimate for programs, in bytes."""
    return {
        "parameters": found.shape.parameters,
        "vision_parameters": found.shape.vision_parameters,
        "trained": found.trained,
        "adapted": found.shape.adapted if found.adapter is not None else None,
        "limit": round(found.limit),
        "stages": {
            name: {
                "total": round(each.total),
                "parts": {part: round(value) for part, value in each.parts().items()},
            }
            for name, each in found.estimates.items()
        },
        "fits": found.fits,
        "nearest": None
        if found.nearest is None
        else {"options": list(found.nearest.options), "most": round(found.nearest.most)},
    }


def _gib(value: float) -> str:
    size = value / GIB
    return f"{size:.1f}" if size >= 0.1 else f"{size:.2g}"
