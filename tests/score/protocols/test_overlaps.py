"""Reading boxes out of published text, their overlaps, hits and matches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geovlm import boxes
from geovlm.boxes import Box
from geovlm.score.protocols.earthdial import overlaps
from geovlm.score.protocols.earthdial.overlaps import Pair

SQUARE = Box(0, 0, 10, 10)


def test_juxtaposed_boxes_are_read() -> None:
    assert overlaps.read_digits("[[1, 2, 3, 4, 0]][[5, 6, 7, 8, 0]]") == [
        Box(1, 2, 3, 4),
        Box(5, 6, 7, 8),
    ]


def test_a_list_of_boxes_is_read() -> None:
    assert overlaps.read_digits("[[1, 2, 3, 4, 0], [5, 6, 7, 8, 0]]") == [
        Box(1, 2, 3, 4),
        Box(5, 6, 7, 8),
    ]


def test_the_published_reader_cannot_read_a_sign() -> None:
    assert overlaps.read_digits("[[-1, 2, 3, 4, 0]]") == []


def test_a_group_of_four_counts_as_a_box_that_matches_nothing() -> None:
    assert overlaps.read_digits("[[1, 2, 3, 4]]") == [None]


def test_signs_fractions_and_missing_angles_are_read_by_the_strict_reader() -> None:
    assert overlaps.read_all("[[-1, 2.5, 3, 4]], [[5, 6, 7, 8, 0]]") == [
        Box(-1, 2.5, 3, 4),
        Box(5, 6, 7, 8),
    ]


def test_angles_of_published_text_turn_counter_clockwise() -> None:
    assert overlaps.read_digits("[[1, 2, 3, 4, 30]]") == [Box(1, 2, 3, 4, -30.0)]


@given(
    st.lists(
        st.sampled_from(["[", "]", ",", ", ", " ,", "1", "20", "-3", "4.5", " ", "[1, 2, 3, 4, 5]"])
    ).map("".join)
)
def test_one_reading_finds_what_both_readers_find(text: str) -> None:
    assert overlaps.read(text) == (overlaps.read_digits(text), overlaps.read_all(text))


def test_overlap_by_hand() -> None:
    # 5 x 10 shared of 10 x 10 + 5 x 10 - 50
    (pairs,) = overlaps.overlaps([[SQUARE]], [[Box(0, 0, 5, 10)]])
    assert pairs == [Pair(0, 0, 0.5)]


def test_boxes_of_different_records_do_not_meet() -> None:
    assert overlaps.overlaps([[SQUARE], []], [[], [SQUARE]]) == [[], []]


def test_a_pair_keeps_its_place_in_its_own_record() -> None:
    far = Box(50, 50, 60, 60)
    pairs = overlaps.overlaps([[SQUARE], [far, SQUARE]], [[far], [SQUARE, far]])
    assert pairs == [[], [Pair(0, 1, 1.0), Pair(1, 0, 1.0)]]


def test_rotated_overlap_equals_that_of_geovlm_boxes() -> None:
    a, b = Box(10, 10, 40, 20, 30), Box(12, 8, 38, 22, 50)
    ((pair,),) = overlaps.overlaps([[a]], [[b]])
    assert pair.iou == pytest.approx(boxes.rotated_iou(a, b), abs=1e-12)


def test_a_box_without_area_matches_nothing() -> None:
    flat = Box(0, 0, 10, 0)
    assert overlaps.overlaps([[flat]], [[flat]]) == [[]]


def test_hostile_numbers_match_nothing() -> None:
    assert overlaps.overlaps([[SQUARE]], [overlaps.read_all(f"[[0, 0, 1{'0' * 400}, 10]]")]) == [[]]


def test_a_duplicate_is_a_second_hit_and_no_second_match() -> None:
    pairs = [Pair(0, 0, 0.9), Pair(0, 1, 0.9)]
    assert overlaps.hits(pairs, threshold=0.5) == 2
    assert overlaps.matches([pairs], threshold=0.5) == [1]


def test_matching_gives_up_a_closer_pair_to_find_two() -> None:
    # taking (0, 0) first would leave truth 1 without a partner
    pairs = [Pair(0, 0, 0.9), Pair(0, 1, 0.6), Pair(1, 0, 0.6)]
    assert overlaps.matches([pairs], threshold=0.5) == [2]


def test_records_are_matched_one_by_one() -> None:
    contested = [Pair(0, 0, 0.9), Pair(0, 1, 0.6), Pair(1, 0, 0.6)]
    star = [Pair(0, 0, 0.9), Pair(0, 1, 0.9), Pair(1, 0, 0.4)]
    pairs = [contested, [], star, contested]
    assert overlaps.matches(pairs, threshold=0.5) == [2, 0, 1, 2]


def test_an_iou_of_a_half_up_to_rounding_counts() -> None:
    pairs = [Pair(0, 0, 0.5 - 1e-12)]
    assert overlaps.hits(pairs, threshold=0.5) == 1
    assert overlaps.matches([pairs], threshold=0.5) == [1]


def test_an_iou_below_a_half_does_not_count() -> None:
    assert overlaps.hits([Pair(0, 0, 0.499)], threshold=0.5) == 0
