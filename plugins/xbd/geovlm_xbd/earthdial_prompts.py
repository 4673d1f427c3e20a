r"""Asks EarthDial's eight questions about xBD, in its words, with all their quirks.

A published question marks the places of the two images by `<image>` (one of them has a single mark
for both). The chat template of the model puts images in, so a question here is the published one
without these marks. Every other character is kept: blanks, a literal backslash and `n`, and the
stray quotation mark before "Answer in single word.".
Source: hiyamdebary/EarthDial, src/earthdial/eval/rs_change_detection/results/xBD_*.jsonl, 92c1260.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geovlm import boxes
from geovlm.api import Json, PromptContext, Sample, Size, Turn
from geovlm_xbd import COUNTS, DAMAGES, DISASTERS, UNCLASSIFIED, VERDICTS, EarthDialOptions
from geovlm_xbd.earthdial import place_of
from geovlm_xbd.tasks import closed, reasoning

PUBLISHED = {
    "image_1": r"[changedet] [hr_rgb_temp_0.5] <image> <image> \n Analyze the images to identify "
    "the type of disaster that occurred. Options:  volcano, fire, earthquake, flood, tsunami, "
    "wind.",
    "image_2": r" [hr_rgb_temp_0.5] <image>  <image> \n Are there any buildings affected due to "
    'disaster? Please answer yes or no."Answer in single word.',
    "image_3": r" [hr_rgb_temp_0.5] <image> <image> \n How many building are affected? Please "
    'answer none, one, two or many."Answer in single word.',
    "region_1": r"[identify] [hr_rgb_temp_0.5] <image> <image> \n Compare the building at "
    "<box>[[{}, 0]]</box> between the pre-disaster and post-disaster images. In the post-disaster "
    "image, classify the level of damage. Classes: no-damage, destroyed, minor-damage, "
    'major-damage."Answer in single word.',
    "region_2": r"[identify] [hr_rgb_temp_0.5] <image> \n Is this building  at <box>[[{}, 0]]</box>"
    " affected due to disaster in the second image? Please answer yes or no."
    '"Answer in single word.',
    "caption": r"[grounding] [hr_rgb_temp_0.5] <image> <image> \n Please describe the damage "
    "observed in the post-disaster image.",
    "detect": r"[refer] [hr_rgb_temp_0.5] <image> <image> \n Locate all large <ref>buildings</ref> "
    "in the post-disaster image.",
    "refer": r"[refer] [hr_rgb_temp_0.5] <image> <image> \n Identify the <ref>{level} building"
    "</ref> at {place} of the post-disaster image.",
}
"""Question of each task, byte for byte; `{}` is a box in percent, `{level}` and `{place}` words."""
PLAIN = {
    "image_1": f"Which type of disaster occurred? Classes: {', '.join(DISASTERS)}.",
    "image_2": "Are any buildings affected by the disaster? Answer yes or no.",
    "image_3": "How many buildings are affected? Answer none, one, two or many.",
    "region_1": "Compare the building at {} between the two images and classify its level of "
    f"damage. Classes: {', '.join(DAMAGES)}.",
    "region_2": "Is the building at {} affected by the disaster? Answer yes or no.",
    "caption": "Describe the damage observed in the post-disaster image in one sentence.",
    "detect": "Locate the five largest buildings in the post-disaster image.",
    "refer": "Identify the {level} building at the {place} of the post-disaster image.",
}


def caption_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for one sentence."""
    captions: Any = sample.target["captions"]
    return _turn("caption", captions[0], sample, ctx)


def image_1_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the type of disaster."""
    return _turn("image_1", str(sample.target["answer"]), sample, ctx)


def image_2_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask whether any building is affected."""
    return _turn("image_2", str(sample.target["answer"]), sample, ctx)


def image_3_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask how many buildings are affected."""
    return _turn("image_3", str(sample.target["answer"]), sample, ctx)


def region_1_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the level of the building in a box."""
    return _region("region_1", sample, ctx)


def region_2_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask whether the building in a box is affected."""
    return _region("region_2", sample, ctx)


def detect_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the largest buildings."""
    held = boxes.target_boxes(sample.target)
    return _turn("detect", boxes.write(held, ctx), sample, ctx)


def refer_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the building of a level in a part of the image."""
    words = {name: str(sample.target[name]) for name in ("level", "place")}
    held = boxes.target_boxes(sample.target)
    return _turn("refer", boxes.write(held, ctx), sample, ctx, **words)


def caption_blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for one sentence."""
    return {"captions": [""], "buildings": []}


def image_1_blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for the type of the disaster."""
    return {**closed(DISASTERS[0], DISASTERS), "buildings": []}


def image_2_blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask whether any building is affected."""
    return {**closed(VERDICTS[0], VERDICTS), "buildings": []}


def image_3_blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask how many buildings are affected."""
    return {**closed(COUNTS[0], COUNTS), "buildings": []}


def region_1_blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for the level of the building that the user marks."""
    return {**closed(DAMAGES[0], (*DAMAGES, UNCLASSIFIED)), "boxes": said["boxes"]}


def region_2_blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask whether the building that the user marks is affected."""
    return {**closed(VERDICTS[0], VERDICTS), "boxes": said["boxes"]}


def detect_blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for the largest buildings."""
    return {"boxes": [], "label": "large building", "buildings": []}


def refer_blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for the building of a level in a part of the image."""
    level, place = said["level"], said["place"]
    return {"boxes": [], "level": level, "place": place, "label": level, "buildings": []}


def percent(box: Sequence[float], size: Size) -> tuple[int, ...]:
    """Return a box in whole percent of the sides, cut off, each number from 1 to 99."""
    sides = (*size, *size)
    return tuple(min(99, max(1, int(v / s * 100))) for v, s in zip(box[:4], sides, strict=True))


def _region(name: str, sample: Sample, ctx: PromptContext) -> Turn:
    (box, *_), size = boxes.target_boxes(sample.target), ctx.image_sizes[-1]
    own: EarthDialOptions = ctx.options or EarthDialOptions()
    faithful = own.wording == "earthdial"
    marked = ", ".join(map(str, percent(box, size))) if faithful else boxes.write([box], ctx)
    answer = str(sample.target["answer"])
    form = PUBLISHED[name].replace("<image>", "") if faithful else PLAIN[name]
    return Turn(
        question=form.format(marked),
        answer=answer,
        reasoning=f"The building at the {place_of(box, size)} {_STATES[answer]}.",
    )


_STATES = {
    "no-damage": "stands in both images, as before",
    "minor-damage": "is lightly hit in the second image",
    "major-damage": "is heavily hit in the second image",
    "destroyed": "is gone in the second image",
    UNCLASSIFIED: "cannot be judged in the second image",
    "yes": "differs between the two images",
    "no": "stands in both images, as before",
}


def _turn(name: str, answer: str, sample: Sample, ctx: PromptContext, **words: str) -> Turn:
    own: EarthDialOptions = ctx.options or EarthDialOptions()
    faithful = own.wording == "earthdial"
    form = PUBLISHED[name].replace("<image>", "") if faithful else PLAIN[name]
    return Turn(
        question=form.format(**words) if words else form,
        answer=answer,
        reasoning=reasoning(sample, ctx),
    )
