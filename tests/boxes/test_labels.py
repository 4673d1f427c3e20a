"""Boxes with labels: what is written is read back, and the forms of the families are read too."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geovlm import boxes
from geovlm.api import BoxFrame, BoxOrder, ModelProfile, PromptContext
from geovlm.boxes import NOTATIONS, Box, Labelled
from geovlm.boxes.labels import unreadable

SIZE = (1000, 500)
CAR, BUS = Box(120, 45, 260, 180), Box(300, 10, 420, 90)
LABELS = ("car", "small car", "storage tank, oil", "bus: line 4")
PLACES = st.tuples(st.integers(0, 900), st.integers(0, 400))
PIECES = st.sampled_from(
    [
        *("[", "]", "{", "}", "<box>", "</box>", '"box_2d":', '"label":', "car", "small", ";", ":"),
        *("<ref>", "<loc0001><loc0001><loc0901><loc0901>", "[1, 2, 30, 40]", ", ", "\n", "bus"),
    ]
)


def context(frame: BoxFrame = "input_pixels", order: BoxOrder = "xyxy") -> PromptContext:
    profile = ModelProfile(name="p", model_types=("p",), box_frame=frame, box_order=order)
    return PromptContext(profile=profile, image_sizes=(SIZE,), input_sizes=(SIZE,))


def read(
    text: str, *, vocabulary: tuple[str, ...] = ("car", "bus")
) -> list[tuple[Box, str | None]]:
    return [tuple(each) for each in boxes.parse_labelled(text, context(), vocabulary=vocabulary)]


@settings(max_examples=60, deadline=None)
@given(
    said=st.lists(st.tuples(PLACES, st.sampled_from(LABELS)), max_size=6),
    frame=st.sampled_from(["input_pixels", "norm1000", "norm100", "norm1"]),
    order=st.sampled_from(["xyxy", "yxyx"]),
)
def test_what_is_written_is_read_back_in_every_frame(said, frame, order) -> None:
    given_ = [Labelled(Box(x, y, x + 80, y + 80), label) for (x, y), label in said]
    ctx = context(frame, order)
    text = boxes.write_labelled(given_, ctx)
    again = boxes.parse_labelled(text, ctx, vocabulary=LABELS)
    in_order = sorted(given_, key=lambda each: [one.label for one in given_].index(each.label))
    assert [each.label for each in again] == [each.label for each in in_order]
    assert all(boxes.iou(a.box, b.box) >= 0.9 for a, b in zip(again, in_order, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "car: [120, 45, 260, 180]; bus: [300, 10, 420, 90]",
        "car [120, 45, 260, 180]\nbus [300, 10, 420, 90]",
        '[{"bbox_2d": [120, 45, 260, 180], "label": "car"}, '
        '{"bbox_2d": [300, 10, 420, 90], "label": "bus"}]',
        '[{"label": "car", "bbox_2d": [120, 45, 260, 180]}, '
        '{"label": "bus", "bbox_2d": [300, 10, 420, 90], "score": 0.9}]',
        "<ref>car</ref><box>[[120, 45, 260, 180]]</box>"
        "<ref>bus</ref><box>[[300, 10, 420, 90]]</box>",
        "<|object_ref_start|>car<|object_ref_end|><|box_start|>(120,45),(260,180)<|box_end|>"
        "<|object_ref_start|>bus<|object_ref_end|><|box_start|>(300,10),(420,90)<|box_end|>",
    ],
)
def test_the_forms_of_the_families_are_read(text: str) -> None:
    assert read(text) == [(CAR, "car"), (BUS, "bus")]


def test_a_name_behind_location_tokens_is_theirs() -> None:
    text = "<loc0000><loc0000><loc0512><loc0512> bus ; <loc0512><loc0512><loc1023><loc1023> car"
    assert [label for _, label in read(text)] == ["bus", "car"]


def test_a_label_holds_for_the_boxes_behind_it() -> None:
    text = "bus: [1, 2, 30, 40], [5, 6, 70, 80]; car: [9, 9, 20, 20]"
    assert [label for _, label in read(text)] == ["bus", "bus", "car"]


@pytest.mark.parametrize(
    "text",
    [
        "[120, 45, 260, 180]",
        "lorry: [120, 45, 260, 180]",
        "car bus: [120, 45, 260, 180]",
        "carport: [120, 45, 260, 180]",
        '{"bbox_2d": [120, 45, 260, 180], "label": "car, bus"}',
    ],
)
def test_no_label_two_labels_and_other_words_are_none(text: str) -> None:
    assert read(text) == [(CAR, None)]


def test_an_object_without_a_label_takes_none_from_the_one_before() -> None:
    text = '{"bbox_2d": [120, 45, 260, 180], "label": "car"}, {"bbox_2d": [300, 10, 420, 90]}'
    assert read(text) == [(CAR, "car"), (BUS, None)]


def test_no_box_is_written_as_none() -> None:
    assert boxes.write_labelled([], context()) == "none"
    assert read("none") == []


@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(st.one_of(PIECES, st.sampled_from([n.example for n in NOTATIONS])), max_size=12)
)
def test_boxes_are_those_that_are_read_without_labels(pieces: list[str]) -> None:
    text, ctx = "".join(pieces), context("norm1000")
    labelled = boxes.parse_labelled(text, ctx, vocabulary=LABELS, limit=5)
    assert tuple(each.box for each in labelled) == boxes.parse(text, ctx, limit=5)


@pytest.mark.parametrize(
    ("labels", "named"),
    [(("car", "Car"), "'Car'"), (("car", "?"), "'?'"), (("car", "bus {1}"), "'bus {1}'")],
)
def test_labels_that_cannot_be_read_back_are_named(labels: tuple[str, ...], named: str) -> None:
    assert named in unreadable(labels)
    assert unreadable(LABELS) == ""
