"""Which images of a place are shown, and which part of them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from geovlm_fmow.views import RefusedView, View, crop, read, spread

RECORD = {
    "bounding_boxes": [
        {"ID": -1, "box": [0, 0, 9, 9], "category": "fountain"},
        {"ID": 47768, "box": [466, 299, 72, 60], "category": "fountain", "visible": "True"},
    ],
    "gsd": 0.5,
    "img_height": 663,
    "img_width": 977,
    "timestamp": "2012-04-02T10:32:22Z",
}


def view(taken="2012-01-01", box=(400, 300, 100, 60), size=(1000, 800)):
    return View(datetime.fromisoformat(taken), Path(f"{taken}.jpg"), size, box, None)


def chosen(*dates):
    return [each.path.stem for each in spread([view(date) for date in dates])]


def test_four_views_are_spread_evenly_in_time():
    dates = ["2010-01-01", "2010-02-01", "2010-03-01", "2013-01-15", "2016-02-01", "2019-01-01"]
    assert chosen(*dates) == ["2010-01-01", "2013-01-15", "2016-02-01", "2019-01-01"]


def test_views_are_ordered_oldest_first():
    dates = ["2016-01-01", "2010-01-01", "2014-01-01", "2012-01-01"]
    assert chosen(*dates) == sorted(dates)


def test_of_dates_that_lie_together_the_earlier_ones_are_taken():
    dates = ["2010-01-01", "2011-01-01", "2011-01-02", "2011-01-03", "2020-01-01"]
    assert chosen(*dates)[2:] == ["2011-01-03", "2020-01-01"]
    assert len(set(chosen(*["2010-01-01"] * 3, "2011-01-01", "2012-01-01"))) == 3


def test_the_crop_shows_the_box_with_ground_around_it():
    # a quarter of the longer side, 25 px, on each side
    assert crop(view(), context=0.25, min_side_px=1) == (375, 275, 150, 110)


def test_a_small_crop_grows_to_the_shortest_side_around_its_centre():
    small = view(box=(500, 400, 10, 10))
    assert crop(small, context=0.0, min_side_px=110) == (450, 350, 110, 110)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((-20, 0, 100, 60), (0, 0, 105, 85)),
        ((990, 790, 10, 10), (890, 690, 110, 110)),
        ((0, 0, 1000, 800), (0, 0, 1000, 800)),
    ],
)
def test_a_crop_stays_inside_the_image(box, expected):
    least = 110 if box[2] == 10 else 1
    assert crop(view(box=box), context=0.25, min_side_px=least) == expected


def test_an_image_smaller_than_the_shortest_side_is_shown_whole():
    tiny = view(box=(10, 10, 5, 5), size=(50, 40))
    assert crop(tiny, context=0.25, min_side_px=112) == (0, 0, 50, 40)


def write(folder, **fields):
    path = folder / "a.json"
    path.write_text(json.dumps(RECORD | fields), encoding="utf-8")
    return path


def test_the_box_is_that_of_the_ground_truth(tmp_path):
    found = read(write(tmp_path), tmp_path / "a.jpg")
    assert found.box == (466.0, 299.0, 72.0, 60.0)
    assert (found.size, found.gsd_m) == ((977, 663), 0.5)
    assert found.taken == datetime(2012, 4, 2, 10, 32, 22)


def test_a_single_box_may_stand_alone(tmp_path):
    path = write(tmp_path, bounding_boxes={"ID": -1, "box": [1, 2, 3, 4]})
    assert read(path, tmp_path / "a.jpg").box == (1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"timestamp": None}, "without a timestamp"),
        ({"timestamp": "soon"}, "without a timestamp"),
        ({"img_width": None}, "without img_width"),
        ({"bounding_boxes": None}, "without bounding_boxes"),
        ({"bounding_boxes": [{"ID": 1, "box": [1, 2, 0, 4]}]}, "without bounding_boxes"),
        ({"bounding_boxes": [{"ID": 1, "box": [2000, 2, 3, 4]}]}, "box outside the image"),
    ],
)
def test_metadata_that_cannot_be_used_name_the_reason(tmp_path, fields, reason):
    with pytest.raises(RefusedView, match=reason):
        read(write(tmp_path, **fields), tmp_path / "a.jpg")


def test_a_file_that_is_no_metadata_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(RefusedView, match="not a JSON object"):
        read(tmp_path / "a.json", tmp_path / "a.jpg")


def test_a_real_record_is_read(realdata):
    path = realdata / "fMoW" / "record_with_ground_truth.RECONSTRUCTED.json"
    found = read(path, Path("fountain_514_1_rgb.jpg"))
    assert (found.size, found.box) == ((977, 663), (466.0, 299.0, 72.0, 60.0))
    assert crop(found, context=0.25, min_side_px=112) == (446, 273, 112, 112)
