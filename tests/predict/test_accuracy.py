"""A perfect model on planted objects: each found once, at its place on the earth."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

from geovlm.boxes import Box, corners
from geovlm.predict.results import Counts
from tests.predict.planted import QWEN, TURNED, UTM, Oracle, write_scene

pyproj = pytest.importorskip("pyproj", reason="the independent reprojection")

# Windows of 112 px that share 28: they begin at 0, 84, 168, ... of 600 px.
UPRIGHT = [
    Box(10, 12, 30, 28),  # inside the first window
    Box(100, 20, 118, 40),  # across the end of the first window; the second sees it whole
    Box(86, 90, 108, 110),  # in the corner that four windows share
    Box(150, 150, 186, 180),  # longer than the overlap, whole in one window
    Box(200, 300, 420, 320),  # longer than two windows: no window sees it whole
    Box(450, 450, 590, 590),  # larger than a window both ways
    Box(584, 584, 600, 600),  # at the end of the scene, inside the one before
    Box(300, 20, 320, 30),
    Box(300, 32, 320, 42),  # a neighbour two pixels away
]
SLANTED = [
    Box(20, 20, 60, 36, 30),
    Box(95, 60, 125, 75, 45),  # across a seam, whole in one window
    Box(100, 300, 150, 320, 20),
    Box(230, 230, 410, 250, 25),  # longer than a window
    Box(300, 100, 330, 110, -15),
]


def found(results) -> list[np.ndarray]:
    """Corners of the features as pixels of the scene, reprojected by pyproj: (4, 2) each."""
    back = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True)
    rings = [f["geometry"]["coordinates"][0][:-1] for f in results.features(Counts())]
    east, north = UTM.c, UTM.f
    placed = [np.array([back.transform(*point) for point in ring]) for ring in rings]
    return [np.column_stack([(p[:, 0] - east) / 10, (north - p[:, 1]) / 10]) for p in placed]


def furthest(shape: np.ndarray, box: Box) -> float:
    """Largest distance of a corner from the nearest one of a box, pixels."""
    wanted = np.array(corners(box))
    return float(np.linalg.norm(shape[:, None] - wanted[None], axis=-1).min(axis=1).max())


def pairs(shapes: list[np.ndarray], truth: list[Box]) -> list[float]:
    """For each planted object, how far the corners of the feature nearest to it are."""
    return [min(furthest(shape, box) for shape in shapes) for box in truth]


def test_upright_objects_are_found_once_within_half_a_pixel(tmp_path: Path, predicted) -> None:
    image = write_scene(tmp_path / "scene.tif", (600, 600))
    respond = Oracle(UPRIGHT, QWEN, [])
    shapes = found(predicted([image, image], "xbd/detect", profile=QWEN, respond=respond))
    assert len(shapes) == len(UPRIGHT)
    assert max(pairs(shapes, UPRIGHT)) < 0.5


def test_slanted_objects_are_found_once_within_half_a_pixel(tmp_path: Path, predicted) -> None:
    image = write_scene(tmp_path / "scene.tif", (600, 600))
    respond = Oracle(SLANTED, TURNED, [])
    inputs = {"phrase": "ships"}
    results = predicted([image], "geochat/refer", profile=TURNED, respond=respond, inputs=inputs)
    shapes = found(results)
    assert len(shapes) == len(SLANTED)
    assert max(pairs(shapes, SLANTED)) < 0.5


@pytest.mark.parametrize("at", [(0, 0), (17, -9), (-23, 31)])
@pytest.mark.parametrize("angle_deg", [-75, -45, -20, 5, 30, 60, 88])
def test_turned_objects_that_no_window_of_the_grid_sees_whole(
    tmp_path: Path, predicted, angle_deg: int, at: tuple[int, int]
) -> None:
    """Answers are whole numbers, so a single answer places a cut end only to 0.9 px."""
    image = write_scene(tmp_path / "scene.tif", (640, 640))
    x, y = at
    truth = [
        Box(100 + x, 320 + y, 290 + x, 344 + y, angle_deg),  # longer than a window
        Box(405 + x, 310 + y, 475 + x, 342 + y, angle_deg),  # than the overlap
    ]
    respond = Oracle(truth, TURNED, [])
    inputs = {"phrase": "ships"}
    results = predicted([image], "geochat/refer", profile=TURNED, respond=respond, inputs=inputs)
    shapes = found(results)
    assert len(shapes) == len(truth)
    assert max(pairs(shapes, truth)) < 0.5


def test_a_second_look_goes_on_where_it_stopped(tmp_path: Path, predicted) -> None:
    image = write_scene(tmp_path / "scene.tif", (600, 600))
    inputs = {"phrase": "ships"}
    asked = {"task": "geochat/refer", "profile": TURNED, "inputs": inputs}
    whole = predicted([image], respond=Oracle(SLANTED, TURNED, []), **asked)
    second = whole.job.read_plan().second_pass
    assert len(second) > 2
    lines = whole.job.answers.read_text().splitlines(keepends=True)
    whole.job.answers.write_text("".join(lines[:-2]))
    again = Oracle(SLANTED, TURNED, [])
    resumed = predicted([image], respond=again, **asked)
    assert again.asked == [str(len(lines) - 2), str(len(lines) - 1)]
    assert resumed.job.read_plan().second_pass == second
    assert resumed.job.answers.read_text() == "".join(lines)


def test_an_image_that_is_shrunk_keeps_its_places_to_half_a_pixel_of_the_model(
    tmp_path: Path, predicted
) -> None:
    image = write_scene(tmp_path / "scene.tif", (448, 448))
    truth = [Box(40, 80, 120, 160), Box(200, 240, 320, 400)]  # multiples of 4: the frame's units
    respond = Oracle(truth, QWEN, [])
    shapes = found(
        predicted([image, image], "xbd/detect", profile=QWEN, respond=respond, window=448)
    )
    assert len(respond.asked) == 1
    assert len(shapes) == 2
    assert max(pairs(shapes, truth)) < 0.5


def test_a_pair_shifted_by_whole_pixels_is_brought_together(tmp_path: Path, predicted) -> None:
    before = write_scene(tmp_path / "before.tif", (300, 300))
    moved = rasterio.Affine(10.0, 0.0, UTM.c + 400, 0.0, -10.0, UTM.f - 240)
    after = write_scene(tmp_path / "after.tif", (280, 290), transform=moved)
    truth = [Box(60, 60, 90, 90), Box(250, 250, 290, 280)]  # pixels of the first image
    respond = Oracle(truth, QWEN, [])
    results = predicted([before, after], "xbd/detect", profile=QWEN, respond=respond)
    assert results.request.area == (40, 24, 260, 276)
    shapes = found(results)
    assert len(shapes) == 2
    assert max(pairs(shapes, truth)) < 0.5


def test_without_merging_seams_would_double_objects(tmp_path: Path, predicted) -> None:
    image = write_scene(tmp_path / "scene.tif", (600, 600))
    respond = Oracle(UPRIGHT, QWEN, [])
    results = predicted([image, image], "xbd/detect", profile=QWEN, respond=respond)
    assert len(results._detections(Counts())) > 2 * len(UPRIGHT)


def test_rings_are_closed_and_counterclockwise(tmp_path: Path, predicted) -> None:
    image = write_scene(tmp_path / "scene.tif", (600, 600))
    respond = Oracle(SLANTED, TURNED, [])
    inputs = {"phrase": "ships"}
    results = predicted([image], "geochat/refer", profile=TURNED, respond=respond, inputs=inputs)
    made = list(results.features(Counts()))
    rings = [each["geometry"]["coordinates"][0] for each in made]
    assert all(ring[0] == ring[-1] and len(ring) == 5 for ring in rings)
    assert all(shapely.LinearRing(ring).is_ccw for ring in rings)
    assert all(
        each["bbox"] == pytest.approx(shapely.Polygon(ring).bounds)
        for each, ring in zip(made, rings, strict=True)
    )
    assert {each["properties"]["label"] for each in made} == {"ships"}
    assert math.isclose(made[0]["bbox"][1], 48.2, abs_tol=0.2)  # Lower Austria
