"""Asks for one sentence about the image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from geovlm import answers
from geovlm.api import Json, PromptContext, Sample, Turn
from geovlm_captions import CaptionTaskOptions
from geovlm_captions.sentences import best

PUBLISHED = (
    " [caption] [hr_rgb_0.5] <image> \\n Could you please provide the caption for the input image?"
)
"""EarthDial's question of every captioning set, byte for byte: a leading blank, a literal backslash
and `n`. Source: hiyamdebary/EarthDial, src/earthdial/eval/rs_image_caption/results, 92c1260."""
PLAIN = "Describe the image in one sentence."
QUESTIONS = {"earthdial": PUBLISHED.replace("<image>", ""), "plain": PLAIN}
"""Wording -> question. Its image token is left out: the chat template puts the image in."""
_MOST_WORDS = 10
_LISTED = """
a about above along an and are around as at be been behind below beside between both by can close
each from has have here image in inside into is it its lie lies located lots many near next no of on
one or other out over picture piece scene see seen several show shows side sides so some that the
their them there these they this through to under very was we well were where which while with
"""
_EMPTY = frozenset(_LISTED.split())
"""Words without information about the content of the image."""


def prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for a description; the first usable reference is the answer."""
    captions: Any = sample.target["captions"]
    own: CaptionTaskOptions = ctx.options or CaptionTaskOptions()
    return Turn(
        question=QUESTIONS[own.wording], answer=best(captions), reasoning=_reasoning(captions)
    )


def blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target without the correct answer, for `geovlm predict`."""
    return {"captions": [""]}


def shared_words(captions: list[str]) -> list[str]:
    """Return the content words of more than half of the captions, in order of appearance.

    If no word is that common: the words that occur in most captions.
    """
    number: Counter[str] = Counter()
    for caption in captions:
        words = dict.fromkeys(answers.words(caption))
        number.update([word for word in words if word not in _EMPTY])
    if not number:
        return []
    least = min(len(captions) // 2 + 1, max(number.values()))
    return [word for word, count in number.items() if count >= least][:_MOST_WORDS]


def _reasoning(captions: list[str]) -> str:
    """Return the reasoning: what most captions mention."""
    shared = shared_words(captions)
    return f"Most striking: {', '.join(shared)}." if shared else "No object stands out."
