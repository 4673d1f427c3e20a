"""Writes the folder that `geovlm serve` gives to vLLM: `python -m … --job DIR`.

Weights are linked; chat template, pixel limits and end tokens are those of the run. `known.json`
holds what transformers answers about an image, with which the server's first answer is compared.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from geovlm import boxes
from geovlm.config.model import loose_limits, source
from geovlm.config.schema import RunConfig
from geovlm.engine.models import load
from geovlm.engine.models.load import Loaded
from geovlm.engine.programs.main import run
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row
from geovlm.engine.writers import linked, reference
from geovlm.files.jsontext import dumps
from geovlm.plugins import registry
from geovlm.raster.reference import encode
from geovlm.run import files
from geovlm.run.vllm.serving import Known

QUESTION = "What is in this image?"
_SIDE = 112


def main(argv: list[str] | None = None) -> int:
    """Write the folder; returns the exit status."""
    return run(lambda args: work(Path(args.job)), "--job", argv=argv)


def work(job: Path) -> None:
    """Write `model/`, `image.png` and `known.json` for the configuration in `config.json`.

    Raises:
        ConfigError: the model cannot be loaded.
    """
    config = RunConfig.model_validate(files.read_json(job / "config.json"))
    path = source(config.model)
    loaded = load.load(path, config, registry=registry.load())
    folder = linked.link(path, config, processor=loaded.processor, folder=job / "model")
    generation: Any = folder / "generation_config.json"
    generation.unlink(missing_ok=True)  # a link to the checkpoint's, which may set a penalty
    files.write_json(generation, {"eos_token_id": list(loaded.chat.stops)})
    size = boxes.picture_size((_SIDE, _SIDE), profile=loaded.profile)
    image = job / "image.png"
    Image.fromarray(_picture()).resize(size, Image.Resampling.BICUBIC).save(image)
    row = Row(
        task="serve",
        sample_id="image.png",
        images=(dumps(encode(image)),),
        question=f"{QUESTION} {config.instruction}".strip(),
        image_sizes=(size,),
        input_sizes=(boxes.input_size(size, profile=loaded.profile),),
        given_sizes=(size,),
    )
    tokenizer = loaded.processor.tokenizer  # type: ignore[attr-defined]  # a mixin's field
    (found,) = reference.answer(loaded, [row], cache=ImageCache())
    Known(
        question=row.question,
        prompt_ids=found.answer.prompt_ids,
        ids=found.answer.ids,
        logprobs=found.answer.logprobs,
        dtype=str(loaded.model.dtype).removeprefix("torch."),
        max_positions=load.max_positions(loaded.model.config, tokenizer),
        settings=_settings(loaded),
    ).write(job)


def _settings(loaded: Loaded) -> dict[str, int | str]:
    """Return the settings of a client that resizes images itself, as the run does."""
    profile = loaded.profile
    if profile.resize != "multiples":
        return {}
    loose = loose_limits(profile.min_pixels, profile.max_pixels)
    return {
        "served.family": str(loaded.model.config.model_type),
        "min_pixels": profile.min_pixels,
        "max_pixels": profile.max_pixels,
        # the server leaves an image as it is that has been resized within these limits
        "served.parameters.mm_processor_kwargs.min_pixels": loose.lowest or 1,
        "served.parameters.mm_processor_kwargs.max_pixels": loose.highest or 1,
    }


def _picture() -> Any:
    """Return fields around a lake, (H, W, 3)."""
    made = np.full((_SIDE, _SIDE, 3), (96, 140, 72), dtype=np.uint8)
    made[:, _SIDE // 2 :] = (170, 150, 96)
    made[30:80, 20:90] = (40, 84, 128)
    return made


if __name__ == "__main__":
    sys.exit(main())
