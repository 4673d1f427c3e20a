"""Takes EarthDial's template sentences apart into facts that a reward can check one by one.

A fixed sentence shares most words with every template, so words make a poor score. Number and place
of a region are given away by its box and are not among the facts.
"""

from __future__ import annotations

import re
from typing import NamedTuple

OBJECTS = (
    *("airplane", "ship", "storage tank", "baseball diamond", "tennis court"),
    *("basketball court", "ground track field", "harbor", "bridge", "vehicle", "building"),
    *("car", "plane", "tree", "pool", "person", "bicycle", "othervehicle", "dontcare"),
    *("container", "cell-container", "ore-oil", "dredger", "fishing", "law-enforce"),
)
SIZES = ("small", "moderate", "medium", "large")
COLOURS = (
    *("aqua", "black", "blue", "fuchsia", "gray", "green", "lime", "maroon", "navy", "olive"),
    *("orange", "purple", "red", "silver", "teal", "white", "yellow", "aliceblue", "beige"),
    *("burlywood", "cadetblue", "cornflowerblue", "darkgray", "darkkhaki", "darkolivegreen"),
    *("darkseagreen", "darkslateblue", "darkslategray", "dimgray", "gainsboro", "khaki"),
    *("lavender", "lightblue", "lightgoldenrodyellow", "lightgray", "lightslategray"),
    *("lightsteelblue", "mediumpurple", "palegoldenrod", "powderblue", "rosybrown", "sienna"),
    *("slategray", "tan"),
)
DISASTERS = ("volcano", "fire", "earthquake", "flood", "tsunami", "wind")
DAMAGED = ("did not", "one", "two", "many")
"""Tells the number of damaged buildings; `did not effect the buildings`."""
_REGION = re.compile(r"\d+ (?:(\S+) )?(small|moderate|medium|large) (.+?) at the ")
_VOCABULARIES = {
    "object": list(OBJECTS),
    "size": list(SIZES),
    "colour": list(COLOURS),
    "disaster": list(DISASTERS),
    "number": list(DAMAGED),
}


class Stated(NamedTuple):
    """Facts of a sentence, and all values that each of them can have; empty if it is none."""

    facts: dict[str, str]
    vocabularies: dict[str, list[str]]


def of_region(caption: str) -> Stated:
    """Return object, size and colour of `1 gray medium airplane at the top left`."""
    match = _REGION.match(caption)
    if match is None or match[3] not in OBJECTS:
        return Stated({}, {})
    found = {"object": match[3], "size": match[2]}
    if match[1] in COLOURS:
        found["colour"] = match[1]
    return _stated(found)


def of_damage(caption: str) -> Stated:
    """Return disaster and number of damaged buildings of xBD's template."""
    words = caption.lower()
    disaster = [name for name in DISASTERS if f" {name} disaster" in words]
    number = [name for name in DAMAGED if f" {name} " in words]
    if len(disaster) != 1 or len(number) != 1:
        return Stated({}, {})
    return _stated({"disaster": disaster[0], "number": number[0]})


def _stated(found: dict[str, str]) -> Stated:
    return Stated(found, {name: _VOCABULARIES[name] for name in found})
