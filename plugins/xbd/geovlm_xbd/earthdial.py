"""Makes the samples of EarthDial's eight questions about xBD.

Its row sets are not published, only 25 rows of each (hiyamdebary/EarthDial, src/earthdial/eval/
rs_change_detection/results/xBD_*.jsonl, 92c1260): they are rebuilt from the labels. Questions about
buildings are asked about the five largest of a pair. In the published rows the buildings of a pair
are the same five in detection, region classification and referring.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from geovlm.api import Sample, Size
from geovlm_xbd import COUNTS, DAMAGES, DISASTERS, UNCLASSIFIED, VERDICTS
from geovlm_xbd.tasks import closed, derive

MOST = 5
"""Largest number of buildings of a pair that questions are about."""
_NEAR, _FAR = 0.3, 0.7
_UNAFFECTED = "did not effect"


class Building(NamedTuple):
    """A building of a pair."""

    number: int
    """Position among those with a level, then those without."""
    box: list[float]
    level: str
    area: float


def caption_samples(record: Sample) -> Iterator[Sample]:
    """Yield the pair, if its labels name the disaster."""
    kind = record.target["disaster_type"]
    if kind is None:
        return
    hit = COUNTS[_count(record)]
    text = f"There has been {'an' if kind == 'earthquake' else 'a'} {kind} disaster"
    if hit == "none":
        text = f"{text}, however it {_UNAFFECTED} the buildings."
    else:
        text = f"{text} that resulted in {hit} demaged building{'' if hit == 'one' else 's'}."
    facts = {"type": kind, "count": _UNAFFECTED if hit == "none" else hit}
    vocabularies = {"type": list(DISASTERS), "count": [_UNAFFECTED, *COUNTS[1:]]}
    target = {"captions": [text], "facts": facts, "fact_vocabularies": vocabularies}
    yield _derive(record, "caption", target)


def image_1_samples(record: Sample) -> Iterator[Sample]:
    """Yield the pair, if its labels name the disaster."""
    if record.target["disaster_type"] is not None:
        yield _derive(record, "image_1", closed(str(record.target["disaster_type"]), DISASTERS))


def image_2_samples(record: Sample) -> Iterator[Sample]:
    """Yield every pair; buildings that nobody could judge do not count as affected."""
    yield _derive(record, "image_2", closed("yes" if _count(record) else "no", VERDICTS))


def image_3_samples(record: Sample) -> Iterator[Sample]:
    """Yield every pair; buildings that nobody could judge do not count as affected."""
    yield _derive(record, "image_3", closed(COUNTS[_count(record)], COUNTS))


def region_1_samples(record: Sample) -> Iterator[Sample]:
    """Yield the five largest buildings; without a judged level only where nothing is trained.

    EarthDial keeps the truth "un-classified", which is not among the classes of its question.
    `type` tells such samples apart, so that scores are given for both kinds.
    """
    for each in _largest(record):
        judged = each.level != UNCLASSIFIED
        if judged or not record.target["trains"]:
            target = closed(each.level, (*DAMAGES, UNCLASSIFIED))
            target |= {"boxes": [each.box], "type": "classified" if judged else "unclassified"}
            yield _derive(record, f"region_1/{each.number}", target)


def region_2_samples(record: Sample) -> Iterator[Sample]:
    """Yield those of the five largest buildings that have a level."""
    for each in _largest(record):
        if each.level != UNCLASSIFIED:
            answer = "no" if each.level == DAMAGES[0] else "yes"
            target = {**closed(answer, VERDICTS), "boxes": [each.box]}
            yield _derive(record, f"region_2/{each.number}", target)


def detect_samples(record: Sample) -> Iterator[Sample]:
    """Yield the pair with its five largest buildings, largest first, if it has any."""
    found = _largest(record)
    if found:
        target = {"boxes": [each.box for each in found], "label": "large building"}
        yield _derive(record, "detect", target)


def refer_samples(record: Sample) -> Iterator[Sample]:
    """Yield those damaged ones of the five largest buildings that level and place single out.

    EarthDial also asks where several buildings fit, and takes one of them.
    """
    size = _size(record)
    judged = [each for each in _all(record) if each.level != UNCLASSIFIED]
    number = Counter((each.level, place_of(each.box, size)) for each in judged)
    for each in _largest(record):
        place = place_of(each.box, size)
        if each.level not in (DAMAGES[0], UNCLASSIFIED) and number[each.level, place] == 1:
            target = {"boxes": [each.box], "level": each.level, "place": place}
            yield _derive(record, f"refer/{each.number}", {**target, "label": each.level})


def place_of(box: Sequence[float], size: Size) -> str:
    """Return the part of an image that holds a box's centre: `top left`, `right`, `center`."""
    across, down = (box[0] + box[2]) / 2 / size[0], (box[1] + box[3]) / 2 / size[1]
    row = "top" if down < _NEAR else "bottom" if down > _FAR else ""
    column = "left" if across < _NEAR else "right" if across > _FAR else ""
    return f"{row} {column}".strip() or "center"


def _all(record: Sample) -> list[Building]:
    target: Any = record.target
    judged = zip(target["boxes"], target["damage"], target["areas"], strict=True)
    others = ((each[:4], UNCLASSIFIED, each[4]) for each in target["unclassified"])
    return [Building(number, *each) for number, each in enumerate([*judged, *others])]


def _largest(record: Sample) -> list[Building]:
    """Return the five buildings whose polygons are the largest, largest first."""
    return sorted(_all(record), key=lambda each: (-each.area, each.number))[:MOST]


def _count(record: Sample) -> int:
    """Return the number of damaged buildings; 3 stands for more than two."""
    levels: Any = record.target["damage"]
    return min(3, sum(level != DAMAGES[0] for level in levels))


def _size(record: Sample) -> Size:
    from geovlm.raster import image_size

    return image_size(record.images[-1])


def _derive(record: Sample, suffix: str, target: dict[str, Any]) -> Sample:
    return derive(record, f"earthdial/{suffix}", target)
