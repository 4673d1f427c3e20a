"""What a text loses of the true boxes is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from geovlm import boxes
from geovlm.api import ModelProfile, PromptContext
from geovlm.boxes import Box

PIXELS = ModelProfile(name="p", model_types=("p",), box_frame="input_pixels")
CTX = PromptContext(profile=PIXELS, image_sizes=((400, 200),), input_sizes=((400, 200),))
HELD = [Box(0, 0, 40, 20), Box(100, 100, 140, 180)]


def test_a_correct_answer_reads_back_whole() -> None:
    assert boxes.read_back(boxes.write(HELD, CTX), CTX, truth=HELD) == (1.0, 1.0)


def test_boxes_are_paired_whatever_their_order() -> None:
    text = "[100, 100, 140, 180], [0, 0, 40, 10]"
    assert boxes.read_back(text, CTX, truth=HELD) == (0.5, 1.0)


@pytest.mark.parametrize("text", ["", "none", "0, 0, 40, 20", "[300, 0, 400, 50]"])
def test_a_box_that_is_lost_is_zero(text: str) -> None:
    assert boxes.read_back(text, CTX, truth=HELD[:1]) == (0.0,)


def test_another_order_is_seen() -> None:
    # y first: [0, 0, 20, 40] and [100, 100, 180, 140]; they share 400 of 1,200 and 1,600 of 4,800
    text = boxes.write(HELD, replace(CTX, profile=replace(PIXELS, box_order="yxyx")))
    assert boxes.read_back(text, CTX, truth=HELD) == pytest.approx((1 / 3, 1 / 3))


def test_a_resize_that_was_not_declared_is_seen() -> None:
    seen = replace(CTX, input_sizes=((200, 100),))
    assert boxes.read_back(boxes.write(HELD, CTX), seen, truth=HELD) == (0.25, 0.0)


def test_a_rotated_box_counts_as_the_family_can_write_it() -> None:
    turned = [Box(100, 120, 180, 160, 90)]
    assert boxes.read_back(boxes.write(turned, CTX), CTX, truth=turned) == (1.0,)


def test_a_box_that_reaches_outside_counts_within_the_image() -> None:
    beyond = [Box(-40, 0, 40, 20)]
    assert boxes.read_back(boxes.write(beyond, CTX), CTX, truth=beyond) == (1.0,)
