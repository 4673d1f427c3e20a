"""Asks for the class of a scene, in EarthDial's words where they are published.

A published question marks the places of images by `<image>`. The chat template of the model puts
images in, so a question here is the published one without these marks; every other character is
kept, blanks, sensor tokens and the literal backslash with n included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256

from geovlm.api import Json, PromptContext, Sample, Turn
from geovlm_scenes import EarthDialOptions, ShuffledOptions, sets
from geovlm_scenes.bands import described
from geovlm_scenes.sets import SceneSet

IMAGE = "<image>"
"""Mark of an image in a published question."""
PLAIN = (
    "Classify the given image in one of the following classes. Classes: {}. "
    "Answer in one word or a short phrase."
)
"""EarthDial's question without tokens and stray blanks; our own where none is published."""


def published(scenes: SceneSet, classes: Sequence[str]) -> str:
    """Return EarthDial's question byte for byte, with the classes in this order."""
    return scenes.published.format(", ".join(classes))


def shuffled(classes: Sequence[str], *, seed: int, sample_id: str) -> list[str]:
    """Return the classes in an order that follows from seed and sample, by SHA-256."""
    return sorted(classes, key=lambda name: sha256(f"{seed}/{sample_id}/{name}".encode()).digest())


def _prompt(scenes: SceneSet, sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for one of the classes; the reasoning says out of how many."""
    own, classes = ctx.options, scenes.classes
    if isinstance(own, ShuffledOptions):
        classes = tuple(shuffled(classes, seed=own.seed, sample_id=sample.id))
    faithful = isinstance(own, EarthDialOptions) and own.wording == "earthdial"
    plain = PLAIN if len(sample.images) < 2 else PLAIN.replace("given image", "given images")
    question = _question(scenes.published if faithful else plain, classes)
    label = str(sample.target["answer"])
    return Turn(
        question=f"{described(sample.images)}{question}",
        answer=label,
        reasoning=f"One of {len(classes)} classes fits the whole image. It shows {label}.",
    )


def _blank(scenes: SceneSet, said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target of any class, from which `geovlm predict` writes the question."""
    first = scenes.classes[0]
    return {"answer": first, "labels": [first], "vocabulary": list(scenes.classes)}


def _question(form: str, classes: Sequence[str]) -> str:
    return form.replace(IMAGE, "").format(", ".join(classes))


prompt_aid = partial(_prompt, sets.AID)
prompt_ucm = partial(_prompt, sets.UCM)
prompt_whu_rs19 = partial(_prompt, sets.WHU)
prompt_resisc45 = partial(_prompt, sets.RESISC45)
prompt_eurosat = partial(_prompt, sets.EUROSAT)
prompt_eurosat_ms = partial(_prompt, sets.EUROSAT_MS)
prompt_patternnet = partial(_prompt, sets.PATTERNNET)
prompt_rsi_cb256 = partial(_prompt, sets.RSI_CB256)
blank_aid = partial(_blank, sets.AID)
blank_ucm = partial(_blank, sets.UCM)
blank_whu_rs19 = partial(_blank, sets.WHU)
blank_resisc45 = partial(_blank, sets.RESISC45)
blank_eurosat = partial(_blank, sets.EUROSAT)
blank_eurosat_ms = partial(_blank, sets.EUROSAT_MS)
blank_patternnet = partial(_blank, sets.PATTERNNET)
blank_rsi_cb256 = partial(_blank, sets.RSI_CB256)
