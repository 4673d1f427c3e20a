"""Writes the model folder of `geovlm export`, and the answers of the stage's model.

`python -m geovlm.engine.programs.export --job DIR`. `geovlm.engine.programs.stock` answers the same
samples with the folder afterwards.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, GenerationConfig

from geovlm.config.control_tokens import ControlTokens
from geovlm.engine.generation import generate
from geovlm.engine.models import structure
from geovlm.engine.models.processor import (
    load_processor,
    save_processor,
    take_as_sized,
    takes_any_size,
)
from geovlm.engine.programs.main import run
from geovlm.engine.rows import rendering
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rendering import Chat
from geovlm.engine.rows.rows import Row, pictures
from geovlm.engine.rows.tokens import control_tokens
from geovlm.files.jsontext import dumps
from geovlm.run import files
from geovlm.run.export import Asked, Job


def main(argv: list[str] | None = None) -> int:
    """Write the folder and the answers; returns the exit status."""
    return run(lambda args: work(Path(args.job)), "--job", argv=argv)


def work(folder: Path) -> None:
    """Do the job in a folder.

    Raises:
        DataError: a picture of the samples cannot be read.
    """
    job = Job.read(folder)
    cache = ImageCache()
    processor = load_processor(str(job.model))
    # the pictures of a family that GeoVLM resizes for have the size at which the model sees them
    sized = takes_any_size(processor) and all(
        each.picture_sizes == each.input_sizes for each in job.asked
    )
    if sized:
        take_as_sized(processor)
    begun = rendering.prefill(processor)
    write_asks(folder, job, cache=cache, sized=sized, begun=begun, tokens=control_tokens(processor))
    model = AutoModelForImageTextToText.from_pretrained(
        job.model, dtype=job.dtype or "auto", trust_remote_code=job.trust_remote_code
    )
    structure.drop_router_logits(model)
    model.generation_config = greedy(model, processor, max_new_tokens=job.max_new_tokens)
    model.save_pretrained(folder / "model")
    save_processor(processor, folder / "model")
    for path in (folder / "model").iterdir():  # the weights come readable by their owner only
        path.chmod((folder / "job.json").stat().st_mode)
    model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))  # type: ignore[arg-type]
    answers, prompts = [], []
    for sample in job.asked:
        one = [row(sample)]
        prompts.append(generate.encode(processor, one, cache=cache)["input_ids"][0].tolist())
        answers += generate.complete(
            model, processor, one, cache=cache, max_new_tokens=job.max_new_tokens
        )
    files.write_json(
        folder / "own.json",
        {
            "answers": answers,
            "prompts": prompts,
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": model.device.type,
        },
    )


def greedy(model: Any, processor: Any, *, max_new_tokens: int) -> GenerationConfig:
    """Return the decoding of the run's evaluation as the model's own default.

    The base model's own would give other answers than were measured: Qwen2.5-VL's samples, with a
    repetition penalty of 1.05.
    """
    before = model.generation_config
    return GenerationConfig(
        bos_token_id=before.bos_token_id,
        eos_token_id=list(Chat.of(processor, stops=before.eos_token_id).stops),
        pad_token_id=before.pad_token_id,
        do_sample=False,
        repetition_penalty=1.0,
        suppress_tokens=generate.image_tokens(processor),
        max_new_tokens=max_new_tokens,
    )


def row(sample: Asked) -> Row:
    """Return a sample as a row."""
    return Row(
        task=sample.task,
        sample_id=sample.sample_id,
        images=tuple(dumps(image) for image in sample.images),
        question=sample.question,
        image_sizes=sample.input_sizes,
        input_sizes=sample.input_sizes,
        given_sizes=sample.picture_sizes,
    )


def write_asks(
    folder: Path, job: Job, *, cache: ImageCache, sized: bool, begun: str, tokens: ControlTokens
) -> None:
    """Write the samples as PNG files and `asks.json`, for programs without GeoVLM.

    `sized` says that the model sees the pictures at the size of their files, and `begun` is the
    beginning of every answer in the prompt. Questions have the control tokens of the model as
    letters, as `generate.encode` reads them.

    Raises:
        DataError: a picture cannot be read.
    """
    asks = []
    for number, sample in enumerate(job.asked):
        paths = []
        for place, picture in enumerate(pictures(row(sample), cache=cache)):
            paths.append(folder / f"{number}-{place}.png")
            picture.save(paths[-1])
        question = tokens.escape(sample.question)
        asks.append({"question": question, "images": [str(path) for path in paths]})
    files.write_json(folder / "asks.json", {"asks": asks, "sized": sized, "begun": begun})


if __name__ == "__main__":
    sys.exit(main())
