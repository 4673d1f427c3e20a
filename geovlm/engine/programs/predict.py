"""Answers the windows of `geovlm predict`: `python -m geovlm.engine.programs.predict --job DIR`.

Windows are read and answered batch by batch; memory depends on the batch, not on the scene.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import torch

from geovlm.api import ModelProfile, Raster, Sample, TaskSpec
from geovlm.config.model import source
from geovlm.config.schema import RunConfig
from geovlm.config.tasks import configured, instruction_of
from geovlm.data.prompts import Prompter, visual_tokens
from geovlm.engine.models import load
from geovlm.engine.programs.main import run
from geovlm.engine.progress import Bar
from geovlm.engine.rows.images import ImageCache, windowed
from geovlm.engine.rows.rendering import Chat
from geovlm.engine.rows.rows import Row, pictures, with_instruction
from geovlm.engine.rows.tokens import control_tokens
from geovlm.engine.stopping import end_with_launcher
from geovlm.engine.writers import opening
from geovlm.engine.writers.writer import Expected
from geovlm.errors import ConfigError
from geovlm.files.jsontext import dumps
from geovlm.plugins import registry as registries
from geovlm.plugins.registry import Registry
from geovlm.predict import asking, reading
from geovlm.predict.job import Answer, Job, Plan, Request, picture_size, window_inputs, windows
from geovlm.predict.results import Results
from geovlm.predict.windows import tiles
from geovlm.predict.windows.tiles import Window
from geovlm.raster.images import has_data
from geovlm.raster.reference import decode

Respond: TypeAlias = Callable[[Sequence[Row], ImageCache], list[str]]
"""(rows, cache of their pictures) -> one completion per row."""
BATCH_PIXELS = 8_000_000
"""Pixels of a batch as the model sees them; about 400 MB while they are prepared."""
CACHE_BYTES = 64 << 20
EXPECTED = 256
"""Windows that are known to what writes the answers before the first one."""


def main(argv: list[str] | None = None) -> int:
    """Answer all windows of a job; returns the exit status."""
    end_with_launcher()
    return run(lambda args: work(Job(Path(args.job))), "--job", argv=argv)


def work(job: Job) -> None:
    """Load the model and answer what is not answered yet."""
    request = job.read_request()
    config = RunConfig.model_validate(request.config)
    registry = registries.load()
    task = registry.task(request.task)
    if load.device(config) == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    with opening.writer(source(config.model), config, registry=registry) as writer:
        task = configured(task, config, profile=writer.profile)
        plan = make_plan(request, task, profile=writer.profile)
        longest = min(task.max_answer_tokens, config.max_new_tokens or task.max_answer_tokens)
        if writer.processor is not None:  # of a served model, nothing is known
            _check_length(plan, request, config, writer.processor, longest=longest)
        cache = ImageCache(max_bytes=CACHE_BYTES)
        writer.expect(Expected(_first(request, plan, task), cache, longest))

        def respond(rows: Sequence[Row], cache: ImageCache) -> list[str]:
            return writer.complete(rows, cache=cache, max_new_tokens=longest)

        answer(job, plan, respond, registry=registry)


def make_plan(request: Request, task: TaskSpec, *, profile: ModelProfile) -> Plan:
    """Return the windows of a scene and the question of the first one.

    Raises:
        ConfigError: window and overlap do not fit, or the task has no prompt without a correct
            answer.
        DataError: the model cannot take a window.
    """
    side = tiles.default_side(profile) if request.window is None else request.window
    target = asking.blank_target(task, request.inputs)
    by_boxes = reading.kind(target, inputs=frozenset(request.inputs)) == "boxes"
    overlap = request.overlap if request.overlap is not None else by_boxes * (side // 4)
    plan = Plan(profile=profile, side=side, overlap=overlap, min_pixels=task.min_pixels)
    window = windows(request, plan)[0]
    config = RunConfig.model_validate(request.config)
    prompter = _prompter(config, task, plan)
    instruction = instruction_of(task, config)
    first = row(request, 0, window, prompter=prompter, instruction=instruction)
    return dataclasses.replace(plan, question=first.question)


def answer(
    job: Job, plan: Plan, respond: Respond, *, registry: Registry, batch_pixels: int = BATCH_PIXELS
) -> None:
    """Answer the windows that are not answered yet, each batch on disk before the next begins.

    First those of the grid; then those of the second pass, which follow from the answers. A window
    in which an image has no data (outside of a scene's footprint) gets no answer. All images of a
    window count as `batch_pixels`, as the model sees them.

    Raises:
        DataError: a window cannot be read; names the file.
    """
    request = job.read_request()
    job.write_plan(plan)
    task = registry.task(request.task)
    done = job.drop_torn_end()
    _answer(job, plan, respond, task=task, done=done, batch_pixels=batch_pixels)
    grid = len(windows(request, plan))
    found = Results(job=job, task=task, request=request, plan=plan, where=None, model="")
    plan = dataclasses.replace(plan, second_pass=tuple(found.second_pass()))
    job.write_plan(plan)
    done = max(done, grid)
    _answer(job, plan, respond, task=task, done=done, batch_pixels=batch_pixels)


def row(
    request: Request, index: int, window: Window, *, prompter: Prompter, instruction: str
) -> Row:
    """Return one window as a row; it has no correct answer.

    Raises:
        ConfigError: see `asking.blank_target`.
        DataError: the model cannot take the window.
    """
    given = window_inputs(request, index, window)
    target = asking.blank_target(prompter.task, given)
    sample = Sample(
        id=str(index),
        images=tuple(decode(image) for image in request.images),
        target=target,
        question=str(target.get("question") or given.get("question") or ""),
        image_sizes=((window.width, window.height),) * len(request.images),
    )
    prompt = prompter.prompt(sample)
    return Row(
        task=prompt.task,
        sample_id=prompt.sample_id,
        images=tuple(windowed(dumps(image), window=window) for image in request.images),
        question=with_instruction(prompt, instruction),
        target=target,
        image_sizes=prompt.image_sizes,
        input_sizes=prompt.input_sizes,
        given_sizes=prompt.given_sizes,
        thinks=prompt.thinks,
    )


def batches(rows: Iterator[Row], *, most: int, pixels: int = BATCH_PIXELS) -> Iterator[list[Row]]:
    """Yield the rows in batches of at least one row, at most `pixels` as given or as seen."""
    batch: list[Row] = []
    held = 0
    for each in rows:
        own = max(
            sum(width * height for width, height in sizes)
            for sizes in (each.input_sizes, each.picture_sizes)
        )
        if batch and (len(batch) == most or held + own > pixels):
            yield batch
            batch, held = [], 0
        batch.append(each)
        held += own
    if batch:
        yield batch


def _first(request: Request, plan: Plan, task: TaskSpec) -> list[Row]:
    """Return the first windows; those of a grid have one size and one question."""
    config = RunConfig.model_validate(request.config)
    prompter = _prompter(config, task, plan)
    instruction = instruction_of(task, config)
    return [
        row(request, index, window, prompter=prompter, instruction=instruction)
        for index, window in enumerate(islice(windows(request, plan), EXPECTED))
    ]


def _answer(
    job: Job, plan: Plan, respond: Respond, *, task: TaskSpec, done: int, batch_pixels: int
) -> None:
    """Answer the windows from a number on."""
    request = job.read_request()
    views = windows(request, plan)
    if done >= len(views):
        return
    config = RunConfig.model_validate(request.config)
    cache = ImageCache(max_bytes=CACHE_BYTES)
    bar = Bar(f"{request.task}, windows", total=len(views), done=done)
    prompter = _prompter(config, task, plan)
    instruction = instruction_of(task, config)
    rows = (
        row(request, index, views[index], prompter=prompter, instruction=instruction)
        for index in range(done, len(views))
    )
    images = [decode(image) for image in request.images]
    for batch in batches(rows, most=config.eval.batch_size, pixels=batch_pixels):
        filled = [
            each
            for each in batch
            if not _is_empty(each, cache, images=images, window=views[int(each.sample_id)])
        ]
        completions = respond(filled, cache) if filled else []
        texts = {each.sample_id: text for each, text in zip(filled, completions, strict=True)}
        job.append(
            [Answer(tile=int(each.sample_id), text=texts.get(each.sample_id)) for each in batch]
        )
        bar.advance(len(batch))
    bar.close()


def _prompter(config: RunConfig, task: TaskSpec, plan: Plan) -> Prompter:
    """Return the prompter of the request's task, with the plan's smallest size."""
    planned = dataclasses.replace(task, min_pixels=plan.min_pixels)
    return Prompter(planned, profile=plan.profile, options=config.task_options(task))


def _is_empty(
    each: Row, cache: ImageCache, *, images: Sequence[Path | Raster], window: Window
) -> bool:
    """Return True if an image has no data in a window; a black picture may show dark ground."""
    return any(
        picture.getbbox() is None and not has_data(image, window)
        for picture, image in zip(pictures(each, cache=cache), images, strict=True)
    )


def _check_length(
    plan: Plan, request: Request, config: RunConfig, processor: Any, *, longest: int
) -> None:
    """Refuse windows that do not fit into the model.

    Raises:
        ConfigError: pixels, question and answer are more tokens than it takes.
    """
    tokenizer = processor.tokenizer
    views = windows(request, plan)  # all of a grid are of one size, those around marked boxes not
    sizes = [
        picture_size(views[i], plan) for i in range(len(views) if "boxes" in request.inputs else 1)
    ]
    images = len(request.images)
    visual = max(visual_tokens([size] * images, profile=plan.profile) for size in set(sizes))
    question = control_tokens(processor).escape(plan.question)
    around = Chat.of(processor).template_tokens(len(request.images))
    needed = visual + len(tokenizer(question)["input_ids"]) + around + longest
    limit = load.max_positions(load.load_config(config), tokenizer)
    if needed > limit:
        raise ConfigError(
            f"a window of {plan.side} px needs {needed} tokens, the model takes {limit}",
            hint="a smaller --window, or --set max_pixels=…",
        )


if __name__ == "__main__":
    sys.exit(main())
