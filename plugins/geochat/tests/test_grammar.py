from __future__ import annotations

import json
import math
import re
from itertools import combinations
from pathlib import Path

import pytest
from geovlm_geochat import grammar
from geovlm_geochat.grammar import Piece
from shapely import Polygon

from geovlm import boxes
from geovlm.boxes import Box

SQUARE = (100, 100)


def test_boxes_are_read_with_and_without_an_angle():
    text = "{<8><82><16><90>|<69>}{<6><44><14><48>}<delim>{ <1> <2> <3> <4> | <5> }"
    assert grammar.parse_boxes(text) == ((8, 82, 16, 90, 69), (6, 44, 14, 48), (1, 2, 3, 4, 5))


def test_numbers_outside_the_image_are_read_as_written():
    assert grammar.parse_boxes("{<77><981><83><100>|<29>}") == ((77, 981, 83, 100, 29),)
    assert grammar.parse_boxes("{<-1><67><9><75>|<84>}") == ((-1, 67, 9, 75, 84),)


def test_a_broken_box_is_no_box_and_leaves_no_braces():
    assert grammar.parse_boxes("{<1><2><3>}") == ()
    assert grammar.clean("a ship {<1><2><3>} at sea {<4>|<5>}") == "a ship at sea"


def test_a_grounded_caption_is_cut_at_its_boxes():
    text = "there are <p>some ships</p> {<1><2><3><4>|<5>}<delim>{<6><7><8><9>|<0>} near a pier."
    assert grammar.pieces(text) == (
        Piece(text="there are some ships", boxes=((1, 2, 3, 4, 5), (6, 7, 8, 9, 0))),
        Piece(text="near a pier.", boxes=()),
    )


def test_a_box_inside_the_phrase_tag_belongs_to_the_words_before_it():
    text = "<p>1 ship {<1><2><3><4>|<5>}</p> at {sea}"
    assert grammar.pieces(text) == (
        Piece(text="1 ship", boxes=((1, 2, 3, 4, 5),)),
        Piece(text="at sea", boxes=()),
    )


def test_the_phrase_is_what_the_tag_holds():
    assert grammar.phrase("Give me the location of <p> 2 a220 airplanes </p>") == "2 a220 airplanes"
    assert grammar.phrase("Where is it?") == ""


def test_a_quarter_turn_swaps_the_sides():
    placed = grammar.place((40, 30, 60, 70, 90), image_size=SQUARE, form="hull", sense="cw")
    # 20 wide and 40 high about (50, 50): 40 wide and 20 high after the turn
    assert placed.box == pytest.approx((30, 40, 70, 60, 0))
    assert not placed.over


def test_the_hull_of_an_eighth_turn_is_wider_by_the_root_of_two():
    placed = grammar.place((40, 40, 60, 60, 45), image_size=SQUARE, form="hull", sense="ccw")
    half = 10 * math.sqrt(2)
    assert placed.box == pytest.approx((50 - half, 50 - half, 50 + half, 50 + half, 0))


def test_percent_is_taken_of_each_side_and_turned_in_pixels():
    # 20 % of 200 px and 40 % of 100 px are a square of 40 px: a quarter turn leaves it as it is
    placed = grammar.place((40, 30, 60, 70, 90), image_size=(200, 100), form="hull", sense="cw")
    assert placed.box == pytest.approx((80, 30, 120, 70, 0))


def test_dropping_the_angle_keeps_the_four_numbers():
    placed = grammar.place((40, 30, 60, 70, 30), image_size=SQUARE, form="drop_angle", sense="cw")
    assert placed.box == Box(40, 30, 60, 70)


def test_a_rotated_box_keeps_its_tilt_in_the_sense_asked_for():
    numbers = (40, 30, 60, 70, 30)
    clockwise = grammar.place(numbers, image_size=SQUARE, form="rotated", sense="cw")
    counter = grammar.place(numbers, image_size=SQUARE, form="rotated", sense="ccw")
    assert clockwise.box == Box(40, 30, 60, 70, 30)
    assert counter.box == Box(40, 30, 60, 70, -30)


def test_a_rotated_box_is_described_with_the_smallest_angle():
    upright = grammar.place((40, 30, 60, 70, 90), image_size=SQUARE, form="rotated", sense="cw")
    tilted = grammar.place((40, 30, 60, 70, 80), image_size=SQUARE, form="rotated", sense="cw")
    assert upright.box == pytest.approx((30, 40, 70, 60, 0))
    assert tilted.box == pytest.approx((30, 40, 70, 60, -10))


def test_a_polygon_gives_the_rectangle_it_came_from():
    corners = boxes.corners(Box(30, 40, 70, 60, 25))
    assert grammar.from_polygon(corners) == pytest.approx((30, 40, 70, 60, 25))


def test_a_box_over_the_border_is_cut_and_says_so():
    placed = grammar.place((90, -10, 120, 20), image_size=SQUARE, form="hull", sense="cw")
    assert placed.box == Box(90, 0, 100, 20)
    assert placed.over


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ((10, 10, 10, 20, 5), "box without area"),
        ((77, 981, 83, 100, 29), "box without area"),
        ((110, 10, 130, 20, 0), "box outside the image"),
        ((-33, 10, -5, 20), "box outside the image"),
    ],
)
def test_a_box_without_anything_inside_is_refused_with_the_reason(numbers, reason):
    placed = grammar.place(numbers, image_size=SQUARE, form="hull", sense="cw")
    assert placed.box is None
    assert placed.reason == reason


def _geochat(text: str) -> str:
    """EarthDial's `[[a, b, c, d, t]]` in GeoChat's own spelling."""
    numbers = r"\[\[(-?\d+), (-?\d+), (-?\d+), (-?\d+)(?:, (-?\d+))?\]\]"
    return re.sub(
        numbers,
        lambda m: "{" + "".join(f"<{n}>" for n in m.groups()[:4]) + f"|<{m.group(5) or 0}>" + "}",
        text,
    )


@pytest.fixture(scope="module")
def bench_truth(realdata: Path) -> list[tuple[grammar.Percent, ...]]:
    """Boxes of every GeoChat-Bench referring query, from EarthDial's published copy."""
    path = realdata / "EarthDial_eval_results" / "rs_detection" / "GeoChat.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [grammar.parse_boxes(_geochat(row["gt_bbox"])) for row in rows]


def test_the_grammar_reads_every_box_of_the_real_benchmark(bench_truth):
    every = [box for row in bench_truth for box in row]
    assert len(bench_truth) == 7593
    assert len(every) == 10571
    assert all(bench_truth)


def test_the_dirt_of_the_real_benchmark_is_what_was_measured(bench_truth):
    every = [box for row in bench_truth for box in row]
    assert sum(min(box[:4]) < 0 or max(box[:4]) > 100 for box in every) == 1215
    assert sum(box[2] <= box[0] or box[3] <= box[1] for box in every) == 42
    assert sum(any(min(box[:4]) < 0 for box in row) for row in bench_truth) == 520


def test_every_real_box_is_placed_or_refused_with_a_reason(bench_truth):
    placed = [
        grammar.place(box, image_size=(800, 800), form="hull", sense="cw")
        for row in bench_truth
        for box in row
    ]
    lost = [each for each in placed if each.box is None]
    assert [each.reason for each in lost].count("box without area") == 42
    assert len(lost) < 60
    inside = [each.box for each in placed if each.box is not None]
    assert all(0 <= b.x0 < b.x1 <= 800 and 0 <= b.y0 < b.y1 <= 800 for b in inside)


def test_clockwise_boxes_of_one_real_query_hardly_overlap_and_counter_clockwise_ones_do(
    bench_truth,
):
    """Objects side by side do not share ground; the wrong sense makes their boxes cross."""
    shared = {sense: _shared(bench_truth, sense=sense) for sense in ("cw", "ccw")}
    assert shared["ccw"] > 4 * shared["cw"]


def _shared(rows: list[tuple[grammar.Percent, ...]], *, sense: grammar.Sense) -> float:
    """Sum over pairs of tilted boxes of a query of intersection / smaller area."""
    total = 0.0
    for row in rows:
        tilted = [box for box in dict.fromkeys(row) if box[2] > box[0] and box[3] > box[1]]
        tilted = [box for box in tilted if 10 < box[4] < 80]
        drawn = [boxes.geochat_box(box, image_size=SQUARE, sense=sense) for box in tilted]
        for one, other in combinations([Polygon(boxes.corners(box)) for box in drawn], 2):
            total += one.intersection(other).area / min(one.area, other.area)
    return total
