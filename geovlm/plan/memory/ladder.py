"""Finds the nearest configuration that fits, by remedies in the order of their cost.

1. Per stage: gradient checkpointing.
2. Per stage: half the batch per device and twice the accumulation, repeatedly: the same rows per
   step. For an evaluation or a probe its own `batch_size`.
3. Per stage: 8-bit AdamW.
4. LoRA.
5. QLoRA.
6. Half the largest image area, up to three times.
7. Twice the GPUs, up to eight times, sharded by FSDP2, the accumulation divided accordingly.

A later remedy is used only if no choice of earlier ones is enough. A stage that fits is not
changed.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from geovlm.plan.memory import estimate
from geovlm.plan.memory.parts import Adapter, ModelShape, Placement, Work

RANK = 64
"""Rank of proposed adapters: the default of `lora.r`."""
PIXEL_HALVINGS = 3
GPU_DOUBLINGS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class StageWork:
    """A stage, with the settings that remedies change."""

    name: str
    index: int
    """Position in `config.stages`; -1 for the evaluation."""
    work: Work
    placement: Placement
    accumulation: int = 1
    steps_per_generation: int | None = None
    """As configured; `None`: the same as the accumulation."""
    capped: bool = False
    """True if the stage has a number of processes of its own."""
    freeze_vision: bool = False

    @property
    def trains(self) -> bool:
        """True if it is a training stage."""
        return self.work.kind in ("sft", "grpo")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """A configuration that fits."""

    options: tuple[str, ...]
    """Words to add to the command line, quoted for a shell."""
    most: float
    """Bytes of the fullest stage."""


def nearest(
    shape: ModelShape,
    stages: Sequence[StageWork],
    *,
    adapter: Adapter | None,
    pixels: int,
    min_pixels: int,
    cell_pixels: int,
) -> Fit | None:
    """Return the first configuration in which every stage fits, or `None`.

    `pixels` is the largest area of one image as the model sees it, `min_pixels` the configured
    smallest one (0: none), `cell_pixels` that of one cell of the profile.
    """
    on_cpu = stages[0].placement.device == "cpu"
    doublings = range(1 if on_cpu else GPU_DOUBLINGS + 1)
    for more, less, (own, options) in itertools.product(
        doublings, range(PIXEL_HALVINGS + 1), _adapters(adapter)
    ):
        area = pixels // 2**less // cell_pixels * cell_pixels
        sharded = more > 0 or any(each.placement.parallel != "ddp" for each in stages)
        if area <= 0 or (sharded and own is not None and own.quantized):
            continue
        words = list(options)
        if less:
            words += _set("max_pixels", area)
            words += _set("min_pixels", area) if min_pixels > area else []
        if more:
            processes = max(each.placement.processes for each in stages)
            words += ["--gpus", str(processes * 2**more), *_set("parallel", "fsdp2")]
        most = 0.0
        for stage in stages:
            fitting = _fitting(shape, _scaled(shape, stage, area / pixels, more), own, more)
            if fitting is None:
                break
            words += fitting.options
            most = max(most, fitting.most)
        else:
            return Fit(options=tuple(map(shlex.quote, words)), most=most)
    return None


def _adapters(adapter: Adapter | None) -> Iterator[tuple[Adapter | None, list[str]]]:
    """Yield the configured adapters, LoRA and QLoRA, each with its options: ever less memory."""
    yield adapter, []
    rank: list[str] = []
    if adapter is None:
        adapter, rank = Adapter(rank=RANK), _set("lora.r", RANK)
        yield adapter, rank
    if not adapter.quantized:
        yield replace(adapter, quantized=True), [*rank, *_set("lora.quantize", "nf4")]


def _scaled(shape: ModelShape, stage: StageWork, share: float, doublings: int) -> StageWork:
    """Return a stage with smaller images, on more GPUs."""
    work, placement = stage.work, stage.placement
    if share < 1:
        cells = int(work.cells * share)
        prompt = work.prompt_tokens - (work.cells - cells) * shape.tokens_per_cell
        work = replace(work, cells=cells, prompt_tokens=prompt)
    if doublings and stage.trains:  # others hold whole weights, whatever the run shards
        processes = placement.processes * 2**doublings
        placement = replace(placement, processes=processes, parallel="fsdp2")
        work = replace(work, generated=max(1, work.generated // 2**doublings))
    return replace(stage, work=work, placement=placement)


def _fitting(
    shape: ModelShape, stage: StageWork, adapter: Adapter | None, doublings: int
) -> Fit | None:
    """Return the options with which a stage fits and its memory with them, or `None`."""
    path = f"stages.{stage.index}"
    for work, accumulation in _local(stage, doublings):
        found = estimate.estimate(
            shape, work, stage.placement, adapter=adapter, freeze_vision=stage.freeze_vision
        )
        if found.total > stage.placement.memory:
            continue
        words: list[str] = []
        if stage.trains:
            trainer = f"{path}.trainer"
            if work.checkpointing and not stage.work.checkpointing:
                words += _set(f"{trainer}.gradient_checkpointing", "true")
            if work.batch != stage.work.batch:
                words += _set(f"{trainer}.per_device_train_batch_size", work.batch)
            if accumulation != stage.accumulation:
                words += _set(f"{trainer}.gradient_accumulation_steps", accumulation)
            if stage.steps_per_generation and (work.batch != stage.work.batch or doublings):
                steps = stage.steps_per_generation * stage.work.batch // work.batch
                words += _set(f"{trainer}.steps_per_generation", max(1, steps // 2**doublings))
            if work.optimizer != stage.work.optimizer:
                words += _set(f"{trainer}.optim", work.optimizer)
            if stage.capped and doublings:
                words += _set(f"{path}.processes", stage.placement.processes)
        elif work.generated != stage.work.generated:
            table = "eval" if stage.index < 0 else path
            words += _set(f"{table}.batch_size", work.generated)
        return Fit(options=tuple(words), most=found.total)
    return None


def _local(stage: StageWork, doublings: int) -> Iterator[tuple[Work, int]]:
    """Yield the variants of a stage and their accumulation, nearest first."""
    work = stage.work
    if not stage.trains:
        rows = work.generated
        while rows:
            yield replace(work, generated=rows), 1
            rows //= 2
        return
    eight = [work.optimizer]
    if work.optimizer.startswith("adamw") and "8bit" not in work.optimizer:
        eight.append("adamw_bnb_8bit")
    halvings = work.batch.bit_length() - 1
    checkpoints = [True] if work.checkpointing else [False, True]
    for optimizer, half, checkpointing in itertools.product(
        eight, range(halvings + 1), checkpoints
    ):
        if work.batch % 2**half:
            break
        numerator, rest = divmod(stage.accumulation * 2**half, 2**doublings)
        if rest or not numerator:
            continue
        changed = replace(work, checkpointing=checkpointing, optimizer=optimizer)
        yield replace(changed, batch=work.batch // 2**half, accumulates=numerator > 1), numerator


def _set(key: str, value: object) -> list[str]:
    return ["--set", f"{key}={value}"]
