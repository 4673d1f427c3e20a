"""Georeferences by points and sensors, and features at 180 degrees and the poles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine

from geovlm.boxes import Box, corners
from geovlm.errors import DataError
from geovlm.predict import features, scenes, writing
from geovlm.predict.georeference.georeference import Georeference
from geovlm.predict.georeference.placing import placed
from geovlm.predict.results import Counts
from geovlm.raster import images
from tests.predict.planted import QWEN, Oracle, write_scene

FILE = Path("scene.tif")
TURNED_GRID = Affine(8.0, 6.0, 404400.0, 6.0, -8.0, 5342400.0)
"""Pixels of 10 m, north 37 degrees off the columns."""


def with_points(path: Path, bent_px: float = 0.0, number: int = 9) -> Path:
    """A scene that ground control points alone place, one of them off by some pixels."""
    write_scene(path, (60, 60), crs=None, transform=None)
    pixels = [(x, y) for y in (0.0, 30.0, 60.0) for x in (0.0, 30.0, 60.0)][:number]
    ground = [TURNED_GRID @ (x, y) for x, y in pixels]
    points = [
        GroundControlPoint(row=y, col=x, x=east + 10 * bent_px * (x == y == 30), y=north)
        for (x, y), (east, north) in zip(pixels, ground, strict=True)
    ]
    with rasterio.open(path, "r+") as file:
        file.gcps = (points, rasterio.CRS.from_epsg(32633))
    return path


# -- ground control points and sensor models ------------------------------------------------------


def test_ground_control_points_place_a_scene(tmp_path: Path) -> None:
    path = with_points(tmp_path / "a.tif")
    scene = scenes.scene([path], folder=tmp_path)
    assert scene.georeference is not None
    assert scene.georeference.transform == pytest.approx(TURNED_GRID[:6], abs=1e-6)
    assert scene.notes == (
        f"{path} is placed by 9 ground control points, with an error of up to 0.00 px",
    )


def test_ground_control_points_say_how_far_they_lie_off(tmp_path: Path) -> None:
    # a point off by 0.45 px draws the mean after it by a ninth: 0.45 x 8 / 9 = 0.40 px remain
    found, note = placed(with_points(tmp_path / "a.tif", bent_px=0.45))
    assert found is not None
    assert note.endswith("9 ground control points, with an error of up to 0.40 px")


def test_points_that_bend_a_scene_place_nothing(tmp_path: Path) -> None:
    path = with_points(tmp_path / "a.tif", bent_px=9.0)  # 8 px remain
    scene = scenes.scene([path], folder=tmp_path)
    assert scene.georeference is None
    assert "lie up to 8.0 px from any grid of equal pixels" in scene.notes[0]
    assert "gdalwarp" in scene.notes[0]


def test_three_points_prove_nothing_and_points_in_a_line_neither(tmp_path: Path) -> None:
    found, note = placed(with_points(tmp_path / "a.tif", number=3))
    assert found is None
    assert "has 3 ground control points" in note
    path = write_scene(tmp_path / "b.tif", (60, 60), crs=None, transform=None)
    line = [GroundControlPoint(row=i, col=i, x=i, y=i) for i in range(5)]
    with rasterio.open(path, "r+") as file:
        file.gcps = (line, rasterio.CRS.from_epsg(32633))
    assert placed(path)[0] is None
    assert "lie on a line" in placed(path)[1]


def test_the_second_of_a_pair_may_be_placed_by_points(tmp_path: Path) -> None:
    before = write_scene(tmp_path / "before.tif", (60, 60), transform=TURNED_GRID)
    after = with_points(tmp_path / "after.tif")
    assert scenes.scene([before, after], folder=tmp_path).images == (before, after)
    moved = TURNED_GRID @ Affine.translation(10, 20)
    before = write_scene(tmp_path / "before.tif", (60, 60), transform=moved)
    with rasterio.open(after, "r+") as file:
        pixels = np.full((3, 60, 60), 90, "uint8")
        pixels[:, 40:, 30:] = 200
        file.write(pixels)
    scene = scenes.scene([before, after], folder=tmp_path)
    assert scene.area == (0, 0, 50, 40)
    shown = np.asarray(images.open_window(scene.images[1], scene.area))
    assert (shown[:19, :, 0] == 90).all()
    assert (shown[21:, 21:, 0] == 200).all()  # 40 - 20 rows, 30 - 10 columns


def test_the_second_of_a_pair_may_be_a_map_of_the_world(tmp_path: Path) -> None:
    before = write_scene(tmp_path / "before.tif", (60, 60))
    world = Affine(1.0, 0.0, -180.0, 0.0, -1.0, 90.0)
    after = write_scene(tmp_path / "after.tif", (360, 180), crs="EPSG:4326", transform=world)
    scene = scenes.scene([before, after], folder=tmp_path)
    assert scene.area == (0, 0, 60, 60)
    assert (np.asarray(images.open_window(scene.images[1], scene.area)) == 90).all()


def test_a_sensor_model_alone_is_no_place(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", (60, 60), crs=None, transform=None)
    line = [1.0] + [0.0] * 19
    with rasterio.open(path, "r+") as file:
        file.rpcs = RPC(
            height_off=100.0,
            height_scale=500.0,
            lat_off=48.0,
            lat_scale=0.1,
            line_den_coeff=line,
            line_num_coeff=[0.0, 0.0, -1.0] + [0.0] * 17,
            line_off=30.0,
            line_scale=30.0,
            long_off=15.0,
            long_scale=0.1,
            samp_den_coeff=line,
            samp_num_coeff=[0.0, 1.0] + [0.0] * 18,
            samp_off=30.0,
            samp_scale=30.0,
        )
    found, note = placed(path)
    assert found is None
    assert "has only a sensor's model (RPC)" in note
    assert "gdalwarp -rpc" in note


# -- outside of a projection ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32633", (10, 0, 1e8, 0, -10, 1e8)),  # GDAL refuses it
        ("EPSG:2154", (10, 0, 1e9, 0, -10, 1e9)),  # it gives a place in the Antarctic
        ("EPSG:4326", (10, 0, 404400, 0, -10, 5342400)),  # metres as degrees
    ],
)
def test_a_scene_outside_of_its_projection_is_refused(tmp_path: Path, crs: str, transform) -> None:
    path = write_scene(tmp_path / "a.tif", (60, 60), crs=crs, transform=Affine(*transform))
    with pytest.raises(
        DataError, match=rf"a.tif has pixels outside of the area of its CRS, {crs}"
    ) as got:
        scenes.scene([path], folder=tmp_path)
    assert "\n" not in str(got.value)


def test_a_picture_of_the_whole_earth_is_placed_though_its_corners_are_not() -> None:
    # geostationary, of 100 pixels of 110 km: the disk's radius is 49 pixels
    crs = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +datum=WGS84 +units=m"
    where = Georeference(crs=crs, transform=(110e3, 0, -55e5, 0, -110e3, 55e5), file=FILE)
    where.check(100, 100)
    ((lon, lat), *_) = where.lonlat([(50, 50), (51, 50), (51, 51)])
    assert (lon, lat) == pytest.approx((0, 0), abs=1e-6)
    with pytest.raises(DataError, match="pixels outside of the area of its CRS"):
        where.lonlat([(0, 0), (1, 0), (1, 1)])


# -- 180 degrees and poles ------------------------------------------------------------------------


@pytest.mark.parametrize("epsg", [32760, 32701, 3832])
def test_features_are_cut_at_180_degrees(tmp_path: Path, predicted, epsg: int) -> None:
    pyogrio = pytest.importorskip("pyogrio", reason="what opens the files")
    pyproj = pytest.importorskip("pyproj", reason="the independent reprojection")
    there = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True)
    east, north = there.transform(180.0, -17.0)
    grid = Affine(10.0, 0.0, east - 1500, 0.0, -10.0, north + 1500)  # 180 is at column 150
    image = write_scene(tmp_path / "a.tif", (300, 300), crs=f"EPSG:{epsg}", transform=grid)
    truth = [Box(20, 20, 60, 50), Box(130, 100, 190, 130), Box(240, 240, 280, 280)]
    results = predicted([image, image], "xbd/detect", profile=QWEN, respond=Oracle(truth, QWEN, []))
    counts = Counts()
    writing.geojson(tmp_path / "a.geojson", results.features(counts), summary=dict)
    assert counts.antimeridian == 1
    made = json.loads((tmp_path / "a.geojson").read_text())
    kinds = [each["geometry"]["type"] for each in made["features"]]
    assert kinds == ["Polygon", "MultiPolygon", "Polygon"]
    west, east = (
        shapely.Polygon(part[0]) for part in made["features"][1]["geometry"]["coordinates"]
    )
    assert west.exterior.is_ccw
    assert east.exterior.is_ccw
    assert west.bounds[2] == 180
    assert east.bounds[0] == -180
    box = made["features"][1]["bbox"]
    assert box == [west.bounds[0], min(west.bounds[1], east.bounds[1]), east.bounds[2], box[3]]
    assert made["bbox"][0] > 179 > -179 > made["bbox"][2]
    # back on the grid, the corners are those that were planted
    ring = [point for part in (west, east) for point in part.exterior.coords[:-1]]
    back = [~grid @ there.transform(*point) for point in ring if abs(point[0]) != 180]
    assert len(back) == 4
    assert sorted((round(x), round(y)) for x, y in back) == sorted(map(tuple, corners(truth[1])))
    assert np.abs(np.array(back) - np.round(back)).max() < 0.01

    _, _, shapes, _ = pyogrio.raw.read(tmp_path / "a.geojson")
    assert [shape.geom_type for shape in shapely.from_wkb(shapes)] == kinds
    package = tmp_path / "a.gpkg"
    writing.geopackage(package, results.features(Counts()), crs="EPSG:4326")
    _, _, shapes, _ = pyogrio.raw.read(package)
    assert [len(shapely.get_parts(shape)) for shape in shapely.from_wkb(shapes)] == [1, 2, 1]


def test_a_footprint_around_a_pole_reaches_it() -> None:
    where = Georeference(crs="EPSG:3031", transform=(1000, 0, -50000, 0, -1000, 50000), file=FILE)
    made = features.place([(0, 0), (100, 0), (100, 100), (0, 100)], where)
    shape = shapely.from_geojson(json.dumps(made))
    assert shape.is_valid
    assert shape.contains(shapely.Point(77, -89.9))
    assert features.bounds(made) == [-180, -90, 180, pytest.approx(-89.3492, abs=1e-4)]


@pytest.mark.parametrize("epsg", [3857, 3832])
def test_a_footprint_of_the_whole_world_is_not_empty(epsg: int) -> None:
    half = 20037508.342789244  # metres
    where = Georeference(
        crs=f"EPSG:{epsg}", transform=(half / 50, 0, -half, 0, -half / 50, half), file=FILE
    )
    made = features.place([(0, 0), (100, 0), (100, 100), (0, 100)], where)
    shape = shapely.from_geojson(json.dumps(made))
    assert shape.bounds == pytest.approx((-180, -85.06, 180, 85.06), abs=0.03)
    assert shape.area == pytest.approx(360 * 170.1, rel=1e-3)


def test_longitudes_from_0_to_360_become_those_of_geojson() -> None:
    where = Georeference(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 90), file=FILE)
    beyond = features.place([(200, 40), (210, 40), (210, 45), (200, 45)], where)
    assert features.bounds(beyond) == [-160, 45, -150, 50]
    across = features.place([(179, 40), (182, 40), (182, 41), (179, 41)], where)
    assert features.crosses(across)
    assert features.bounds(across) == [179, 49, -178, 50]


def test_bounding_boxes_across_180_degrees_are_joined_by_the_shorter_way() -> None:
    assert features.union([179, 0, -179, 1], [-178, -1, -177, 0]) == [179, -1, -177, 1]
    assert features.union([170, 0, 171, 1], [179, 0, -179, 1]) == [170, 0, -179, 1]
    assert features.union([-180, 0, 180, 1], [179, 0, -179, 1]) == [-180, 0, 180, 1]
    assert features.union([1, 0, 2, 1], [-2, 0, -1, 1]) == [-2, 0, 2, 1]
