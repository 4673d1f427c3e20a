"""The fast reader of boxes finds the same as a slow one, which reads number by number."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from geovlm import boxes
from geovlm.api import ModelProfile, PromptContext
from geovlm.boxes import Box

WIDE = (10_000, 10_000)
AS_IT_STANDS = PromptContext(  # one unit of the frame is one pixel
    profile=ModelProfile(name="p", model_types=("p",), box_frame="input_pixels", box_angle=True),
    image_sizes=(WIDE,),
    input_sizes=(WIDE,),
)
GROUP = re.compile(
    r"\[([^\[\]{}()<>]*)\]"
    r"|\{((?:<[^\[\]{}()<>]*>\|?){4,5})\}"
    r"|\(([^\[\]{}()<>]*)\)\s*,?\s*\(([^\[\]{}()<>]*)\)"
)
NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
PIECES = st.sampled_from(
    [
        *("[", "]", "{", "}", "(", ")", "<", ">", "|", ",", ", ", " ", "\n", "\xa0", "\x1c"),
        *("-", "+", ".", "e", "1", "20", "300", "4000", "0.5", ".5", "7.", "1e2", "1e999"),
        *("nan", "inf", "1_0", "٣", "[10, 20, 300, 400]", "[10 20 300 400 30]"),
        *("{<1><2><30><40>|<5>}", "(1,2),(30,40)", '{"bbox": [1, 2, 30, 40]}', "<answer>"),
    ]
)
SIGNED = st.sampled_from(["1", "20", "-3", "+4.5", "300.", "5e2", "40", "4000"])
BETWEEN = st.sampled_from([",", ", ", " ", "|", " ,, ", "\n"])
GROUPS = st.lists(SIGNED, min_size=3, max_size=6).flatmap(
    lambda numbers: BETWEEN.map(lambda between: f"[{between.join(numbers)}]")
)


def read_slowly(text: str) -> list[tuple[float, ...]]:
    found = []
    for plain, geochat, first, second in GROUP.findall(text):
        parts = re.sub(r"[,<>|]", " ", plain or geochat or f"{first},{second}").split()
        if len(parts) in (4, 5) and all(NUMBER.fullmatch(part) for part in parts):
            found.append(tuple(map(float, parts)))
    return found


def clipped(group: tuple[float, ...]) -> Box:
    x0, y0, x1, y1 = group[:4]
    return Box(max(x0, 0.0), max(y0, 0.0), min(x1, WIDE[0]), min(y1, WIDE[1]))


def has_area(group: tuple[float, ...]) -> bool:
    box = clipped(group)
    return max(map(abs, group)) < 1e9 and box.x0 < box.x1 and box.y0 < box.y1


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | GROUPS, max_size=12).map("".join))
def test_mangled_text_names_the_same_boxes(text: str) -> None:
    unturned = [group for group in read_slowly(text) if not sum(group[4:])]
    read = [box for box in boxes.parse(text, AS_IT_STANDS) if not box.angle_deg]
    assert read == [clipped(group) for group in unturned if has_area(group)]


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES | GROUPS, max_size=12).map("".join))
def test_what_is_read_is_what_is_stripped(text: str) -> None:
    without = boxes.strip(text)
    assert bool(read_slowly(text)) == (without != " ".join(text.split()))
