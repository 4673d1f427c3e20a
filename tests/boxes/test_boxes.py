from __future__ import annotations

import itertools
import math
import random
import time
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geovlm import boxes
from geovlm.api import BoxOrder, ModelProfile, PromptContext, Size
from geovlm.boxes import Box
from geovlm.errors import ConfigError, DataError
from geovlm.plugins.profiles import BUILTIN, QWEN2_5_VL, QWEN2_VL, QWEN3_VL

NORM100 = ModelProfile(
    name="percent", model_types=("percent",), box_frame="norm100", box_angle=True
)
NORM1 = ModelProfile(name="unit", model_types=("unit",), box_frame="norm1")
Y_FIRST = ModelProfile(
    name="y-first",
    model_types=("y_first",),
    box_frame="norm1000",
    box_order="yxyx",
    box_angle=True,
)
UNKNOWN = ModelProfile(name="unknown-vl", model_types=("unknown_vl",), box_frame=None)
PROFILES = (*(each for each in BUILTIN if each.box_frame), NORM100, NORM1, Y_FIRST)
SIDE = st.integers(256, 2048)


def context(size: Size, profile: ModelProfile = QWEN2_5_VL) -> PromptContext:
    seen = boxes.input_size(size, profile=profile)
    return PromptContext(profile=profile, image_sizes=((9, 9), size), input_sizes=((9, 9), seen))


SAME = PromptContext(profile=QWEN2_5_VL, image_sizes=((280, 280),), input_sizes=((280, 280),))

# -- the size that the model sees -----------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(
    st.integers(28, 4096),
    st.integers(28, 4096),
    st.sampled_from([28, 32]),
    st.sampled_from([(3136, 12845056), (65536, 16777216), (3136, 401408), (7056, 7056)]),
)
def test_the_input_size_is_that_of_transformers(
    width: int, height: int, factor: int, limits: tuple[int, int]
) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    low, high = limits
    profile = ModelProfile(
        name="p", model_types=("p",), box_frame="norm1", size_factor=factor, min_pixels=low
    )
    new_height, new_width = smart_resize(
        height, width, factor=factor, min_pixels=low, max_pixels=high
    )
    seen = boxes.input_size((width, height), profile=profile, max_pixels=high)
    assert seen == (new_width, new_height)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1024, 1024), (1036, 1036)), ((512, 512), (504, 504)), ((448, 448), (448, 448))],
)
def test_known_sizes_of_qwen_2_5(size: Size, expected: Size) -> None:
    assert boxes.input_size(size, profile=QWEN2_5_VL) == expected


def test_a_task_raises_the_lower_limit() -> None:
    assert boxes.input_size((56, 56), profile=QWEN2_5_VL, min_pixels=448 * 448) == (448, 448)


def test_the_lower_limit_never_passes_the_upper_one() -> None:
    size = boxes.input_size((56, 56), profile=QWEN2_5_VL, min_pixels=10**6, max_pixels=84 * 84)
    assert size == (84, 84)


@pytest.mark.parametrize("size", [(28, 5601), (5601, 28), (0, 10)])
def test_an_extreme_aspect_ratio_is_refused_by_size(size: Size) -> None:
    with pytest.raises(DataError, match=f"{size[0]} x {size[1]} px"):
        boxes.input_size(size, profile=QWEN2_5_VL)


# -- text -----------------------------------------------------------------------------------------


def test_boxes_are_written_as_integers_of_the_last_image() -> None:
    # 1024 px is seen as 1036 px: 100 -> 101.2, 300 -> 303.5
    written = boxes.write([(100, 100, 300, 300), Box(0, 0, 1024, 1024)], context((1024, 1024)))
    assert written == "[101, 101, 304, 304], [0, 0, 1036, 1036]"


def test_no_box_is_written_as_none() -> None:
    assert boxes.write([], SAME) == "none"


def test_small_objects_get_the_decimals_that_they_need() -> None:
    # 16 px on 2048 px are 7.8 thousandths; 16 px on 256 px are 62.5
    small = (17.2, 17.2, 33.2, 33.2)
    assert boxes.write([small], context((2048, 2048), QWEN2_VL)) == "[8.4, 8.4, 16.2, 16.2]"
    assert boxes.write([small], context((256, 256), QWEN2_VL)) == "[67, 67, 130, 130]"


def test_what_the_model_cannot_see_gets_no_finer_digits() -> None:
    ctx = PromptContext(profile=QWEN2_5_VL, image_sizes=((256, 256),), input_sizes=((84, 84),))
    assert boxes.write([(10, 10, 40, 40)], ctx) == "[3, 3, 13, 13]"


def test_a_box_is_clipped_to_the_image() -> None:
    assert boxes.write([(-5, -5, 100, 300)], SAME) == "[0, 0, 100, 280]"


@pytest.mark.parametrize("box", [(300, 0, 400, 50), (10, 10, 10, 50), (50, 50, 10, 10)])
def test_a_box_without_area_in_the_image_is_refused(box: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="no area inside its image of 280 x 280 px"):
        boxes.write([box], SAME)


def test_a_rotated_box_becomes_its_hull_where_the_family_has_no_angles() -> None:
    assert boxes.write([Box(100, 120, 180, 160, 90)], SAME) == "[120, 100, 160, 180]"


def test_the_angle_is_the_fifth_number_where_the_family_has_angles() -> None:
    ctx = PromptContext(profile=NORM100, image_sizes=((100, 200),), input_sizes=((112, 196),))
    assert boxes.write([Box(10, 20, 50, 80, 30)], ctx) == "[10, 10, 50, 40, 30]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2, 30, 40]", [(1, 2, 30, 40, 0)]),
        ("[1 2 30 40]", [(1, 2, 30, 40, 0)]),
        ("[1,2,30,40,15]", [(1, 2, 30, 40, 15)]),
        ("[[1,2,30,40],[5,6,7,8]]", [(1, 2, 30, 40, 0), (5, 6, 7, 8, 0)]),
        ("[[1,2,30,40,0]][[5,6,7,8,0]]", [(1, 2, 30, 40, 0), (5, 6, 7, 8, 0)]),
        ('[{"bbox_2d": [1, 2, 30, 40], "label": "ship"}]', [(1, 2, 30, 40, 0)]),
        ("{<1><2><30><40>|<15>}", [(1, 2, 30, 40, 15)]),
        ("{<1><2><30><40>}", [(1, 2, 30, 40, 0)]),
        ("<|box_start|>(1,2),(30,40)<|box_end|>", [(1, 2, 30, 40, 0)]),
        ("[1.5, 2.25, 30., .5e2]", [(1.5, 2.25, 30, 50, 0)]),
        ("[-5, -5, 30, 400]", [(0, 0, 30, 280, 0)]),
        ("[30, 40, 1, 2]", []),
        ("[1, 2, 1, 40]", []),
        ("[300, 300, 400, 400]", []),
        ("[nan, 2, 30, 40] [1e999, 2, 30, 40] [-inf, 0, 1, 1]", []),
        ("[1, 2, 1e300, 40]", []),
        ("[1, 2, 3] [1, 2, 3, 4, 5, 6] [a, b, c, d] []", []),
        ("1, 2, 30, 40", []),
        ("[١, ٢, ٣, ٤] [1_0, 2, 30, 40]", []),
        ("none", []),
        ("", []),
    ],
)
def test_boxes_are_read(text: str, expected: list[tuple[float, ...]]) -> None:
    assert [tuple(box) for box in boxes.parse(text, SAME)] == expected


def test_boxes_are_read_in_the_frame_of_the_model() -> None:
    ctx = PromptContext(
        profile=QWEN2_VL, image_sizes=((9, 9), (500, 2000)), input_sizes=((28, 28), (504, 1988))
    )
    assert boxes.parse("[100, 100, 200, 200]", ctx) == (Box(50, 200, 100, 400),)


def test_a_family_that_names_y_first_writes_and_reads_y_first() -> None:
    ctx = context((800, 400), Y_FIRST)
    assert boxes.write([Box(80, 200, 400, 300)], ctx) == "[500, 100, 750, 500, 0]"
    assert boxes.parse("[500, 100, 750, 500]", ctx) == (Box(80, 200, 400, 300),)


def test_the_order_leaves_the_angle_alone() -> None:
    # 30 degrees clockwise on screen, whichever of x and y comes first
    ctx = context((1000, 1000), Y_FIRST)
    assert boxes.write([Box(100, 200, 500, 300, 30)], ctx) == "[200, 100, 300, 500, 30]"
    assert boxes.parse("[200, 100, 300, 500, 30]", ctx) == (Box(100, 200, 500, 300, 30),)


@pytest.mark.parametrize("held", [[], [Box(0, 0, 20, 20)]])
def test_no_box_is_written_in_a_frame_that_is_not_known(held: list[Box]) -> None:
    with pytest.raises(ConfigError, match="model family unknown-vl: the frame of its boxes") as e:
        boxes.write(held, context((280, 280), UNKNOWN))
    assert "--set profile.box_frame=norm1000" in e.value.hint


@pytest.mark.parametrize("text", ["", "[1, 2, 30, 40]"])
def test_no_text_is_read_in_a_frame_that_is_not_known(text: str) -> None:
    with pytest.raises(ConfigError, match="the frame of its boxes is not known"):
        boxes.parse(text, context((280, 280), UNKNOWN))


def test_a_rotated_box_keeps_corners_that_lie_outside_before_rotation() -> None:
    # 300 px wide, 10 px high, upright after the quarter turn
    assert boxes.parse("[-130, 135, 170, 145, 90]", SAME) == (Box(-130, 135, 170, 145, 90),)


def test_at_most_the_first_boxes_are_read() -> None:
    assert len(boxes.parse("[1,2,3,4]" * 1000, SAME)) == 256
    assert boxes.parse("[1,2,3,4][5,6,7,8]", SAME, limit=1) == (Box(1, 2, 3, 4),)
    assert boxes.parse("[1,2,3,4]", SAME, limit=0) == ()


def test_stripping_leaves_the_text_around_boxes() -> None:
    text = "a ship [1, 2, 3, 4] {<1><2><3><4>|<5>} near [the] quay"
    assert boxes.strip(text) == "a ship near [the] quay"


@settings(deadline=None)
@given(
    st.text(alphabet=st.one_of(st.characters(), st.sampled_from("[]{}()<>|,.-+0159e \x00")))
    | st.lists(st.floats() | st.integers(), min_size=4, max_size=5).map(str)
)
def test_no_text_raises_and_every_box_is_sound(text: str) -> None:
    for box in boxes.parse(text, SAME):
        assert all(map(math.isfinite, box))
        assert box.x1 > box.x0
        assert box.y1 > box.y0
        hull = boxes.enclosing(box)
        assert hull.x1 > 0 and hull.y1 > 0 and hull.x0 < 280 and hull.y0 < 280
        assert 0 <= boxes.iou(box, Box(0, 0, 280, 280)) <= 1
    boxes.strip(text)


@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "[1",
        "[1,",
        "{<",
        "{<1>",
        "{<1><2><3><4>|",
        "(",
        "(1,2)",
        "(),",
        "()",
        "1",
        " ",
        "[1,2,3,4",
        "<box>",
        "<box>1 2 3 4",
        "<box>[[",
        "<box>[[1,2,3,4]]",
        "<loc0001>",
        "<loc0001> ",
        "{<loc0001>",
        "<|box_start|>",
        "<|begin_of_box|>[",
        '"box_2d": ',
        "bbox_2d=[",
        '"box_2d":[[1,2,3,4], ',
    ],
)
def test_hostile_repetition_takes_linear_time(unit: str) -> None:
    started = time.process_time()
    boxes.parse(unit * 1_000_000, SAME)
    boxes.strip(unit * 1_000_000)
    assert time.process_time() - started < 1.0


# -- round trips ----------------------------------------------------------------------------------


@st.composite
def placed(draw: st.DrawFn, smallest: float = 16.0) -> tuple[Size, Box]:
    size = draw(SIDE), draw(SIDE)
    wide = draw(st.floats(smallest, size[0]))
    high = draw(st.floats(smallest, size[1]))
    x0, y0 = draw(st.floats(0, size[0] - wide)), draw(st.floats(0, size[1] - high))
    return size, Box(x0, y0, x0 + wide, y0 + high)


@st.composite
def shown(draw: st.DrawFn) -> tuple[PromptContext, Box]:
    """An image of 64..6000 px and at most 10:1, in any frame and limits, and an object of 16 px."""
    first = draw(st.integers(64, 6000))
    second = draw(st.integers(max(64, -(-first // 10)), min(6000, 10 * first)))
    size = draw(st.permutations((first, second)))
    low = draw(st.integers(3_000, 1_000_000))
    limits = {"min_pixels": low, "max_pixels": draw(st.integers(low, 16_000_000))}
    order = draw(st.sampled_from(get_args(BoxOrder)))
    profile = replace(draw(st.sampled_from(PROFILES)), box_order=order, **limits)
    seen = boxes.input_size((size[0], size[1]), profile=profile)
    wide, high = (draw(st.floats(16, side)) for side in size)
    x0, y0 = draw(st.floats(0, size[0] - wide)), draw(st.floats(0, size[1] - high))
    ctx = PromptContext(profile=profile, image_sizes=((size[0], size[1]),), input_sizes=(seen,))
    return ctx, Box(x0, y0, x0 + wide, y0 + high)


@settings(max_examples=500, deadline=None)
@given(shown())
def test_what_is_written_reads_back_with_an_iou_of_nine_tenths(
    case: tuple[PromptContext, Box],
) -> None:
    ctx, box = case
    (read,) = boxes.parse(boxes.write([box], ctx), ctx)
    assert boxes.iou(box, read) >= 0.9


@settings(max_examples=100, deadline=None)
@given(case=shown(), angle=st.floats(-180, 180))
def test_a_rotated_box_reads_back_with_an_iou_of_nine_tenths(
    case: tuple[PromptContext, Box], angle: float
) -> None:
    shown_to, box = case
    ctx = replace(shown_to, profile=replace(shown_to.profile, box_angle=True))
    (read,) = boxes.parse(boxes.write([box._replace(angle_deg=angle)], ctx), ctx)
    assert boxes.rotated_iou(box._replace(angle_deg=angle), read) >= 0.9


def test_an_object_of_16_px_gets_its_decimals_where_the_image_is_shrunk() -> None:
    # 16 px of 4096 are 1.64 px of 420: 1.64² / 1.7² = 0.93, and whole pixels would leave 0.37
    ctx = PromptContext(profile=QWEN2_5_VL, image_sizes=((4096, 4096),), input_sizes=((420, 420),))
    assert boxes.write([(1000, 1000, 1016, 1016)], ctx) == "[102.5, 102.5, 104.2, 104.2]"


def test_a_thin_rotated_box_gets_the_decimals_that_its_length_does_not_need() -> None:
    # a unit is 10 px: 4 px along 400 px, but across 16 px once the box stands upright
    ctx = PromptContext(profile=NORM100, image_sizes=((1000, 1000),), input_sizes=((980, 980),))
    needle = Box(304, 492, 704, 508, 90)
    (read,) = boxes.parse(boxes.write([needle], ctx), ctx)
    assert boxes.rotated_iou(needle, read) >= 0.9
    assert boxes.write([needle], ctx) == "[30.4, 49.2, 70.4, 50.8, 90]"


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
@settings(deadline=None)
@given(case=placed(smallest=2.0))
def test_no_object_is_lost_in_writing(case: tuple[Size, Box], profile: ModelProfile) -> None:
    size, box = case
    ctx = context(size, profile)
    (read,) = boxes.parse(boxes.write([box], ctx), ctx)
    assert boxes.iou(box, read) >= 0.499


@settings(deadline=None)
@given(case=placed(), angle=st.integers(-180, 180))
def test_a_rotated_box_survives_its_own_frame(case: tuple[Size, Box], angle: int) -> None:
    size, box = case
    (read,) = boxes.parse(
        boxes.write([box._replace(angle_deg=angle)], context(size, NORM100)), context(size, NORM100)
    )
    assert read.angle_deg % 180 == angle % 180


@settings(deadline=None)
@given(case=placed(), profile=st.sampled_from(PROFILES))
def test_from_frame_is_the_inverse_of_to_frame(
    case: tuple[Size, Box], profile: ModelProfile
) -> None:
    size, box = case
    seen = boxes.input_size(size, profile=profile)
    numbers = boxes.to_frame(box, profile=profile, image_size=size, input_size=seen)
    back = boxes.from_frame(numbers, profile=profile, image_size=size, input_size=seen)
    assert tuple(back) == pytest.approx(tuple(box), abs=1e-6)


def unconverted_hits(side_px: int, size: Size, profile: ModelProfile) -> float:
    """Share of objects that a perfect detector finds at IoU 0.5 if nobody converts its boxes."""
    rng, hits = random.Random(0), 0
    seen = boxes.input_size(size, profile=profile)
    for _ in range(2000):
        x, y = rng.uniform(0, size[0] - side_px), rng.uniform(0, size[1] - side_px)
        box = Box(x, y, x + side_px, y + side_px)
        framed = boxes.to_frame(box, profile=profile, image_size=size, input_size=seen)
        hits += boxes.iou(box, Box(*framed)) >= 0.5
    return hits / 2000


def test_without_the_conversion_small_objects_of_an_xbd_tile_are_lost() -> None:
    # the shift is 1.2 % of the position: 11 % of 16 px objects, 45 % of 32 px, all of 64 px
    assert unconverted_hits(16, (1024, 1024), QWEN2_5_VL) == pytest.approx(0.11, abs=0.03)
    assert unconverted_hits(32, (1024, 1024), QWEN2_5_VL) == pytest.approx(0.45, abs=0.05)
    assert unconverted_hits(64, (1024, 1024), QWEN2_5_VL) == pytest.approx(1.0, abs=0.02)


def test_without_the_conversion_thousandths_of_a_large_image_are_lost() -> None:
    assert unconverted_hits(16, (2048, 2048), QWEN3_VL) < 0.01


# -- geometry -------------------------------------------------------------------------------------

RBB = st.builds(
    lambda x, y, w, h, angle: Box(x, y, x + w, y + h, angle),
    st.floats(-100, 100),
    st.floats(-100, 100),
    st.floats(1, 100),
    st.floats(1, 100),
    st.floats(-360, 360),
)


def test_a_positive_angle_turns_x_towards_y() -> None:
    # a needle to the right of its centre (50, 50); 30 degrees clockwise puts its tip below
    tip = boxes.corners(Box(0, 49, 100, 51, 30))[1]
    assert tip == pytest.approx(
        (50 + 50 * math.cos(math.radians(30)) + 0.5, 75 - math.cos(math.radians(30)))
    )
    assert tip[1] > 50


def test_thirty_degrees_twice_are_sixty() -> None:
    from shapely import Polygon
    from shapely.affinity import rotate

    once = Polygon(boxes.corners(Box(10, 20, 70, 40, 30)))
    twice = rotate(once, 30, origin="centroid")  # y down: shapely's positive turn is clockwise
    sixty = Polygon(boxes.corners(Box(10, 20, 70, 40, 60)))
    assert twice.symmetric_difference(sixty).area == pytest.approx(0, abs=1e-9)


def test_the_hull_is_exact_at_quarter_turns() -> None:
    assert boxes.enclosing(Box(10, 20, 70, 40, 90)) == Box(30, 0, 50, 60)
    assert boxes.enclosing(Box(10, 20, 70, 40, -180)) == Box(10, 20, 70, 40)


def test_the_hull_of_a_square_at_45_degrees_is_wider_by_root_two() -> None:
    hull = boxes.enclosing(Box(0, 0, 10, 10, 45))
    assert hull.x1 - hull.x0 == pytest.approx(10 * math.sqrt(2))


@settings(deadline=None)
@given(RBB)
def test_the_hull_is_the_bounds_of_the_corners(box: Box) -> None:
    xs, ys = zip(*boxes.corners(box), strict=True)
    assert boxes.enclosing(box)[:4] == pytest.approx((min(xs), min(ys), max(xs), max(ys)), abs=1e-9)


def test_dropping_the_angle_of_an_elongated_box_is_not_its_hull() -> None:
    box = Box(10, 20, 70, 40, 90)
    assert boxes.iou(boxes.drop_angle(box), boxes.enclosing(box)) == pytest.approx(400 / 2000)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 50 / 150),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (20, 20, 30, 30), 0.0),
        ((0, 0, 0, 10), (0, 0, 0, 10), 0.0),
        ((0, 0, 10, 10), (2, 2, 4, 4), 4 / 100),
    ],
)
def test_iou_by_hand(a: tuple[int, ...], b: tuple[int, ...], expected: float) -> None:
    assert boxes.iou(a, b) == pytest.approx(expected)
    assert boxes.rotated_iou(a, b) == pytest.approx(expected)


def test_rotated_iou_of_a_square_and_itself_at_45_degrees() -> None:
    # the common part is a regular octagon: 2 (sqrt 2 - 1) of the square
    shared = 2 * (math.sqrt(2) - 1)
    expected = shared / (2 - shared)
    assert boxes.rotated_iou(Box(0, 0, 10, 10), Box(0, 0, 10, 10, 45)) == pytest.approx(expected)


def test_two_descriptions_of_one_rectangle_tie_at_one() -> None:
    assert boxes.rotated_iou(Box(10, 20, 70, 40, 90), Box(30, 0, 50, 60)) == pytest.approx(1)
    assert boxes.rotated_iou(Box(10, 20, 70, 40, 200), Box(10, 20, 70, 40, 20)) == pytest.approx(1)


@settings(deadline=None)
@given(RBB, RBB)
def test_rotated_iou_is_symmetric_and_bounded(a: Box, b: Box) -> None:
    value = boxes.rotated_iou(a, b)
    assert 0 <= value <= 1
    assert value == pytest.approx(boxes.rotated_iou(b, a), abs=1e-9)


def test_matching_is_one_to_one_and_of_the_largest_sum() -> None:
    truth = [Box(0, 0, 10, 10), Box(4, 0, 14, 10)]
    predicted = [Box(2, 0, 12, 10), Box(50, 50, 60, 60), Box(0, 0, 10, 10)]
    # greedy by truth would give the first truth the third box as well; 1 + 2/3 is the best sum
    assert boxes.match(truth, predicted) == [(0, 2, 1.0), (1, 0, pytest.approx(80 / 120))]


def test_a_pair_names_its_indices_and_its_iou() -> None:
    (pair,) = boxes.match([Box(0, 0, 9, 9)], [Box(20, 20, 29, 29), Box(0, 0, 9, 9)])
    assert (pair.truth, pair.predicted, pair.iou) == (0, 1, 1.0)


def test_a_prediction_serves_one_truth_only() -> None:
    assert len(boxes.match([Box(0, 0, 9, 9), Box(0, 0, 9, 9)], [Box(0, 0, 9, 9)])) == 1


def test_nothing_is_matched_to_nothing() -> None:
    assert boxes.match([], [Box(0, 0, 1, 1)]) == []
    assert boxes.match([Box(0, 0, 1, 1)], []) == []
    assert boxes.match([Box(0, 0, 1, 1)], [Box(5, 5, 6, 6)]) == []


def test_rotated_boxes_are_matched_as_rotated_boxes() -> None:
    upright, turned = Box(30, 0, 50, 60), Box(10, 20, 70, 40, 90)
    assert boxes.match([upright], [turned]) == [(0, 0, pytest.approx(1))]


@settings(deadline=None)
@given(st.lists(RBB, min_size=1, max_size=4), st.lists(RBB, min_size=1, max_size=4))
def test_matching_is_as_good_as_the_best_permutation(truth: list[Box], found: list[Box]) -> None:
    short, long = sorted((truth, found), key=len)
    best = max(
        sum(boxes.overlap(a, b) for a, b in zip(short, order, strict=False))
        for order in itertools.permutations(long)
    )
    pairs = boxes.match(truth, found)
    assert sum(value for _, _, value in pairs) == pytest.approx(best, abs=1e-9)
    assert all(value == pytest.approx(boxes.overlap(truth[i], found[j])) for i, j, value in pairs)


def test_two_hundred_boxes_are_matched_to_two_hundred_at_once() -> None:
    many = [Box(i, i, i + 12, i + 14) for i in range(200)]
    boxes.match(many, many)
    started = time.process_time()
    assert boxes.match(many, many)[7] == (7, 7, 1.0)
    assert time.process_time() - started < 0.1  # 10 ms; one pair at a time took 800


def test_target_boxes_have_four_or_five_numbers() -> None:
    target = {"boxes": [[1, 2, 3, 4], [5, 6, 7, 8, 9]]}
    assert boxes.target_boxes(target) == (Box(1, 2, 3, 4), Box(5, 6, 7, 8, 9))
    assert boxes.target_boxes({}) == ()


# -- GeoChat --------------------------------------------------------------------------------------


def test_geochat_boxes_become_pixels_before_they_turn() -> None:
    box = boxes.geochat_box([10, 40, 30, 60, 90], image_size=(200, 100), sense="cw")
    assert box == Box(20, 40, 60, 60, 90)
    assert boxes.enclosing(box) == Box(30, 30, 50, 70)


def test_the_sense_mirrors_the_angle() -> None:
    clockwise = boxes.geochat_box([10, 10, 30, 20, 30], image_size=(100, 100), sense="cw")
    counter = boxes.geochat_box([10, 10, 30, 20, 30], image_size=(100, 100), sense="ccw")
    assert (clockwise.angle_deg, counter.angle_deg) == (30, -30)
    assert boxes.enclosing(clockwise) == pytest.approx(boxes.enclosing(counter))
    assert boxes.rotated_iou(clockwise, counter) < 0.6


def test_counter_clockwise_is_what_earthdial_scores() -> None:
    # EarthDial: centred corners as row vectors times [[cos, -sin], [sin, cos]]
    box = boxes.geochat_box([10, 10, 30, 20, 30], image_size=(100, 100), sense="ccw")
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    first = (-10 * cos + -5 * sin + 20, -10 * -sin + -5 * cos + 15)
    assert boxes.corners(box)[0] == pytest.approx(first)
