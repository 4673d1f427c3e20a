"""Windows, readings, merging, references and writing, each by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasterio.warp
from PIL import Image

from geovlm.api import PromptContext, Raster
from geovlm.boxes import Box
from geovlm.errors import ConfigError, DataError
from geovlm.plugins import profiles
from geovlm.predict import features, images, reading, scenes, writing
from geovlm.predict.job import Answer, Job, Plan, Request, input_size, windows
from geovlm.predict.windows import merge, second_pass, tiles
from geovlm.predict.windows.detections import Detection, Views, around, sides
from geovlm.predict.windows.tiles import Window
from geovlm.raster import open_image, open_window
from tests.predict.planted import QWEN, UTM, write_scene

# -- windows --------------------------------------------------------------------------------------


def test_the_last_window_ends_with_the_scene() -> None:
    cut = tiles.grid(Window(0, 0, 250, 100), side=100, overlap=20)
    assert list(cut) == [
        *(Window(0, 0, 100, 100), Window(80, 0, 100, 100), Window(150, 0, 100, 100)),
    ]


def test_a_scene_of_13817_by_8511_px_is_covered_by_windows_inside_it() -> None:
    cut = tiles.grid(Window(0, 0, 13817, 8511), side=1024, overlap=256)
    seen = np.zeros((8511, 13817), bool)
    for window in cut:
        seen[window.y : window.y + window.height, window.x : window.x + window.width] = True
    assert len(cut) == 18 * 11
    assert seen.all()
    assert max(w.x + w.width for w in cut) == 13817
    assert max(w.y + w.height for w in cut) == 8511


@pytest.mark.parametrize("side", [0, 512])
def test_a_small_scene_is_one_window(side: int) -> None:
    assert list(tiles.grid(Window(3, 4, 51, 31), side=side, overlap=0)) == [Window(3, 4, 51, 31)]


def test_an_overlap_as_large_as_the_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="windows of 100 px cannot overlap by 100 px"):
        tiles.grid(Window(0, 0, 250, 100), side=100, overlap=100)


def test_the_plan_keeps_the_size_at_which_a_processor_shows_a_window(tmp_path: Path) -> None:
    profile = replace(profiles.GENERIC, seen_size=lambda size: (size[0] * 2, size[1] * 3))
    request = Request(
        task="xbd/count",
        images=("a.tif",),
        area=Window(0, 0, 250, 100),
        inputs={},
        window=100,
        overlap=0,
        config={},
    )
    job = Job(tmp_path)
    job.write_request(request)
    job.write_plan(Plan(profile=profile, side=100, overlap=0, min_pixels=0))
    kept = job.read_plan()
    assert [input_size(each, kept) for each in windows(request, kept)] == [(200, 300)] * 3


def test_a_marked_box_lies_in_the_middle_of_its_window() -> None:
    area = Window(0, 0, 1000, 800)
    assert tiles.around([500, 400, 520, 440], area, side=100) == (460, 370, 100, 100)
    assert tiles.around([0, 0, 10, 10], area, side=100) == (0, 0, 100, 100)
    assert tiles.around([400, 300, 600, 400], area, side=100) == (350, 200, 300, 300)
    with pytest.raises(ConfigError, match="has no area in the image of 1000 x 800 px"):
        tiles.around([1100, 0, 1200, 10], area, side=100)


def test_windows_are_as_large_as_the_model_sees_unshrunk() -> None:
    assert tiles.default_side(replace(QWEN, max_pixels=7056)) == 256
    assert tiles.default_side(replace(QWEN, max_pixels=600 * 600)) == 588
    assert tiles.default_side(profiles.QWEN2_5_VL) == 1024


# -- reading --------------------------------------------------------------------------------------

SIZES = PromptContext(profile=QWEN, image_sizes=((112, 112),), input_sizes=((112, 112),))


def read(answer: str, how: reading.Kind, target: dict) -> reading.Reading:
    text = f"<think> so </think><answer> {answer} </answer>"
    return reading.read(text, how=how, target=target, default="thing", sizes=SIZES)


@pytest.mark.parametrize(
    ("answer", "target", "labels"),
    [
        ("[1, 2, 30, 40]", {"boxes": [], "label": "ship"}, ["ship"]),
        ("[1, 2, 30, 40], [50, 50, 60, 60]", {"boxes": []}, ["thing", "thing"]),
        (
            "2 white ships [1, 2, 30, 40] [50, 50, 60, 60] and 1 tank [5, 5, 9, 9].",
            {"boxes": [], "text": ""},
            ["2 white ships", "2 white ships", "and 1 tank"],
        ),
        (
            '[{"bbox_2d": [1, 2, 30, 40], "label": "car"}, {"bbox_2d": [5, 5, 9, 9]}]',
            {"boxes": []},
            ["car", "thing"],
        ),
        (
            '```json\n[{"bbox_2d": [1, 2, 30, 40], "label": "car"}]\n```',
            {"boxes": []},
            ["car"],
        ),
        (
            'Here: ```json\n[{"bbox_2d": [1, 2, 30, 40], "label": "car"}]\n```',
            {"boxes": []},
            ["car"],
        ),
        ("```\n2 ships [1, 2, 30, 40]\n```", {"boxes": [], "text": ""}, ["2 ships"]),
        (
            "<ref>2 ships</ref><box>[[1, 2, 30, 40], [50, 50, 60, 60]]</box> a <box>5 5 9 9</box>",
            {"boxes": [], "text": ""},
            ["2 ships", "2 ships", "a"],
        ),
        ("none", {"boxes": []}, []),
        ("[ ]", {"boxes": []}, []),
        ("```json\n[]\n```", {"boxes": []}, []),
        ("```[\n]```", {"boxes": []}, []),
        ("```\nnone\n```", {"boxes": []}, []),
    ],
)
def test_boxes_are_read_with_their_labels(answer: str, target: dict, labels: list[str]) -> None:
    found = read(answer, "boxes", target)
    assert found.understood
    assert [label for _, label in found.boxes] == labels


@pytest.mark.parametrize(
    ("completion", "how"),
    [
        ("", "text"),
        ("<think> a </think><answer> [1, 2", "boxes"),
        ("<answer> I see three ships </answer>", "boxes"),
        ("<answer> dragons </answer>", "labels"),
        ("<answer></answer>", "text"),
    ],
)
def test_what_cannot_be_read_is_no_answer(completion: str, how: reading.Kind) -> None:
    target = {"vocabulary": ["yes", "no"]}
    found = reading.read(completion, how=how, target=target, default="", sizes=SIZES)
    assert not found.understood


# -- merging --------------------------------------------------------------------------------------

LEFT, RIGHT = Window(0, 0, 100, 100), Window(80, 0, 100, 100)
VIEWS = Views(windows=(LEFT, RIGHT), area=Window(0, 0, 180, 100), tolerance=1.0)


def detection(numbers: list[float], tile: int, label: str = "a") -> Detection:
    box = Box(*numbers)
    return Detection(box=box, label=label, tile=tile, cut=VIEWS.cuts(box, tile))


def merged(*detections: Detection) -> list[tuple[float, ...]]:
    return [tuple(one.box[:4]) for one in merge.merge(detections, VIEWS)]


def test_an_object_seen_whole_twice_is_kept_from_where_it_is_more_central() -> None:
    # centre 88: 38 px from the middle of the left window, 42 px from that of the right one
    assert merged(detection([83, 10, 93, 20], 0), detection([83, 11, 93, 21], 1)) == [
        (83, 10, 93, 20)
    ]


def test_a_part_is_dropped_for_the_whole() -> None:
    assert merged(detection([90, 10, 100, 20], 0), detection([90, 10, 120, 20], 1)) == [
        (90, 10, 120, 20)
    ]


def test_a_sliver_at_the_edge_is_dropped_for_the_whole() -> None:
    assert merged(detection([98, 12, 100, 20], 0), detection([97, 10, 140, 20], 1)) == [
        (97, 10, 140, 20)
    ]


def test_parts_that_no_window_saw_whole_are_joined() -> None:
    assert merged(detection([40, 10, 100, 20], 0), detection([80, 11, 150, 21], 1)) == [
        (40, 10.5, 150, 20.5)  # both windows show the long sides, each one only its own end
    ]


def test_a_part_that_ends_before_the_others_does_not_draw_a_side_inwards() -> None:
    # the right window shows no more than the lower half
    assert merged(detection([40, 10, 100, 30], 0), detection([80, 18, 150, 30], 1)) == [
        (40, 10, 150, 30)
    ]


def test_a_sliver_of_an_object_that_is_joined_is_no_object() -> None:
    # of a long object that rises to the right, a third window shows the tip alone, 2 px high
    views = Views(
        windows=(LEFT, RIGHT, Window(80, 21, 100, 79)),
        area=Window(0, 0, 180, 100),
        tolerance=2.0,
    )
    boxes = [Box(40, 10, 100, 24), Box(80, 10, 150, 24), Box(140, 23, 151, 25)]
    found = [Detection(box=box, label="a", tile=i, cut=True) for i, box in enumerate(boxes)]
    assert [one.parts for one in merge.merge(found, views)] == [2]


def test_the_sides_of_a_turned_box_and_back() -> None:
    box = Box(10, 20, 50, 30, 90)  # centre (30, 25): 20 px to the left and right, 5 up and down
    assert sides(box, angle_deg=90) == pytest.approx((5, -35, 45, -25))
    corners = [(35, 5), (35, 45), (25, 45), (25, 5)]
    assert tuple(around(corners, angle_deg=90)) == pytest.approx(tuple(box))


def test_a_window_shows_the_sides_that_it_does_not_cut() -> None:
    # the lower right end of the object lies behind the edge at x = 100
    assert VIEWS.shows(Box(40, 40, 100, 50, 0), 0) == (True, True, False, True)
    part = around([(80, 40), (100, 60), (100, 74), (73, 47)], angle_deg=45)
    assert VIEWS.shows(part, 0) == (True, True, False, True)
    assert VIEWS.shows(Box(0, 0, 180, 100), 0) == (True, True, False, True)  # the scene ends there


# -- second pass ---------------------------------------------------------------------------------


def test_an_object_that_fits_into_a_window_is_looked_at_in_its_middle() -> None:
    one = detection([60, 40, 140, 60], 0)
    assert second_pass.windows([one], VIEWS, side=100) == [Window(50, 0, 100, 100)]
    assert second_pass.windows([one], VIEWS, side=0) == []


def test_a_whole_object_is_not_looked_at_again() -> None:
    assert second_pass.windows([detection([20, 40, 60, 60], 0)], VIEWS, side=100) == []


def test_each_end_of_a_longer_object_is_looked_at_several_times() -> None:
    views = Views(windows=[Window(0, 0, 100, 100)], area=Window(0, 0, 900, 900), tolerance=1.0)
    long = Detection(box=Box(200, 400, 600, 420), label="a", tile=0, cut=True)
    found = second_pass.windows([long], views, side=100)
    assert len(found) == 8
    assert {(w.x < 200 < w.x + 100, w.x < 600 < w.x + 100) for w in found} == {
        (True, False),
        (False, True),
    }
    assert sum(w.x + 50 for w in found) / 8 == 400
    assert sum(w.y + 50 for w in found) / 8 == 410


def test_second_looks_are_bounded() -> None:
    views = Views(windows=[Window(0, 0, 100, 100)], area=Window(0, 0, 9000, 900), tolerance=1.0)
    cut = [
        Detection(box=Box(x, 400, x + 400, 420), label="a", tile=0, cut=True)
        for x in range(100, 8500, 100)
    ]
    assert len(second_pass.windows(cut, views, side=100)) == 100


def test_neighbours_and_other_classes_stay_apart() -> None:
    two = detection([83, 10, 93, 20], 0), detection([83, 22, 93, 32], 1)
    assert len(merged(*two)) == 2
    classes = detection([83, 10, 93, 20], 0, "a"), detection([83, 10, 93, 20], 1, "b")
    assert len(merged(*classes)) == 2


def test_a_repeated_box_is_kept_once() -> None:
    assert len(merged(detection([10, 10, 30, 30], 0), detection([10, 10, 30, 30], 0))) == 1


def test_crossed_slender_boxes_are_two_though_their_hulls_are_one() -> None:
    one, other = Box(20, 45, 80, 51, 45), Box(20, 45, 80, 51, -45)
    found = [Detection(box=box, label="a", tile=0) for box in (one, other)]
    assert len(merge.merge(found, VIEWS)) == 2


# -- images ---------------------------------------------------------------------------------------


def test_an_8_bit_picture_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (51, 31), (9, 9, 9, 255)).save(path)
    assert images.reference(path) == path


def write_bands(path: Path, count: int, **profile: str) -> Path:
    """Write 8-bit bands of 50, 100, 150, … without colours."""
    shape = {"width": 8, "height": 8, "count": count, "dtype": "uint8"}
    with rasterio.open(path, "w", **shape, **profile) as file:
        file.write(np.stack([np.full((8, 8), 50 * (i + 1), "uint8") for i in range(count)]))
    return path


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize(
    ("name", "profile"), [("a.tif", {"photometric": "MINISBLACK"}), ("a.img", {"driver": "HFA"})]
)
def test_8_bit_bands_without_colours_are_shown_as_they_are(
    tmp_path: Path, name: str, profile: dict[str, str], count: int
) -> None:
    ref = images.reference(write_bands(tmp_path / name, count, **profile))
    assert open_window(ref, (0, 0, 8, 8)).getpixel((3, 3)) == (50, 100, 150)


def test_a_vrt_of_8_bit_bands_is_shown_as_they_are(tmp_path: Path) -> None:
    path = write_bands(tmp_path / "a.tif", 3, photometric="RGB")
    rasterio.shutil.copy(path, tmp_path / "a.vrt", driver="VRT")
    ref = images.reference(tmp_path / "a.vrt")
    assert open_window(ref, (0, 0, 8, 8)).getpixel((3, 3)) == (50, 100, 150)


def test_two_8_bit_bands_need_a_choice(tmp_path: Path) -> None:
    path = write_bands(tmp_path / "a.tif", 2, photometric="MINISBLACK")
    with pytest.raises(ConfigError, match=r"has 2 bands: .*--bands R,G,B"):
        images.reference(path)


def test_a_palette_is_a_picture_in_every_format_of_gdal(tmp_path: Path) -> None:
    path = write_bands(tmp_path / "a.tif", 1)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {50: (200, 0, 0, 255)})
    assert images.reference(path) == path
    rasterio.shutil.copy(path, tmp_path / "a.vrt", driver="VRT")
    assert images.reference(tmp_path / "a.vrt") == tmp_path / "a.vrt"
    assert open_image(tmp_path / "a.vrt").getpixel((0, 0)) == open_image(path).getpixel((0, 0))


def test_deeper_values_are_shown_by_percentiles_or_a_range(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", (20, 20), bands=3, dtype="uint16")
    found = images.reference(path)
    assert (found.bands, found.scaling, found.low, found.high) == (
        ("1", "2", "3"),
        *("percentile", 2.0, 98.0),
    )
    found = images.reference(path, value_range=(0.0, 2000.0))
    assert (found.scaling, found.low, found.high) == ("range", 0.0, 2000.0)


def test_three_deep_bands_are_shown_by_their_names(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", (64, 64), dtype="uint16", value=900)
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("B02", "B03", "B04")
    ref = images.reference(path)
    assert isinstance(ref, Raster)
    assert [ref.band_index[band] for band in ref.bands] == [3, 2, 1]


def test_thirteen_bands_need_a_choice(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", (20, 20), bands=13, dtype="uint16")
    with pytest.raises(ConfigError, match=r"has 13 bands: .*--bands R,G,B"):
        images.reference(path)
    assert images.reference(path, bands=["4", "3", "2"]).band_index == {"4": 4, "3": 3, "2": 2}


def test_a_folder_holds_a_file_per_band(tmp_path: Path) -> None:
    for name in ("T33_B02_10m.tif", "T33_B03_10m.tif", "T33_B04_10m.tif", "T33_B04_20m.tif"):
        write_scene(tmp_path / name, (20, 20), bands=1, dtype="uint16")
    found = images.reference(tmp_path, bands=["B03", "B02", "B03"])
    assert isinstance(found, Raster)
    assert found.files["B02"].name == "T33_B02_10m.tif"
    with pytest.raises(DataError, match=r"several files of band 'B04'.*B04_10m"):
        images.reference(tmp_path, bands=["B04", "B03", "B02"])
    with pytest.raises(DataError, match=r"no file of band 'B08' \(it holds T33_B02_10m.tif"):
        images.reference(tmp_path, bands=["B08"])
    with pytest.raises(ConfigError, match="is a folder"):
        images.reference(tmp_path)


# -- scenes ---------------------------------------------------------------------------------------


def test_pairs_of_different_size_need_a_georeference(tmp_path: Path) -> None:
    small = write_scene(tmp_path / "a.tif", (40, 30), crs=None, transform=None)
    large = write_scene(tmp_path / "b.tif", (50, 30), crs=None, transform=None)
    with pytest.raises(DataError, match=r"a.tif is 40 x 30 px, .*b.tif 50 x 30 px, and not both"):
        scenes.scene([small, large], folder=tmp_path)
    scene = scenes.scene([small, small], folder=tmp_path)
    assert scene.georeference is None
    assert scene.area == (0, 0, 40, 30)


def test_pairs_that_do_not_overlap_are_refused(tmp_path: Path) -> None:
    here = write_scene(tmp_path / "a.tif", (40, 30))
    there = rasterio.Affine(10.0, 0.0, UTM.c + 5000, 0.0, -10.0, UTM.f)
    far = write_scene(tmp_path / "b.tif", (40, 30), transform=there)
    with pytest.raises(DataError, match=r"a.tif and .*b.tif do not overlap"):
        scenes.scene([here, far], folder=tmp_path)


def test_the_second_of_a_pair_is_resampled_to_the_first_from_another_crs(tmp_path: Path) -> None:
    before = write_scene(tmp_path / "a.tif", (60, 60))
    after = tmp_path / "b.tif"
    with rasterio.open(before) as source:
        west, south, east, north = rasterio.warp.transform_bounds(
            source.crs, "EPSG:4326", *source.bounds
        )
    grid = rasterio.transform.from_bounds(west, south, east, north, 120, 90)
    values = np.zeros((3, 90, 120), "uint8")
    values[:, 30:60, 40:80] = 200  # the middle third both ways
    with rasterio.open(
        after, "w", driver="GTiff", width=120, height=90, count=3, dtype="uint8", crs="EPSG:4326",
        transform=grid,
    ) as file:  # fmt: skip
        file.write(values)
    scene = scenes.scene([before, after], folder=tmp_path)
    shown = np.asarray(open_window(scene.images[1], (0, 0, 60, 60)))[:, :, 0]
    bright = np.argwhere(shown > 100)
    # a third of 60 px, in the middle, give or take the tilt of UTM's grid (0.9 degrees here)
    assert np.abs(bright.min(axis=0) - 20).max() <= 2
    assert np.abs(bright.max(axis=0) - 39).max() <= 2


def test_zeros_around_a_resampled_image_enter_no_percentiles(tmp_path: Path) -> None:
    before = write_scene(tmp_path / "a.tif", (100, 100), bands=1, dtype="uint16")
    part = UTM @ rasterio.Affine.translation(70.5, 70.5)  # 9 % of the first
    after = write_scene(tmp_path / "b.tif", (30, 30), bands=1, dtype="uint16", transform=part)
    with rasterio.open(after, "r+") as file:
        file.write(np.linspace(1000, 2000, 900).reshape(1, 30, 30).astype("uint16"))
    scene = scenes.scene([images.reference(path) for path in (before, after)], folder=tmp_path)
    shown = np.asarray(open_window(scene.images[1], Window(72, 72, 26, 26)))
    assert shown.mean() == pytest.approx(127, abs=6)  # values are spread evenly over the range


def test_what_a_mask_hides_enters_no_percentiles_of_a_resampled_image(tmp_path: Path) -> None:
    before = write_scene(tmp_path / "a.tif", (60, 60), bands=1, dtype="uint16")
    moved = UTM @ rasterio.Affine.translation(-10, -10)
    after = write_scene(tmp_path / "b.tif", (80, 80), bands=1, dtype="uint16", transform=moved)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(after, "r+") as file:
        file.write(np.linspace(1000, 2000, 6400).reshape(1, 80, 80).astype("uint16"))
        mask = np.zeros((80, 80), bool)
        mask[40:] = True
        file.write_mask(mask)
    scene = scenes.scene([images.reference(path) for path in (before, after)], folder=tmp_path)
    shown = np.asarray(open_window(scene.images[1], (0, 30, 60, 30)))
    # rows 40 to 69 of the lower half of the values, rows 40 to 79: 30 of 40, from 0 on
    assert shown.mean() == pytest.approx(255 * 15 / 40, abs=6)


def test_around_resampled_decibels_it_is_black(tmp_path: Path) -> None:
    before = write_scene(tmp_path / "a.tif", (100, 100), bands=1, dtype="float32")
    part = UTM @ rasterio.Affine.translation(70.5, 70.5)
    after = write_scene(tmp_path / "b.tif", (30, 30), bands=1, dtype="float32", transform=part)
    with rasterio.open(after, "r+") as file:
        file.write(np.linspace(-25, -5, 900, dtype="float32").reshape(1, 30, 30))
    scene = scenes.scene([images.reference(path) for path in (before, after)], folder=tmp_path)
    shown = np.asarray(open_window(scene.images[1], (0, 0, 100, 100)))
    assert not shown[:70, :70].any()
    assert shown[72:98, 72:98].mean() == pytest.approx(127, abs=6)


def test_a_flat_band_is_resampled_to_black(tmp_path: Path) -> None:
    before = write_scene(tmp_path / "a.tif", (60, 60), bands=1, dtype="uint16")
    moved = UTM @ rasterio.Affine.translation(10, 10)
    after = write_scene(tmp_path / "b.tif", (60, 60), bands=1, dtype="uint16", transform=moved)
    scene = scenes.scene([images.reference(path) for path in (before, after)], folder=tmp_path)
    assert not np.asarray(open_window(scene.images[1], scene.area)).any()


def test_a_transform_without_crs_is_no_place(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", (40, 30), crs=None)
    scene = scenes.scene([path], folder=tmp_path)
    assert scene.georeference is None
    assert "has a transform but no CRS" in scene.notes[0]


# -- files ----------------------------------------------------------------------------------------


def test_a_local_crs_is_no_place(tmp_path: Path) -> None:
    site = 'LOCAL_CS["site",UNIT["metre",1]]'
    path = write_scene(tmp_path / "a.tif", (64, 64), crs=site)
    scene = scenes.scene([path], folder=tmp_path)
    assert scene.georeference is None
    assert scene.notes == (
        f"{path} has a local CRS or one of another planet, so it counts as without georeference",
    )


def test_a_ring_is_turned_counterclockwise_and_closed() -> None:
    made = features.polygon([(0, 0), (0, 2), (3, 2), (3, 0)], digits=4)
    assert made["coordinates"] == [[[3, 0], [3, 2], [0, 2], [0, 0], [3, 0]]]


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text("old", encoding="utf-8")

    def broken():
        yield features.feature(0, features.polygon([(0, 0), (1, 0), (1, 1)], digits=4), {})
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        writing.geojson(path, broken(), summary=dict)
    assert path.read_text(encoding="utf-8") == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.geojson"]


def test_a_torn_line_is_dropped(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.append([Answer(tile=0, text="a"), Answer(tile=1, text=None)])
    with job.answers.open("a", encoding="utf-8") as file:
        file.write('{"tile": 2, "te')
    assert job.drop_torn_end() == 2
    job.append([Answer(tile=2, text="c\u2028d")])
    assert [one.text for one in job.read()] == ["a", None, "c\u2028d"]
    assert json.loads(job.answers.read_text(encoding="utf-8").split("\n")[0])["tile"] == 0


def test_files_that_macos_leaves_beside_the_bands_are_no_bands(tmp_path: Path) -> None:
    for name in ("T33_B04.TIF", "T33_B03.TIF", "T33_B02.TIF"):
        (tmp_path / name).write_bytes(b"")
        (tmp_path / f"._{name}").write_bytes(b"\0\5\26\7")
    found = images.reference(tmp_path, bands=["B04", "B03", "B02"], value_range=(0, 9))
    assert isinstance(found, Raster)
    assert found.files["B04"] == tmp_path / "T33_B04.TIF"
