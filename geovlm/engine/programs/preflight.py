"""Reads one row of each task as every stage of a run does, and compares, without weights.

`geovlm.engine.programs.trials` runs it before a run starts, and `geovlm doctor --model` alone.
Processor, tokenizer, prompts and collators are those of the run; TRL's own functions build what its
trainers build.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from transformers import GenerationConfig
from trl import GRPOTrainer
from trl.data_utils import apply_chat_template, prepare_multimodal_messages
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from geovlm import boxes
from geovlm.api import ModelProfile, Sample, Size
from geovlm.config.model import source
from geovlm.config.schema import RunConfig
from geovlm.config.tasks import configured, instruction_of
from geovlm.data.prompts import Prompter, visual_tokens
from geovlm.engine.generation import generate
from geovlm.engine.models import load
from geovlm.engine.programs import doctor
from geovlm.engine.programs.agreement import (
    Finding,
    Images,
    Missing,
    Reader,
    Seen,
    Tokens,
    findings,
)
from geovlm.engine.rows.images import GREY, ImageCache
from geovlm.engine.rows.rendering import Chat
from geovlm.engine.rows.rows import Row, dataset, to_row
from geovlm.engine.rows.tokens import control_tokens
from geovlm.engine.speedups.grpo_trainer import UNPADDED
from geovlm.engine.training import inputs
from geovlm.errors import ConfigError, GeoVLMError
from geovlm.plugins import registry
from geovlm.raster import reference

_PER_TOKEN = ("mm_token_type_ids", "token_type_ids")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """The rows to read."""

    config: Mapping[str, Any]
    """The configuration of the run."""
    samples: Mapping[str, Mapping[str, Any]]
    """Task -> one sample, as `geovlm.plan.trials.preflight` writes it; empty: an own example."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """The rows that were read, and what does not agree."""

    model_type: str
    reader: Reader
    seen: tuple[Seen, ...]
    problems: tuple[str, ...]
    """One line for each thing that does not agree; a line may stand for several tasks."""


def look(request: Request, *, folder: Path) -> Found:
    """Read one row of each task in all ways; `folder` takes the images of a built-in example.

    Raises:
        GeoVLMError: processor or profile of the model cannot be had, or a task writes no prompt.
    """
    config = RunConfig.model_validate(request.config)
    known = registry.load()
    made = load.load_config(config)
    try:
        processor, profile = load.load_reader(source(config.model), config, registry=known)
    except (AttributeError, ImportError, KeyError, OSError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the processor of model {config.model!r} cannot be loaded: "
            f"{' '.join(str(error).split())}",
            hint="are the files of its processor and tokenizer complete, and those of one model?",
        ) from error
    chat = Chat.of(processor, stops=_stops(config, made))
    reader = Reader(processor=processor, stops=chat.stops)
    cache = ImageCache()
    rows = [
        _row(task, sample, config=config, profile=profile)
        for task, sample in request.samples.items()
    ]
    rows = rows or doctor.rows(folder, rank=0, number=1)
    seen = tuple(
        see(row, chat=chat, profile=profile, config=config, model=made, cache=cache) for row in rows
    )
    return Found(
        model_type=made.model_type,
        reader=reader,
        seen=seen,
        problems=tuple(lines(seen, reader, model_type=made.model_type)),
    )


def lines(seen: Sequence[Seen], reader: Reader, *, model_type: str) -> Iterator[str]:
    """Yield one line per stage and rule that is broken: the first task, and how many there are."""
    first: dict[tuple[str, str], tuple[Finding, Row]] = {}
    count: Counter[tuple[str, str]] = Counter()
    for each in seen:
        for finding in findings(each, reader):
            key = finding.stage, finding.rule
            first.setdefault(key, (finding, each.row))
            count[key] += 1
    for key, (finding, row) in first.items():
        others = count[key] - 1
        more = f" and {others} more task{'s' if others > 1 else ''}" if others else ""
        where = f"{model_type}, {finding.stage} of {row.task}{more}, sample {row.sample_id!r}"
        yield f"{where}: {' '.join(finding.problem.split())} ({finding.fix})"


def see(
    row: Row,
    *,
    chat: Chat,
    profile: ModelProfile,
    config: RunConfig,
    model: Any,
    cache: ImageCache,
) -> Seen:
    """Build the inputs of a row in all ways in which the stages of a run do.

    Each way takes a batch of two: the row, and one with images of other sizes. `model` is the
    configuration of the model.
    """
    processor = chat.processor
    batch = [row, _companion(row, profile)]
    missing: dict[str, Missing] = {}

    def attempt(stage: str, build: Callable[[], Any]) -> Any:
        try:
            return build()
        except GeoVLMError as error:
            missing.setdefault(stage, Missing(str(error.args[0]), error.hint))
            return None
        except Exception as error:  # of the processor or the template: any
            problem = f"its inputs cannot be built: {type(error).__name__}: {error}"
            missing.setdefault(stage, Missing(problem))
            return None

    alone = attempt("evaluation", lambda: generate.encode(processor, [row], cache=cache))
    asked = attempt("evaluation", lambda: generate.encode(processor, batch, cache=cache))
    kinds = {stage.kind for stage in config.stages}
    trained: tuple[Tokens, tuple[int, ...]] | None = None
    sampled = scored = None
    if "sft" in kinds:
        trained = attempt("SFT", lambda: _trained(batch, chat, cache=cache))
    if "grpo" in kinds:
        # the scoring pass first: its refusal names what TRL cannot pass on
        scored = attempt("GRPO", lambda: _scored(batch, processor, cache=cache))
        sampled = attempt("GRPO", lambda: _sampled(batch, processor, cache=cache))
    token = getattr(model, "image_token_id", None) or getattr(processor, "image_token_id", None)
    nothing = Tokens((), {})
    return Seen(
        row=row,
        profile=profile,
        alone=nothing if alone is None else _tokens(alone),
        asked=nothing if asked is None else _tokens(asked),
        images=_images(row, alone, processor, profile=profile, token=token),
        trained=None if trained is None else trained[0],
        target=None if trained is None else trained[1],
        sampled=sampled,
        scored=scored,
        missing=missing,
    )


def _row(task: str, given: Mapping[str, Any], *, config: RunConfig, profile: ModelProfile) -> Row:
    """Return the row of a sample, as `Stage.rows` builds it."""
    sample = Sample(
        id=given["id"],
        images=tuple(reference.decode(each) for each in given["images"]),
        target=given["target"],
        meta=given["meta"],
        question=given["question"],
        image_sizes=tuple((width, height) for width, height in given["image_sizes"]),
    )
    spec = registry.load().task(task)
    prompter = Prompter(
        configured(spec, config, profile=profile),
        profile=profile,
        options=config.task_options(spec),
    )
    return to_row(prompter.prompt(sample), instruction=instruction_of(spec, config))


def _companion(row: Row, profile: ModelProfile) -> Row:
    """Return a row with a longer question and as many grey images, of another shape."""
    stored = tuple((max(1, width // 2), height + height // 4) for width, height in row.image_sizes)
    seen, given = (
        tuple(size(each, profile=profile) for each in stored)
        for size in (boxes.input_size, boxes.picture_size)
    )
    grey = tuple(GREY for _ in row.images)
    asked = f"{row.question} {row.question}"
    return dataclasses.replace(
        row,
        question=asked,
        images=grey,
        image_sizes=stored,
        input_sizes=seen,
        given_sizes=given,
    )


def _trained(
    rows: Sequence[Row], chat: Chat, *, cache: ImageCache
) -> tuple[Tokens, tuple[int, ...]]:
    """Return prompt and target of the first row, as TRL's collator makes them for SFT."""
    collate = DataCollatorForVisionLanguageModeling(
        processor=chat.processor, max_length=None, completion_only_loss=True
    )
    data = dataset(rows, cache=cache, tokens=control_tokens(chat.processor), chat=chat)
    made = collate([data[number] for number in range(len(rows))])
    kept = made["attention_mask"][0].bool()
    ids, labels = made["input_ids"][0][kept].tolist(), made["labels"][0][kept].tolist()
    begin = next((i for i, each in enumerate(labels) if each != -100), len(labels))
    types = {
        name: tuple(made[name][0][kept].tolist()[:begin]) for name in _PER_TOKEN if name in made
    }
    return Tokens(tuple(ids[:begin]), types), tuple(ids[begin:])


def _asked_by_trl(rows: Sequence[Row], processor: Any, cache: ImageCache) -> tuple[list[Any], Any]:
    """Return the messages of rows with their images, and the images, as TRL's GRPO has them."""
    data = dataset(rows, cache=cache, tokens=control_tokens(processor))
    given = [data[number] for number in range(len(rows))]
    images = [each["images"] for each in given]
    said = [prepare_multimodal_messages(each["prompt"], images=each["images"]) for each in given]
    return said, images


def _sampled(rows: Sequence[Row], processor: Any, *, cache: ImageCache) -> Tokens:
    """Return the prompt of the first row to which GRPO writes completions, also by vLLM."""
    said, _ = _asked_by_trl(rows, processor, cache)
    trainer = SimpleNamespace(
        _is_vlm=True,
        environment_factories=None,
        processing_class=processor,
        tools=[],
        chat_template=None,
        chat_template_kwargs=UNPADDED,
    )
    # a stand-in with the fields that this method of TRL 1.16 reads: a trainer needs the weights
    ids, _, fields = GRPOTrainer._tokenize_prompts(trainer, said)  # type: ignore[arg-type]
    types = {name: tuple(map(int, fields[name][0])) for name in _PER_TOKEN if name in fields}
    return Tokens(tuple(map(int, ids[0])), types)


def _scored(rows: Sequence[Row], processor: Any, *, cache: ImageCache) -> Tokens:
    """Return the first row's inputs of TRL's scoring pass (`_generate_and_score_completions`)."""
    said, images = _asked_by_trl(rows, processor, cache)
    texts = [apply_chat_template({"prompt": each}, processor)["prompt"] for each in said]
    made = processor(images=images, text=texts, padding=True, return_tensors="pt")
    inputs.check(made, images=images, processor=processor)
    return _tokens(made)


def _tokens(made: Mapping[str, Any]) -> Tokens:
    """Return ids and type ids of the first row of a batch, without padding."""
    mask = made["attention_mask"]
    kept = mask[0].bool()
    types = {
        name: tuple(made[name][0][kept].tolist())
        if made[name].shape == mask.shape
        else tuple(made[name][0].tolist())
        for name in _PER_TOKEN
        if name in made
    }
    left = bool((mask[:, 1:] >= mask[:, :-1]).all())
    return Tokens(tuple(made["input_ids"][0][kept].tolist()), types, left)


def _images(
    row: Row, made: Mapping[str, Any] | None, processor: Any, *, profile: ModelProfile, token: Any
) -> Images:
    """Return what is said of the images of a row, and what its inputs alone hold of them."""
    said = visual_tokens(row.picture_sizes, profile=profile)
    number = int(token) if token is not None else None
    if made is None:
        return Images(token=None, said=said)
    grid = made.get("image_grid_thw")
    if grid is not None:
        settings = processor.image_processor
        cells = [int(t) * int(h) * int(w) // settings.merge_size**2 for t, h, w in grid]
        side = settings.patch_size
        sizes: tuple[Size, ...] = tuple((int(w) * side, int(h) * side) for _, h, w in grid)
        return Images(token=number, said=said, made=sum(cells), sizes=sizes)
    return Images(token=number, said=said, made=_of_tiles(made, processor))


def _of_tiles(made: Mapping[str, Any], processor: Any) -> int | None:
    """Return the tokens of images in tiles of one size; `None` where tiles have different ones."""
    pixels = made.get("pixel_values")
    each = next(
        (
            vars(processor)[name]
            for name in ("image_seq_length", "image_seq_len")
            if isinstance(vars(processor).get(name), int)
        ),
        None,
    )
    if each is None or pixels is None or getattr(pixels, "ndim", 0) not in (4, 5):
        return None
    return int(pixels.shape[:-3].numel()) * each


def _stops(config: RunConfig, made: Any) -> tuple[int, ...]:
    """Return the end tokens that the checkpoint's generation config and configuration name."""
    found = [getattr(each, "eos_token_id", None) for each in (made.get_text_config(), made)]
    with contextlib.suppress(OSError, ValueError):
        revision = config.revision or "main"
        settings = GenerationConfig.from_pretrained(source(config.model), revision=revision)
        found.insert(0, settings.eos_token_id)
    flat = [n for each in found for n in (each if isinstance(each, list | tuple) else [each])]
    return tuple(dict.fromkeys(int(each) for each in flat if each is not None))
