"""Makes the samples, questions and answers of the seven tasks.

Wording follows EarthDial's xBD questions (hiyamdebary/EarthDial, 92c1260) without its task and
sensor tokens. The reasoning states what the labels hold: number, places and damage of buildings.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

from geovlm import boxes
from geovlm.api import PromptContext, Sample, Turn
from geovlm_xbd import COUNTS, DAMAGES, DISASTERS, VERDICTS

MAX_ASSESS = 4
"""Largest number of marked buildings per pair."""
MAX_REFER = 2
"""Largest number of referred groups per pair."""
UNDAMAGED = 8
"""One in this many pairs without damage is a sample of `xbd/detect`."""
_NUMBERS = ("no", "one", "two", "three", "four", "five")


def detect_samples(sample: Sample) -> Iterator[Sample]:
    """Yield a pair with its damaged buildings; of the pairs without any, one in eight.

    Most tiles of a disaster show no damage, and answering "none" to all of them would earn more
    than half of the reward of correct answers. A hash of the id decides which ones are kept.
    """
    hit = [box for box, level in _buildings(sample) if level != "no-damage"]
    sound = not hit and not sample.target.get("perhaps_damaged")
    if hit or (sound and int(_hash(sample.id), 16) % UNDAMAGED == 0):
        yield derive(sample, "detect", {"boxes": hit})


def detect_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for all damaged buildings."""
    return Turn(
        question="Locate all damaged buildings in the post-disaster image.",
        answer=boxes.write(sample.target["boxes"], ctx),  # type: ignore[arg-type]
        reasoning=reasoning(sample, ctx),
    )


def refer_samples(sample: Sample) -> Iterator[Sample]:
    """One sample per damage level and part of the image that holds such buildings, at most two."""
    groups: dict[tuple[str, str], list[Any]] = {}
    places = _places(sample)
    for (box, level), place in zip(_buildings(sample), places, strict=True):
        groups.setdefault((level, place), []).append(box)
    chosen = sorted(groups, key=lambda key: _hash(f"{sample.id}{key}"))[:MAX_REFER]
    for level, place in chosen:
        found = groups[level, place]
        yield derive(
            sample,
            f"refer/{level}/{place.replace(' ', '-')}",
            {"boxes": found, "level": level, "place": place},
        )


def refer_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the buildings of one level in one part of the image."""
    level, place = str(sample.target["level"]), str(sample.target["place"])
    found: Any = sample.target["boxes"]
    noun = "building" if len(found) == 1 else "buildings"
    return Turn(
        question=f"Identify the {_adjective(level)} {noun} at the {place} of the post-disaster "
        "image.",
        answer=boxes.write(found, ctx),
        reasoning=reasoning(sample, ctx),
    )


def assess_samples(sample: Sample) -> Iterator[Sample]:
    """One sample per marked building, at most four, spread over the levels."""
    seen: dict[str, int] = {}
    ranked = []
    for number, (box, level) in enumerate(_buildings(sample)):
        ranked.append((seen.get(level, 0), _hash(f"{sample.id}{number}"), number, box, level))
        seen[level] = seen.get(level, 0) + 1
    for _, _, number, box, level in sorted(ranked)[:MAX_ASSESS]:
        yield derive(sample, f"assess/{number}", {"boxes": [box], **closed(level, DAMAGES)})


def assess_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the damage level of the building in a box."""
    box: Any = sample.target["boxes"]
    level = str(sample.target["answer"])
    marked = boxes.write(box, ctx)
    place = place_of(box[0], ctx.image_sizes[-1])
    return Turn(
        question=f"Compare the building at {marked} between the two images and classify its level "
        f"of damage. Classes: {', '.join(DAMAGES)}.",
        answer=level,
        reasoning=f"The building at the {place} stands in the first image; in the second "
        f"{_STATES[level]}.",
    )


def disaster_samples(sample: Sample) -> Iterator[Sample]:
    """One sample per pair whose labels name the type."""
    if sample.target["disaster_type"] is None:
        return
    yield derive(sample, "disaster", closed(str(sample.target["disaster_type"]), DISASTERS))


def disaster_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the type of disaster."""
    return Turn(
        question="Which type of disaster happened between the two images? "
        f"Classes: {', '.join(DISASTERS)}.",
        answer=str(sample.target["answer"]),
        reasoning=reasoning(sample, ctx),
    )


def affected_samples(sample: Sample) -> Iterator[Sample]:
    """One sample per pair whose labels answer it."""
    hit = _hit(sample)
    if hit or not sample.target.get("perhaps_damaged"):
        yield derive(sample, "affected", closed("yes" if hit else "no", VERDICTS))


def affected_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask whether any building is damaged."""
    return Turn(
        question="Is any building affected by the disaster? Answer yes or no.",
        answer=str(sample.target["answer"]),
        reasoning=reasoning(sample, ctx),
    )


def count_samples(sample: Sample) -> Iterator[Sample]:
    """One sample per pair whose labels answer it."""
    if _is_counted(sample):
        yield derive(sample, "count", closed(COUNTS[min(_hit(sample), 3)], COUNTS))


def count_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask how many buildings are damaged."""
    return Turn(
        question="How many buildings are damaged? Answer none, one, two or many.",
        answer=str(sample.target["answer"]),
        reasoning=reasoning(sample, ctx),
    )


def caption_samples(sample: Sample) -> Iterator[Sample]:
    """One sample per pair of known type and count, its caption EarthDial's template sentence."""
    if sample.target["disaster_type"] is None or not _is_counted(sample):
        return
    hit = COUNTS[min(3, _hit(sample))]
    kind = str(sample.target["disaster_type"])
    if hit == "none":
        text = f"There has been a {kind} disaster, however it did not affect the buildings."
    else:
        noun = "building" if hit == "one" else "buildings"
        text = f"There has been a {kind} disaster that resulted in {hit} damaged {noun}."
    yield derive(
        sample,
        "caption",
        {
            "captions": [text],
            "facts": {"type": kind, "count": _UNAFFECTED if hit == "none" else hit},
            "fact_vocabularies": {
                "type": list(DISASTERS),
                "count": [_UNAFFECTED, *COUNTS[1:]],
            },
        },
    )


def caption_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for one sentence."""
    captions: Any = sample.target["captions"]
    return Turn(
        question="Please describe the damage observed in the post-disaster image.",
        answer=captions[0],
        reasoning=reasoning(sample, ctx),
    )


def place_of(box: Any, size: tuple[int, int]) -> str:
    """Return the part of the image that holds a box's centre, by thirds: `upper left`, `centre`."""
    x, y = (box[0] + box[2]) / 2 / size[0], (box[1] + box[3]) / 2 / size[1]
    row = ("upper", "", "lower")[min(2, int(3 * y))]
    column = ("left", "", "right")[min(2, int(3 * x))]
    if not row and not column:
        return "centre"
    if not row:
        return column
    return f"{row} {column}" if column else f"{row} middle"


_STATES = {
    "no-damage": "it stands as before",
    "minor-damage": "it is lightly hit",
    "major-damage": "it is heavily hit",
    "destroyed": "it is gone",
}
_UNAFFECTED = "did not affect"
"""End of the caption if no building is damaged."""


def _buildings(sample: Sample) -> list[tuple[Any, str]]:
    found: Any = sample.target["boxes"]
    levels: Any = sample.target["damage"]
    return list(zip(found, levels, strict=True))


def _hit(sample: Sample) -> int:
    """Return the number of damaged buildings, of those with a level that are not left out."""
    return sum(level != "no-damage" for _, level in _buildings(sample))


def _is_counted(sample: Sample) -> bool:
    """True if the buildings left out (unclassified or too small) could not change the answer."""
    return _hit(sample) >= len(COUNTS) - 1 or not sample.target.get("perhaps_damaged")


def _places(sample: Sample) -> list[str]:
    """Return the part of the image of each building."""
    from geovlm.raster import image_size

    size = image_size(sample.images[-1])
    return [place_of(box, size) for box, _ in _buildings(sample)]


def derive(sample: Sample, suffix: str, target: dict[str, Any]) -> Sample:
    """Return the task's sample: its own target, and the pair's buildings to reason from."""
    record: dict[str, Any] = {
        "buildings": [[*box, level] for box, level in _buildings(sample)],
        "left_out": sample.target.get("left_out", 0),
    }
    return dataclasses.replace(sample, id=f"{sample.id}/{suffix}", target={**target, **record})


def closed(answer: str, vocabulary: tuple[str, ...]) -> dict[str, Any]:
    """Return the target of a question whose answer is one of a few words."""
    return {"answer": answer, "labels": [answer], "vocabulary": list(vocabulary)}


def reasoning(sample: Sample, ctx: PromptContext) -> str:
    """Return the reasoning: places and damage; up to three damaged buildings one by one."""
    found: Any = sample.target["buildings"]
    size = ctx.image_sizes[-1]
    if not found:
        unclear = sample.target.get("left_out")
        return (
            "No building is clear enough to be judged."
            if unclear
            else "No building stands in either image."
        )
    hit = [(place_of(b, size), b[4]) for b in found if b[4] != "no-damage"]
    standing = f"{_number(len(found))} building{'s' if len(found) > 1 else ''} before"
    if not hit:
        return f"{standing.capitalize()}; none is damaged."
    if len(hit) <= 3:
        each = ", ".join(f"{place} {level}" for place, level in hit)
        return f"{standing.capitalize()}; after, {each}."
    return f"{standing.capitalize()}; after, {_number(len(hit))} are damaged."


def _number(n: int) -> str:
    return _NUMBERS[n] if n < len(_NUMBERS) else str(n)


def _adjective(level: str) -> str:
    return {
        "no-damage": "undamaged",
        "minor-damage": "slightly damaged",
        "major-damage": "heavily damaged",
        "destroyed": "destroyed",
    }[level]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
