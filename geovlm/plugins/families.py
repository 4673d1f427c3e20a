"""Names the model types that transformers loads with images, and says why another has no profile.

The names are read from the source of the installed transformers: to import it takes seconds, and
light commands ask for profiles too.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

_WITH_IMAGES = "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES"
_TEXT = "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"
_OF_TRANSFORMERS = (
    "give the checkpoint of the same model for transformers, often named with -hf, or another model"
)


class Refusal(NamedTuple):
    """A model type that cannot be used."""

    reason: str
    """Completes `model type 'x' …`."""
    hint: str
    """The way out."""


_OWN_CODE = "needs code that comes with the checkpoint, which GeoVLM does not run"
REFUSED: Mapping[str, Refusal] = {
    "internvl_chat": Refusal(
        _OWN_CODE, "give the checkpoint for transformers, such as OpenGVLab/InternVL3_5-8B-HF"
    ),
    "minicpmv": Refusal(_OWN_CODE, "give one that transformers has: openbmb/MiniCPM-V-4.6"),
    "llava_qwen": Refusal(
        _OWN_CODE,
        "give the checkpoint for transformers, such as llava-hf/llava-onevision-qwen2-7b-ov-hf",
    ),
    "phi3_v": Refusal(
        _OWN_CODE,
        "transformers has no such model; give another of its size: Qwen/Qwen3-VL-4B-Instruct",
    ),
    "kimi_vl": Refusal(
        _OWN_CODE, "transformers has no such model; give another: Qwen/Qwen3-VL-30B-A3B-Instruct"
    ),
    "molmo": Refusal(_OWN_CODE, "give its successor, which transformers has: allenai/Molmo2-8B"),
    "ovis": Refusal(_OWN_CODE, "give the checkpoint for transformers: thisisiron/Ovis2-1B-hf"),
    "paligemma": Refusal(
        "has no chat template: it continues prefixes such as 'detect car' and answers no question",
        "give a chat model, such as google/gemma-3-4b-it",
    ),
}
"""Model type -> why it cannot be used, where a sentence of its own helps."""


def is_chat_type(model_type: str) -> bool:
    """Return True if the generic profile may serve a `model_type` of `config.json`.

    transformers loads it as a model of images and text to text, and it is not refused by name.
    """
    return model_type in _names(_WITH_IMAGES) and model_type not in REFUSED


def refusal(model_type: str, *, own_code: bool) -> Refusal:
    """Return why a `model_type` without a profile cannot be used.

    `own_code`: its `config.json` names code of the checkpoint, as `auto_map`.
    """
    if model_type in REFUSED:
        return REFUSED[model_type]
    if own_code:
        return Refusal(_OWN_CODE, _OF_TRANSFORMERS)
    if model_type in _names(_TEXT):
        return Refusal("takes text alone, no images", "give a vision-language model")
    if not model_type:
        return Refusal("is not stated in config.json", "is the model complete?")
    return Refusal(
        "is no model of images and text of the installed transformers",
        "install a transformers that has it; a plugin provides a profile with the hook "
        "geovlm_model_profile",
    )


@cache
def _names(mapping: str) -> frozenset[str]:
    """Return the model types of one mapping of transformers; none without transformers."""
    found = find_spec("transformers")
    if found is None or found.origin is None:
        return frozenset()
    source = Path(found.origin).with_name("models").joinpath("auto", "modeling_auto.py")
    return _read(source).get(mapping, frozenset())


@cache
def _read(source: Path) -> Mapping[str, frozenset[str]]:
    """Return mapping -> model types, of the mappings that are written out in a source file."""
    names: dict[str, frozenset[str]] = {}
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        if node.targets[0].id in (_WITH_IMAGES, _TEXT) and isinstance(node.value, ast.Call):
            pairs = ast.literal_eval(node.value.args[0])
            names[node.targets[0].id] = frozenset(name for name, _ in pairs)
    return names
