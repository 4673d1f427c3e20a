"""Takes region captions apart into facts that a reward can check one by one.

GeoChat builds its region captions from attributes: count, colour, size, kind, place
(`1 gray large ship at the top left`). A constant sentence shares most words with all of them, so
words make a poor score; facts do not.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

from geovlm import answers

Facts: TypeAlias = dict[str, str]
Vocabularies: TypeAlias = dict[str, list[str]]

COUNTS = tuple(str(number) for number in range(1, 21))
COLOURS = (
    *("black", "blue", "brown", "cyan", "gold", "golden", "gray", "green", "grey", "lime"),
    *("maroon", "navy", "olive", "orange", "pink", "purple", "red", "silver", "tan", "teal"),
    *("white", "yellow"),
)
SIZES = ("large", "small", "medium", "tiny", "huge", "big")
POSITIONS = (
    *("top left", "top right", "bottom left", "bottom right"),
    *("top", "bottom", "left", "right", "center"),
)
OBJECTS = (
    # kinds of the detection sets that GeoChat draws on, as it spells them
    *("a220", "a321", "a330", "a350", "airplane", "airport", "arj21", "baseball-diamond"),
    *("baseball-field", "baseballfield", "basketball-court", "basketballcourt", "boeing737"),
    *("boeing747", "boeing777", "boeing787", "bridge", "building", "bus", "c919", "car"),
    *("cargo-truck", "chimney", "container-crane", "dam", "dry-cargo-ship", "dump-truck"),
    *("engineering-ship", "excavator", "expressway-service-area", "expressway-toll-station"),
    *("fishing-boat", "football-field", "golffield", "ground-track-field", "groundtrackfield"),
    *("harbor", "helicopter", "helipad", "house", "intersection", "large-vehicle"),
    *("liquid-cargo-ship", "motorboat", "other-airplane", "other-ship", "other-vehicle"),
    *("overpass", "passenger-ship", "plane", "roundabout", "ship", "small-car", "small-vehicle"),
    *("soccer-ball-field", "stadium", "storage-tank", "storagetank", "swimming-pool", "tank"),
    *("tennis-court", "tenniscourt", "tractor", "trailer", "trainstation", "truck-tractor"),
    *("tugboat", "van", "vehicle", "warship", "windmill"),
    *("storage tank", "swimming pool", "tennis court", "basketball court", "baseball diamond"),
)

_NO_KIND = re.compile(r"\d+\b|\bnone\b")  # GeoChat writes "None" for a missing colour
_ENDS = re.compile(
    r"\s+(?:at|in|on|near|next|close|located|with|by|along|beside|that|which|of|anchored|parked"
    r"|docked|stopped|surrounded|inside|around|\w+ing)(?![\w-])|[,.;]"
)


class Stated(NamedTuple):
    """Facts of a caption, and all values that each of them can have."""

    facts: Facts
    vocabularies: Vocabularies


def facts(caption: str) -> Stated:
    """Return the facts of a caption.

    Names are `count`, `colour`, `size`, `object`, `position`; a fact that the caption does not
    state is absent. A fact counts only if the caption names exactly one entry of its vocabulary, by
    the rule that scores answers, so the caption itself states all its facts. Without a clear object
    (another kind of object is mentioned too, or none) there are no facts at all.
    """
    text = answers.normalise(caption)
    head = _NO_KIND.sub("", _ENDS.split(text, maxsplit=1)[0])
    words = (word for word in head.split() if word not in COLOURS and word not in SIZES)
    thing = " ".join(words)
    vocabularies: Vocabularies = {
        "count": list(COUNTS),
        "colour": list(COLOURS),
        "size": list(SIZES),
        "object": _one_spelling([thing, *OBJECTS]) if thing else [],
        "position": list(POSITIONS),
    }
    stated: Facts = {}
    for name, vocabulary in vocabularies.items():
        named = answers.labels(text, vocabulary)
        if len(named) == 1:
            stated[name] = named[0]
    if "object" not in stated or not answers.labels(head, [stated["object"]]):
        return Stated({}, {})
    return Stated(stated, {name: vocabularies[name] for name in stated})


def _one_spelling(names: list[str]) -> list[str]:
    """Return the names without later spellings of the same: `storagetank`, `storage-tank`."""
    spelled: dict[str, str] = {}
    for name in names:
        spelled.setdefault(re.sub(r"[\W_]", "", name), name)
    return list(spelled.values())
