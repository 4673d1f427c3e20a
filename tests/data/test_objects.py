"""Sizes of objects as a model sees them, and when they are called too small."""

from __future__ import annotations

import dataclasses

import pytest

from geovlm.api import Sample
from geovlm.boxes import Box
from geovlm.data.objects import View, measure, of_samples, warning
from geovlm.plugins.profiles import QWEN2_5_VL

ONE_SIZE = dataclasses.replace(QWEN2_5_VL, min_pixels=84 * 84, max_pixels=84 * 84)


def boxes(*sides: float) -> list[Box]:
    """Return boxes of these shorter sides, 40 px long."""
    return [Box(0, 0, side, 40) for side in sides]


def test_the_side_is_the_shorter_one_after_the_resize() -> None:
    # widths become a half, heights a quarter: 20 x 40 becomes 10 x 10, 30 x 20 becomes 15 x 5
    found = measure([View([Box(0, 0, 20, 40), Box(0, 0, 30, 20)], (200, 400), (100, 100))])
    assert found is not None
    assert (found.n, found.small_share, found.median_px) == (2, 0.0, 7.5)


def test_images_without_boxes_do_not_count() -> None:
    assert measure([View([], (100, 100), (100, 100))]) is None


def test_the_usual_size_is_named() -> None:
    views = [View(boxes(3), (90, 90), (90, 90)), *[View(boxes(3), (512, 512), (84, 84))] * 2]
    found = measure(views)
    assert found is not None
    assert (found.seen, found.stored) == ((84, 84), (512, 512))


def test_sizes_of_samples_are_those_of_the_models_resize() -> None:
    sample = Sample(
        id="a", images=(), target={"boxes": [[0, 0, 256, 512]]}, image_sizes=((512, 512),)
    )
    found = of_samples([sample], profile=ONE_SIZE)
    assert found is not None
    assert (found.seen, found.median_px) == ((84, 84), 42.0)


def test_one_small_object_in_ten_is_not_said() -> None:
    found = measure([View(boxes(3, *[5] * 9), (100, 100), (100, 100))])
    assert warning(found, model="nano", profile=QWEN2_5_VL) == ""


def test_a_model_of_one_size_is_to_be_another_one() -> None:
    found = measure([View(boxes(3, 5), (84, 84), (84, 84))])
    said = warning(found, model="/models/mine", profile=ONE_SIZE)
    assert said.startswith("50 % of 2 boxes are under 4 px at this model, which sees 84 x 84 px;")
    assert "use a --model that sees more" in said


@pytest.mark.parametrize(
    ("stored", "most", "remedy"),
    [
        # 2 px become 4 px at twice the sides: 200 x 200 px, in whole cells of 28 x 28
        ((100, 100), 10**6, "use --set min_pixels=40768"),
        ((400, 400), 100 * 100, "use --set max_pixels=40768"),
        ((100, 100), 100 * 100, "use --set max_pixels=40768 --set min_pixels=40768"),
    ],
)
def test_the_remedy_makes_small_objects_large_enough(
    stored: tuple[int, int], most: int, remedy: str
) -> None:
    scale = stored[0] / 100
    found = measure([View(boxes(2 * scale, 2 * scale), stored, (100, 100))])
    profile = dataclasses.replace(QWEN2_5_VL, max_pixels=most)
    assert warning(found, model="mine", profile=profile).endswith(remedy)
