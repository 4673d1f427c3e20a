r"""Makes samples, questions and answers of the three tasks.

A published question marks the place of an image by `<image>`. The chat template of the model puts
images in, so a question here is the published one without this mark. Every other character is kept:
the real line feed in two of the questions, the literal backslash and `n` in the third.
Source: hiyamdebary/EarthDial, src/earthdial/eval/{rs_detection,rs_region_captioning,
rs_grounding_description}/results, 92c1260.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from geovlm import boxes
from geovlm.api import Json, PromptContext, Sample, Turn
from geovlm_vhr10 import COLOURS, KINDS, SIZES, Vhr10TaskOptions
from geovlm_vhr10.groups import percent, place_of

IMAGE = "<image>"
"""Mark of the image in a published question."""
REFER = "[refer] [hr_rgb_0.5] <image> \n Give me the location of <ref>{}</ref>"
REGION = r" [identify] [hr_rgb_0.5] <image> \n what object is in this location <box>[[{}, 0]]</box>"
GROUND = (
    "[grounding] [hr_rgb_0.5] <image> \n Describe the image in detail. Detect objects location. "
    "Describe objects size. Where objects are located?. Describe relation between objects."
)
_BEGIN = "In the satellite image, there is"


def refer_samples(record: Sample) -> Iterator[Sample]:
    """Yield the groups that are asked for by their phrase."""
    held: Any = record.target["boxes"]
    for group in _groups(record, use="refer"):
        target = {
            "boxes": [held[member] for member in group["members"]],
            "label": group["label"],
            "phrase": group["phrase"],
        }
        yield _derive(record, f"refer/{group['members'][0]}", target, group)


def refer(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the objects of a phrase; the answer is boxes."""
    phrase, held = str(sample.target["phrase"]), boxes.target_boxes(sample.target)
    plain = f"Give the location of {_plural(phrase, len(held))}. Answer with {_shape(ctx)}."
    fit = "One object fits" if len(held) == 1 else f"{len(held)} objects fit"
    where = dict.fromkeys(place_of(box, ctx.image_sizes[-1]) for box in held)
    return Turn(
        question=_question(REFER.format(phrase), plain, ctx),
        answer=boxes.write(held, ctx),
        reasoning=f"I look for {phrase}. {fit}, at the {', '.join(where)}.",
    )


def region_samples(record: Sample) -> Iterator[Sample]:
    """Yield the single objects that are to be described.

    Facts for the robust reward are what the box in the question does not give away: class, colour
    and size; size is relative to the class. Number and place are not among them.
    """
    held: Any = record.target["boxes"]
    percents: Any = record.target["percent"]
    for group in _groups(record, use="region"):
        facts = {name: group[name] for name in ("label", "colour", "size") if group[name]}
        target = {
            "captions": [group["phrase"]],
            "boxes": [held[member] for member in group["members"]],
            "percent": percents[group["members"][0]],
            "facts": facts,
            "fact_vocabularies": {name: _VOCABULARIES[name] for name in facts},
        }
        yield _derive(record, f"region/{group['members'][0]}", target, group)


def region(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the object in a box: number, colour, size, class and place."""
    (box, *_), size = boxes.target_boxes(sample.target), ctx.image_sizes[-1]
    captions: Any = sample.target["captions"]
    facts: Any = sample.target["facts"]
    cut: Any = sample.target.get("percent") or percent(box[:4], size)
    numbers = ", ".join(map(str, cut))
    plain = (
        f"What object is at {boxes.write([box], ctx)}? State number, colour, size, class and "
        "place in the image."
    )
    seen = " ".join(facts[name] for name in ("colour", "size", "label") if name in facts)
    return Turn(
        question=_question(REGION.format(numbers), plain, ctx),
        answer=captions[0],
        reasoning=f"The centre of the box lies at the {place_of(box, size)}. Inside I see {seen}.",
    )


def ground_samples(record: Sample) -> Iterator[Sample]:
    """Yield the image, to be described group by group."""
    groups = _groups(record)
    members = [member for group in groups for member in group["members"]]
    held: Any = record.target["boxes"]
    labels: Any = record.target["box_labels"]
    parts = [f"{group['noun']} located at {group['place']}" for group in groups]
    target = {
        "text": f"{_BEGIN} {', '.join(parts)}.",
        "boxes": [held[member] for member in members],
        "box_labels": [labels[member] for member in members],
        "parts": [[group["noun"], len(group["members"]), group["place"]] for group in groups],
    }
    yield _derive(record, "ground", target)


def ground(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for a description of the image, with boxes after its phrases."""
    parts: Any = sample.target["parts"]
    left, said = list(boxes.target_boxes(sample.target)), []
    for noun, number, place in parts:
        places = " ".join(boxes.write([box], ctx) for box in left[:number])
        left = left[number:]
        said.append(f"{noun} {places} located at {place}")
    plain = (
        "Describe the image in detail: number, colour, size, class and place of its objects. Write "
        f"{_shape(ctx)} after each phrase."
    )
    total = len(boxes.target_boxes(sample.target))
    objects = "1 object" if total == 1 else f"{total} objects"
    groups = "1 group" if len(parts) == 1 else f"{len(parts)} groups"
    where = ", ".join(dict.fromkeys(place for _, _, place in parts))
    return Turn(
        question=_question(GROUND, plain, ctx),
        answer=f"{_BEGIN} {', '.join(said)}.",
        reasoning=f"I mark {objects} in {groups}: {where}.",
    )


def blank_refer(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for the objects that a phrase describes."""
    phrase = str(said["phrase"]).strip()
    return {"boxes": [], "phrase": phrase, "label": phrase}


def blank_region(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for a description of the box that the user marks."""
    return {"captions": [""], "facts": {}, "boxes": said["boxes"]}


def blank_ground(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for a description of the image, with boxes after the phrases."""
    return {"text": "", "boxes": [], "box_labels": [], "vocabulary": list(KINDS), "parts": []}


_VOCABULARIES = {"label": list(KINDS), "colour": list(COLOURS), "size": list(SIZES)}


def _groups(record: Sample, use: str = "") -> list[Any]:
    groups: Any = record.target["groups"]
    return [group for group in groups if not use or group["use"] == use]


def _derive(
    record: Sample, suffix: str, target: dict[str, Any], group: Mapping[str, Any] | None = None
) -> Sample:
    """Return a sample of its own; `size_group` and `task_type` are those of EarthDial's rows."""
    meta = dict(record.meta)
    if group is not None:
        meta |= {"size_group": group["size"], "task_type": "ref"}
    return dataclasses.replace(record, id=f"{record.id}/{suffix}", target=target, meta=meta)


def _question(published: str, plain: str, ctx: PromptContext) -> str:
    own: Vhr10TaskOptions = ctx.options or Vhr10TaskOptions()
    return published.replace(IMAGE, "") if own.wording == "earthdial" else plain


def _plural(phrase: str, number: int) -> str:
    """Return a phrase with its class in the plural where it names several objects."""
    noun, at, place = phrase.partition(" at the ")
    return f"{noun}s{at}{place}" if number > 1 and not noun.endswith("s") else phrase


def _shape(ctx: PromptContext) -> str:
    return "boxes [x0, y0, x1, y1, angle]" if ctx.profile.box_angle else "boxes [x0, y0, x1, y1]"
