"""Tells which inputs of a model the GRPO of the installed TRL cannot pass on to it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import trl
from trl import GRPOTrainer

from geovlm.errors import ConfigError

_OF_TEXT = frozenset({"input_ids", "attention_mask"})


def check(made: Mapping[str, Any], *, images: Sequence[Sequence[Any]], processor: Any) -> None:
    """Refuse GRPO of a model whose inputs TRL cannot pass on.

    `made` is what the processor makes of prompts with `images`, one list per prompt. TRL scores
    completions by `_get_per_token_logps_and_entropies`, whose parameters are the inputs that it
    knows. Where `pixel_values` hold more images than the prompts, it takes them for tiles and asks
    the image processor for their number, as InternVL's gives it. A newer TRL that knows more
    refuses less.

    Raises:
        ConfigError: names the inputs, and what to do instead.
    """
    known = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters
    unknown = [name for name in made if name not in known and name not in _OF_TEXT]
    if unknown:
        raise _error(f"does not pass {' and '.join(unknown)} on to the model")
    pixels = made.get("pixel_values")
    if pixels is None or "spatial_shapes" in made:
        return
    if pixels.ndim != 4 or len(pixels) == sum(map(len, images)):
        return
    try:
        tiles = processor.image_processor(images=images, crop_to_patches=True, return_tensors="pt")[
            "num_patches"
        ]
    except (KeyError, TypeError, ValueError) as error:  # no such key, keyword or shape
        raise _error("cannot tell which tiles are of which image") from error
    if int(sum(tiles)) != len(pixels):
        raise _error("counts other tiles than the processor makes")


def _error(what: str) -> ConfigError:
    return ConfigError(
        f"GRPO of TRL {trl.__version__} {what}",
        hint="leave out the GRPO stages; SFT, evaluation and prediction work",
    )
