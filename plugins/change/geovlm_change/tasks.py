"""Asks what changed between images, in one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from geovlm import answers
from geovlm.api import Json, PromptContext, Sample, Turn
from geovlm_change import ChangeTaskOptions, references

_ASKED = "\\n are there any semantic change detected in the provided images?"
PUBLISHED = {
    "levir": f" [changedet] [hr_rgb_temp_0.5] <image> <image> {_ASKED}",
    "dubai": f" [changedet] [hr_rgb_temp_0.5] <image> <image> {_ASKED}",
    "sysu": f"[changedet] [hr_rgb_temp_0.5] <image>  <image> {_ASKED}",
    "muds": f"[changedet] [hr_rgb_temp_0.5] <image> <image> <image> <image> {_ASKED}",
}
"""EarthDial's question of each set, byte for byte: blanks before and between its tokens, a literal
backslash and `n`. Source: hiyamdebary/EarthDial, src/earthdial/eval/rs_change_detection/results,
92c1260."""
PLAIN = "Describe in one sentence what changed between the {} images, or state that nothing did."
_MOST_WORDS = 10
_MOST_REGIONS = 3
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LISTED = """
a about above along an and are around as at be been both by can for from has have in into is it its
many near of on one or other over part place scene side sides several some taken that the their
there these this to two up was were which while with
"""
_EMPTY = frozenset(_LISTED.split())
"""Words without information about a change."""


def levir_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask what changed between two images of LEVIR-CC."""
    return _turn(sample, ctx, published=PUBLISHED["levir"])


def dubai_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask what changed between two images of Dubai-CC."""
    return _turn(sample, ctx, published=PUBLISHED["dubai"])


def sysu_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask what changed between two images of SYSU-CD."""
    return _turn(sample, ctx, published=PUBLISHED["sysu"])


def muds_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask what changed over four images of MUDS."""
    return _turn(sample, ctx, published=PUBLISHED["muds"], number="four")


def blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target without the correct answer, for `geovlm predict`."""
    return {"captions": [""], "changed": True}


def shared_words(captions: list[str]) -> list[str]:
    """Return the content words that most captions have, in order of appearance, at most ten."""
    number: Counter[str] = Counter()
    for caption in captions:
        words = dict.fromkeys(answers.words(caption))
        number.update([word for word in words if word not in _EMPTY])
    if not number:
        return []
    least = min(len(captions) // 2 + 1, max(number.values()))
    return [word for word, count in number.items() if count >= least][:_MOST_WORDS]


def place_of(box: list[float], size: tuple[int, int]) -> str:
    """Return the part of the image that holds a box's centre, by thirds: `upper left`, `centre`."""
    x, y = (box[0] + box[2]) / 2 / size[0], (box[1] + box[3]) / 2 / size[1]
    row = ("upper", "", "lower")[max(0, min(2, int(3 * y)))]
    column = ("left", "", "right")[max(0, min(2, int(3 * x)))]
    if row:
        return f"{row} {column or 'middle'}"
    return column or "centre"


def _turn(sample: Sample, ctx: PromptContext, *, published: str, number: str = "two") -> Turn:
    own: ChangeTaskOptions = ctx.options or ChangeTaskOptions()
    # the chat template puts the images in: their tokens are left out
    asked = {"earthdial": published.replace("<image>", ""), "plain": PLAIN.format(number)}
    captions: Any = sample.target["captions"]
    changed = bool(sample.target["changed"])
    return Turn(
        question=asked[own.wording],
        answer=references.best(captions, changed=changed),
        reasoning=_reasoning(sample, ctx) if changed else f"The {number} images show the same.",
    )


def _reasoning(sample: Sample, ctx: PromptContext) -> str:
    """Return the reasoning: the marked regions of the changes, else what most captions mention."""
    regions: Any = sample.target.get("regions")
    if regions:
        places = [place_of(box, ctx.image_sizes[-1]) for box in regions]
        number = _NUMBERS[len(regions)] if len(regions) < len(_NUMBERS) else str(len(regions))
        differ = "region differs" if len(regions) == 1 else "regions differ"
        where = ", ".join(dict.fromkeys(places[:_MOST_REGIONS]))
        return f"{number.capitalize()} {differ}: {where}."
    captions: Any = sample.target["captions"]
    stated = [each for each in captions if not answers.says_unchanged(each)]
    shared = shared_words(stated or captions)
    return f"What differs: {', '.join(shared)}." if shared else "The images differ."
