"""Shared areas and hulls of many rectangles agree with shapely and with single boxes."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st

from geovlm.boxes import Box, arrays, corners, enclosing

COORDINATES = st.integers(-20, 120) | st.floats(-20, 120)
ANGLES = st.integers(-200, 200) | st.floats(-200, 200)
ROWS = st.tuples(COORDINATES, COORDINATES, COORDINATES, COORDINATES, ANGLES)


def shared(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    first, second = (np.array([row], dtype=float) for row in (a, b))
    return float(arrays.shared_areas(first, second)[0])


@given(ROWS, ROWS)
@example((0, 0, 2, -6, 3.2696735557730032e-06), (0, 0, 1, 3, 0))  # a side far below, nearly level
def test_shared_areas_are_those_of_shapely(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    polygons = [shapely.Polygon(corners(Box(*row))) for row in (a, b)]
    expected = shapely.intersection(*polygons).area
    assert shared(a, b) == pytest.approx(expected, abs=1e-8)  # areas of up to 2e4, rounding apart


@given(ROWS, st.floats(-1e-12, 1e-12), st.sampled_from([0, 180, -180, 360]))
def test_a_rectangle_shares_all_of_itself_however_described(
    row: tuple[float, ...], off: float, turn: float
) -> None:
    again = (row[0] + off, row[1], row[2], row[3] - off, row[4] + turn + off)
    area = float(arrays.areas(np.array([row], dtype=float))[0])
    assert shared(row, again) == pytest.approx(area, abs=1e-8)


def test_sides_exchanged_with_a_quarter_turn_share_all() -> None:
    assert shared((10, 20, 70, 40, 90), (30, 0, 50, 60, 0)) == 1200


def test_a_square_and_itself_at_45_degrees_share_an_octagon() -> None:
    octagon = 200 * (2**0.5 - 1)  # regular, between parallel sides 10 apart: 2 (sqrt 2 - 1) 10^2
    assert shared((0, 0, 10, 10, 0), (0, 0, 10, 10, 45)) == pytest.approx(octagon)


def test_rectangles_that_touch_share_nothing() -> None:
    assert shared((0, 0, 10, 10, 0), (10, 0, 20, 10, 0)) == 0
    assert shared((0, 0, 10, 10, 30), (0, 0, 10, 0, 30)) == 0


def test_hostile_sizes_share_nothing_and_do_not_warn() -> None:
    assert shared((0, 0, 1e-300, 1e9, 45), (5e8, 0, 1e9, 1e9, 0)) == pytest.approx(0, abs=1e-6)


def test_no_rectangles_share_no_areas() -> None:
    assert arrays.shared_areas(np.zeros((0, 5)), np.zeros((0, 5))).shape == (0,)


def test_many_pairs_are_taken_row_by_row() -> None:
    rows = np.tile([0.0, 0.0, 10.0, 10.0, 0.0], (20_000, 1))
    moved = rows.copy()
    moved[:, [0, 2]] += np.arange(20_000)[:, None] % 10
    expected = 100 - 10 * (np.arange(20_000) % 10)
    np.testing.assert_array_equal(arrays.shared_areas(rows, moved), expected)


@given(ROWS)
def test_hulls_are_those_of_single_boxes(row: tuple[float, ...]) -> None:
    x0, y0, x1, y1, angle = row
    box = Box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1), angle)
    (hull,) = arrays.hulls(np.array([row], dtype=float))
    assert tuple(hull) == pytest.approx(enclosing(box)[:4], abs=1e-9)
