"""Every notation of the table is read once, in the frame and order that it or the profile names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geovlm import boxes
from geovlm.api import BoxFrame, BoxOrder, ModelProfile, PromptContext, RewardContext
from geovlm.boxes import NOTATIONS, Box, Notation, reading
from geovlm.rewards.boxes import matched_iou

SIZE = (1000, 500)
EXAMPLES = st.sampled_from([each.example for each in NOTATIONS])
PIECES = st.sampled_from(
    [
        *("[", "]", "{", "}", "<box>", "</box>", '"box_2d":', "bbox_2d =", "<loc0001>"),
        *("<|box_end|>", "<|begin_of_box|>", "[1, 2, 30, 40]", "(1,2)", "1 2 30 40"),
        *("ship", ", ", "\n", "label"),
    ]
)


def context(frame: BoxFrame = "norm1000", order: BoxOrder = "xyxy") -> PromptContext:
    profile = ModelProfile(name="p", model_types=("p",), box_frame=frame, box_order=order)
    return PromptContext(profile=profile, image_sizes=(SIZE,), input_sizes=(SIZE,))


def by_name(name: str) -> Notation:
    return next(each for each in NOTATIONS if each.name == name)


@pytest.mark.parametrize("notation", NOTATIONS, ids=lambda notation: notation.name)
def test_each_example_is_one_box_of_its_notation(notation: Notation) -> None:
    (group,) = reading.groups(notation.example)
    assert group.notation is notation
    assert len(boxes.parse(notation.example, context())) == 1


@pytest.mark.parametrize("notation", NOTATIONS, ids=lambda notation: notation.name)
def test_each_example_is_stripped_with_its_marks(notation: Notation) -> None:
    assert boxes.strip(f"a {notation.example} b").replace("{ } ", "") == "a b"


@pytest.mark.parametrize(
    "name",
    [
        "list",
        "bbox_2d",
        "box_2d",
        "points",
        "box tag, lists",
        "box tag, bare numbers",
        "box of GLM",
    ],
)
def test_the_examples_in_thousandths_name_the_same_box(name: str) -> None:
    assert boxes.parse(by_name(name).example, context()) == (Box(120, 22.5, 260, 90),)


@pytest.mark.parametrize("frame", ["norm1000", "norm1", "input_pixels"])
@pytest.mark.parametrize("order", ["xyxy", "yxyx"])
def test_location_tokens_are_bins_and_y_first_for_every_family(
    frame: BoxFrame, order: BoxOrder
) -> None:
    # 512 of 1,024 along 500 px is 250 px; 256 of 1,024 along 1,000 px is 250 px
    text = "<loc0512><loc0256><loc1023><loc0512> ship"
    assert boxes.parse(text, context(frame, order)) == (Box(250, 250, 500, 1023 / 1024 * 500),)


@pytest.mark.parametrize("frame", ["norm1000", "norm1", "input_pixels"])
@pytest.mark.parametrize("order", ["xyxy", "yxyx"])
def test_box_2d_is_in_thousandths_and_y_first_for_every_family(
    frame: BoxFrame, order: BoxOrder
) -> None:
    text = '```json\n[{"box_2d": [500, 250, 1000, 500], "label": "ship"}]\n```'
    assert boxes.parse(text, context(frame, order)) == (Box(250, 250, 500, 500),)


def test_bbox_2d_is_x_first_in_the_frame_of_the_family() -> None:
    text = '{"bbox_2d": [250, 100, 500, 200]}'
    assert boxes.parse(text, context("input_pixels", "yxyx")) == (Box(250, 100, 500, 200),)
    assert boxes.parse(text, context("norm1000", "yxyx")) == (Box(250, 50, 500, 100),)


@pytest.mark.parametrize("text", ["[1, 2, 3, 4]", "<box>[[1, 2, 3, 4]]</box>", "(1,2),(3,4)"])
def test_marks_that_name_no_order_leave_it_to_the_family(text: str) -> None:
    assert boxes.parse(text, context("input_pixels", "yxyx")) == (Box(2, 1, 4, 3),)


def test_a_mark_holds_for_all_boxes_of_its_list_and_for_no_other() -> None:
    text = '{"box_2d": [[2, 1, 4, 3], [6, 5, 8, 7]], "near": [10, 20, 30, 40]}'
    found = boxes.parse(text, context())
    assert found == (Box(1, 1, 3, 2), Box(5, 3, 7, 4), Box(10, 10, 30, 20))


def test_several_boxes_in_one_tag_are_stripped_with_it() -> None:
    text = "<ref>ship</ref><box>[[1, 2, 3, 4], [5, 6, 7, 8]]</box> at sea"
    assert boxes.strip(text) == "<ref>ship</ref> , at sea"


@pytest.mark.parametrize(
    "text",
    [
        "<loc0001><loc0002><loc0003>",
        "<loc0001><loc0002><loc0003><loc1024>",
        "<loc001><loc002><loc003><loc004>",
        "<box>ship</box>",
        "<box>1 2 3</box>",
        '{"box_2d": "1, 2, 3, 4"}',
        "box_2d: 1, 2, 3, 4",
        "<|begin_of_box|>yes<|end_of_box|>",
    ],
)
def test_what_is_no_box_is_neither_read_nor_stripped(text: str) -> None:
    assert boxes.parse(text, context()) == ()
    assert boxes.strip(text) == text


def test_location_tokens_in_braces_are_not_read_as_geochat_writes() -> None:
    text = "{<loc0512><loc0256><loc1023><loc0512>}"
    assert boxes.parse(text, context("norm100")) == (Box(250, 250, 500, 1023 / 1024 * 500),)


@settings(deadline=None)
@given(st.lists(EXAMPLES | PIECES, max_size=10).map("".join))
def test_no_character_belongs_to_two_boxes(text: str) -> None:
    end = 0
    for group in reading.groups(text):
        assert end <= group.start < group.end <= len(text)
        end = group.end


@settings(deadline=None)
@given(st.lists(EXAMPLES | PIECES, max_size=10).map("".join))
def test_strip_changes_a_text_exactly_if_a_box_is_read(text: str) -> None:
    assert bool(reading.read(text).numbers) == (boxes.strip(text) != " ".join(text.split()))


@settings(deadline=None)
@given(st.lists(EXAMPLES, max_size=8))
def test_each_of_several_notations_is_read_once(texts: list[str]) -> None:
    assert len(boxes.parse(" and ".join(texts), context())) == len(texts)


def test_a_box_in_two_notations_is_worth_half() -> None:
    ctx = RewardContext(
        task="t",
        sample_id="s",
        question="?",
        answer="",
        target={"boxes": [[120, 22.5, 260, 90]]},
        image_sizes=(SIZE,),
        input_sizes=(SIZE,),
        profile=context().profile,
    )
    once = "<answer><box>[[120, 45, 260, 180]]</box></answer>"
    twice = '<answer>[120, 45, 260, 180] {"box_2d": [45, 120, 180, 260]}</answer>'
    assert matched_iou([once, twice], [ctx, ctx]) == [1.0, 0.5]
