"""Vector layers over scenes: planted rectangles are found, and awkward features are counted."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform

from geovlm import raster
from geovlm.errors import ConfigError, DataError
from geovlm.files import streams
from geovlm.plugins.annotations.description import Description, parse
from geovlm.plugins.annotations.georeferenced import scenes, vectors, windows
from geovlm.plugins.annotations.records import Record
from tests.plugins.annotations import ground
from tests.plugins.annotations.ground import Box

PLANTED: Box = (40.0, 30.0, 70.0, 50.0)
OTHER: Box = (120.0, 90.0, 150.0, 130.0)
ROTATED = rasterio.Affine(0.4, 0.3, 500_000, 0.3, -0.4, 4_100_000)
"""Half a metre per pixel, turned by 37 degrees."""
SOUTH_UP = rasterio.Affine(0.5, 0, 500_000, 0, 0.5, 4_100_000)


def read(layer: Path, left_out: Counter[str] | None = None, **changes: Any) -> list[Record]:
    """Read a layer over the scenes in the folder `scenes` beside it."""
    counted = Counter() if left_out is None else left_out
    fields = {"name": "roof", "source": layer.name, "format": "geojson", "task": "detect"}
    fields |= {"images": "scenes", **changes}
    description = Description(folder=layer.parent, **fields)

    def skip(reason: str, item: str) -> None:
        counted[reason] += 1

    return list(windows.read(layer, description, skip))


def boxes(record: Record) -> list[Box]:
    assert record.boxes is not None
    return [each.box for each in record.boxes]


def layer_of(folder: Path, *features: dict[str, Any], crs: str | None = None) -> Path:
    return ground.geojson(folder / "roofs.geojson", features, crs=crs)


@pytest.mark.parametrize("layer_crs", ["EPSG:32615", "EPSG:3857", "EPSG:4326", "EPSG:26915"])
@pytest.mark.parametrize(
    "placing", [ground.NORTH_UP, SOUTH_UP, ROTATED], ids=["north", "south", "rotated"]
)
def test_a_planted_box_is_found_from_every_crs(
    placing: rasterio.Affine, layer_crs: str, tmp_path: Path
) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif", [PLANTED], transform=placing)
    shape = ground.moved(ground.polygon(PLANTED, transform=placing), crs=layer_crs)
    (record,) = read(layer_of(tmp_path, ground.feature(shape), crs=layer_crs))
    seen = ground.found_in(np.asarray(raster.open_image(record.images[0])))
    assert np.abs(np.subtract(boxes(record)[0], seen)).max() < 0.5
    assert boxes(record)[0] == pytest.approx(PLANTED, abs=0.01)


def test_planted_boxes_are_found_in_every_window(tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif", [PLANTED, OTHER])
    shapes = [ground.moved(ground.polygon(box)) for box in (PLANTED, OTHER)]
    found = read(layer_of(tmp_path, *map(ground.feature, shapes)), tile=100, overlap=20)
    assert [record.id for record in found if record.boxes] == [
        "a.tif@0,0",
        "a.tif@80,50",
        "a.tif@100,50",
    ]
    for record in found:
        picture = np.asarray(raster.open_image(record.images[0]))
        assert picture.shape == (100, 100, 3)
        for box in boxes(record):
            assert np.abs(np.subtract(box, ground.found_in(picture))).max() < 0.5


def test_an_object_at_an_edge_is_clipped_if_half_of_it_lies_inside(tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif", size=(200, 100))
    # of 40 px across column 100: 30 px to its left; 10 px; 20 px on each side
    across = [(70, 0, 110, 10), (90, 20, 130, 30), (80, 40, 120, 50)]
    features = [ground.feature(ground.polygon(box)) for box in across]
    left_out: Counter[str] = Counter()
    left, right = read(layer_of(tmp_path, *features, crs=ground.UTM), left_out, tile=100)
    assert np.allclose(boxes(left), [(70, 0, 100, 10), (80, 40, 100, 50)])
    assert np.allclose(boxes(right), [(0, 20, 30, 30), (0, 40, 20, 50)])
    assert left_out == {"object of which less than half lies in a window": 2}


def test_parts_are_objects_and_holes_do_not_count_as_area(tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif", size=(200, 100))
    one, two = (ground.polygon(box)["coordinates"] for box in (PLANTED, (0, 0, 9, 9)))
    both = {"type": "MultiPolygon", "coordinates": [one, two]}
    # 40 px across column 100, but what lies to its left is a court
    ring = ground.polygon((60, 60, 140, 90))["coordinates"]
    court = ground.polygon((62, 62, 98, 88))["coordinates"]
    holed = {"type": "Polygon", "coordinates": ring + court}
    layer = layer_of(tmp_path, ground.feature(both), ground.feature(holed), crs=ground.UTM)
    left, right = read(layer, tile=100)
    assert np.allclose(boxes(left), [PLANTED, (0, 0, 9, 9)])
    assert np.allclose(boxes(right), [(0, 60, 40, 90)])


def test_heights_and_crossing_edges_are_read(tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif")
    high = ground.polygon(PLANTED)
    high["coordinates"] = [[[*point, 12.5] for point in high["coordinates"][0]]]
    crossing = ground.polygon(OTHER)
    ring = crossing["coordinates"][0]
    ring[1], ring[2] = ring[2], ring[1]
    layer = layer_of(tmp_path, ground.feature(high), ground.feature(crossing), crs=ground.UTM)
    (record,) = read(layer)
    assert np.allclose(boxes(record), [PLANTED, OTHER])


@pytest.mark.parametrize(
    ("geometry", "reason"),
    [
        (None, "feature without a geometry that can be read"),
        ({"type": "Polygon", "coordinates": []}, "feature without a geometry that can be read"),
        ({"type": "Polygon", "coordinates": "?"}, "feature without a geometry that can be read"),
        (
            {"type": "Point", "coordinates": [500_010, 4_099_990]},
            "geometry that is no polygon: Point",
        ),
        (
            {"type": "LineString", "coordinates": [[500_010, 4_099_990], [500_020, 4_099_980]]},
            "geometry that is no polygon: LineString",
        ),
        (ground.polygon((10, 10, 10, 30)), "polygon without area"),
        (ground.polygon((900, 900, 910, 910)), "feature outside of every scene"),
        (ground.polygon((190, 10, 260, 20)), "object of which less than half lies in a window"),
    ],
)
def test_a_feature_that_is_no_object_of_a_scene_is_counted(
    geometry: dict[str, Any] | None, reason: str, tmp_path: Path
) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif")
    good = ground.feature(ground.polygon(PLANTED))
    left_out: Counter[str] = Counter()
    layer = layer_of(tmp_path, good, ground.feature(geometry), crs=ground.UTM)
    (record,) = read(layer, left_out)
    assert np.allclose(boxes(record), [PLANTED])
    assert left_out == {reason: 1}


def test_polygons_in_collections_are_read(tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif")
    point = {"type": "Point", "coordinates": [500_010, 4_099_990]}
    mixed = {"type": "GeometryCollection", "geometries": [ground.polygon(PLANTED), point]}
    left_out: Counter[str] = Counter()
    (record,) = read(layer_of(tmp_path, ground.feature(mixed), crs=ground.UTM), left_out)
    assert np.allclose(boxes(record), [PLANTED])
    assert left_out == {"geometry that is no polygon: Point": 1}


@pytest.mark.parametrize(
    "crs",
    [
        {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32615"}},
        {"type": "EPSG", "properties": {"code": 32615}},
    ],
)
def test_the_member_crs_of_the_old_format_is_read(crs: dict[str, Any], tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif")
    layer = layer_of(tmp_path, ground.feature(ground.polygon(PLANTED)))
    layer.write_text(json.dumps(json.loads(layer.read_text()) | {"crs": crs}))
    (record,) = read(layer)
    assert np.allclose(boxes(record), [PLANTED])


def test_degrees_are_longitude_then_latitude_whatever_the_crs_declares(tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif")
    shape = ground.moved(ground.polygon(PLANTED))
    (record,) = read(layer_of(tmp_path, ground.feature(shape), crs="urn:ogc:def:crs:EPSG::4326"))
    assert np.allclose(boxes(record), [PLANTED], atol=0.01)
    swapped = [[[y, x] for x, y in shape["coordinates"][0]]]
    shape = {"type": "Polygon", "coordinates": swapped}
    with pytest.raises(DataError, match="are no longitude and latitude"):
        read(layer_of(tmp_path, ground.feature(shape)))
    layer = layer_of(tmp_path, ground.feature(shape), crs="EPSG:4326")
    with pytest.raises(DataError, match=r"no feature lies in a scene: the layer covers x 37\."):
        read(layer)


def test_scenes_of_several_crs_each_get_their_objects(tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif")
    west = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 4_200_000)
    ground.scene(tmp_path / "scenes" / "b.tif", crs="EPSG:32614", transform=west)
    degrees = rasterio.Affine(1e-5, 0, -80.0, 0, -1e-5, 10.0)
    ground.scene(tmp_path / "scenes" / "c.tif", crs="EPSG:4326", transform=degrees)
    shapes = [
        ground.moved(ground.polygon(PLANTED)),
        ground.moved(ground.polygon(OTHER, transform=west), of="EPSG:32614"),
        ground.polygon(OTHER, transform=degrees),
    ]
    found = read(layer_of(tmp_path, *map(ground.feature, shapes)))
    assert np.allclose([boxes(each)[0] for each in found], [PLANTED, OTHER, OTHER], atol=0.02)
    assert [each.group for each in found] == ["a.tif", "b.tif", "c.tif"]


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32760", rasterio.Affine(10, 0, 822_000, 0, -10, 8_120_000)),
        ("EPSG:4326", rasterio.Affine(1e-4, 0, 179.99, 0, -1e-4, -17.0)),
        ("EPSG:4326", rasterio.Affine(1e-4, 0, -180.01, 0, -1e-4, -17.0)),
    ],
)
def test_an_object_across_180_degrees_is_one(
    crs: str, transform: rasterio.Affine, tmp_path: Path
) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif", crs=crs, transform=transform)
    whole: Box = (50.0, 30.0, 150.0, 50.0)
    shape = ground.moved(ground.polygon(whole, transform=transform), of=crs)
    left, right = [], []
    for lon, lat in shape["coordinates"][0]:
        left.append((lon + 360 * (lon < 0), lat))
        right.append((lon - 360 * (lon > 0), lat))
    # cut as RFC 7946 asks for: one part on each side
    import shapely

    parts = [
        shapely.Polygon(left).intersection(shapely.box(0, -90, 180, 90)),
        shapely.Polygon(right).intersection(shapely.box(-180, -90, 0, 90)),
    ]
    cut = json.loads(shapely.to_geojson(shapely.MultiPolygon(parts)))
    (record,) = read(layer_of(tmp_path, ground.feature(cut)))
    assert len(boxes(record)) == 1
    assert np.allclose(boxes(record), [whole], atol=0.1)


def test_a_scene_without_georeference_is_counted(tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif")
    ground.scene(tmp_path / "scenes" / "b.tif", crs=None)
    (tmp_path / "scenes" / "c.tif").write_bytes(b"II*\0")
    left_out: Counter[str] = Counter()
    layer = layer_of(tmp_path, ground.feature(ground.polygon(PLANTED)), crs=ground.UTM)
    assert [each.id for each in read(layer, left_out)] == ["a.tif"]
    assert left_out == {"scene without georeference": 1, "scene that cannot be read": 1}


def test_windows_without_objects_are_as_many_as_those_with_some(tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif")
    layer = layer_of(tmp_path, ground.feature(ground.polygon(PLANTED)), crs=ground.UTM)
    left_out: Counter[str] = Counter()
    found = read(layer, left_out, tile=50)  # 4 x 3 windows
    full = sum(bool(each.boxes) for each in found)
    assert len(found) == 2 * full
    assert left_out["window without objects, beyond as many as have some"] == 12 - 2 * full
    assert len(read(layer, tile=50, empty_windows="all")) == 12


def test_windows_without_data_are_left_out(tmp_path: Path) -> None:
    path = ground.scene(tmp_path / "scenes" / "a.tif", nodata=0)
    with rasterio.open(path, "r+") as out:
        out.write(
            np.zeros((3, 150, 100), "uint8"), window=rasterio.windows.Window(100, 0, 100, 150)
        )
    layer = layer_of(tmp_path, ground.feature(ground.polygon(PLANTED)), crs=ground.UTM)
    left_out: Counter[str] = Counter()
    found = read(layer, left_out, tile=100, empty_windows="all")
    assert [each.id for each in found] == ["a.tif@0,0", "a.tif@0,50"]
    assert left_out["window without data"] == 2


def test_scenes_before_and_after_are_one_group(tmp_path: Path) -> None:
    east = rasterio.Affine(0.5, 0, 500_090, 0, -0.5, 4_100_000)
    ground.scene(tmp_path / "scenes" / "after.tif")
    ground.scene(tmp_path / "scenes" / "before.tif")
    ground.scene(tmp_path / "scenes" / "east.tif", transform=east)  # shares a tenth
    layer = layer_of(tmp_path, ground.feature(ground.polygon(PLANTED)), crs=ground.UTM)
    found = read(layer)
    assert [each.group for each in found] == ["after.tif", "after.tif", "east.tif"]
    assert found[0].scene == found[1].scene == str(tmp_path / "scenes" / "after.tif")


def test_labels_are_values_of_the_field(tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif")
    values: list[Any] = ["big  house", 3, 3.0, None, "", " "]
    features = [ground.feature(ground.polygon(PLANTED), kind=value) for value in values]
    features.append(ground.feature(ground.polygon(PLANTED)))
    left_out: Counter[str] = Counter()
    layer = layer_of(tmp_path, *features, crs=ground.UTM)
    (record,) = read(layer, left_out, columns={"label": "kind"})
    assert [each.label for each in record.boxes or ()] == ["big house", "3", "3"]
    assert left_out == {"feature without a value in 'kind'": 4}
    (record,) = read(layer)
    assert {each.label for each in record.boxes or ()} == {"roof"}
    with pytest.raises(DataError, match=r"no feature has a field 'kinds' \(did you mean 'kind'"):
        read(layer, columns={"label": "kinds"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "is not a JSON object"),
        ('{"type": "Topology", "objects": {}}', "is not GeoJSON"),
        ('{"type": "FeatureCollection", "crs": {"type": "link"}, "features": []}', "names none"),
    ],
)
def test_a_file_of_another_kind_is_refused(text: str, message: str, tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif")
    layer = tmp_path / "a.geojson"
    layer.write_text(text)
    with pytest.raises(DataError, match=message):
        read(layer)


def test_a_layer_of_any_length_is_read_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif")
    shape = ground.polygon(PLANTED)
    layer = layer_of(tmp_path, *[ground.feature(shape, note="x" * 4000)] * 1000, crs=ground.UTM)
    monkeypatch.setattr(streams, "_CHUNK", 1 << 16)
    monkeypatch.setattr(vectors, "_AT_ONCE", 64)
    tracemalloc.start()
    try:
        (record,) = read(layer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(record.boxes or ()) == 1000
    assert peak < layer.stat().st_size / 2


def test_the_objects_of_one_scene_at_a_time_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        ground.scene(tmp_path / "scenes" / f"{name}.tif", [PLANTED])
    layer = layer_of(tmp_path, ground.feature(ground.polygon(PLANTED)), crs=ground.UTM)
    seen: list[str] = []
    placed = scenes.placed

    def counted(layer: Any, scene: Any) -> Any:
        seen.append(scene.name)
        return placed(layer, scene)

    monkeypatch.setattr(scenes, "placed", counted)
    fields = {"name": "roof", "source": layer.name, "format": "geojson", "task": "detect"}
    own = Description(folder=tmp_path, images="scenes", **fields)
    found = windows.read(layer, own, lambda reason, item: None)
    assert [next(found).id for _ in range(2)] == ["a.tif", "b.tif"]
    assert seen == ["a.tif", "b.tif"]


def test_metres_without_a_crs_are_refused(tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif")
    with pytest.raises(DataError, match="are no longitude and latitude"):
        read(layer_of(tmp_path, ground.feature(ground.polygon(PLANTED))))


def test_a_crs_that_proj_does_not_know_is_refused(tmp_path: Path) -> None:
    ground.scene(tmp_path / "scenes" / "a.tif")
    layer = layer_of(tmp_path, ground.feature(ground.polygon(PLANTED)), crs="EPSG:999999")
    with pytest.raises(DataError, match="PROJ does not know the CRS 'EPSG:999999'"):
        read(layer)


@pytest.mark.parametrize("ending", ["gpkg", "shp"])
def test_geopackages_and_shapefiles_give_the_same_boxes(ending: str, tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    import shapely

    ground.scene(tmp_path / "scenes" / "a.tif")
    shapes = [shapely.box(500_020, 4_099_975, 500_035, 4_099_985), None]
    pyogrio.raw.write(
        tmp_path / f"roofs.{ending}",
        geometry=np.array(shapely.to_wkb(shapes), dtype=object),
        field_data=[np.array(["house", "shed"], dtype=object)],
        fields=np.array(["class"], dtype=object),
        geometry_type="Polygon",
        crs=ground.UTM,
    )
    left_out: Counter[str] = Counter()
    layer = tmp_path / f"roofs.{ending}"
    (record,) = read(layer, left_out, format=ending, columns={"label": "class"})
    assert np.allclose(boxes(record), [PLANTED])
    assert [each.label for each in record.boxes or ()] == ["house"]
    assert left_out == {"feature without a geometry that can be read": 1}


def test_sixteen_bit_scenes_are_stretched_and_four_bands_ask_for_a_choice(tmp_path: Path) -> None:
    path = ground.scene(tmp_path / "scenes" / "a.tif", [PLANTED], dtype="uint16")
    layer = layer_of(tmp_path, ground.feature(ground.polygon(PLANTED)), crs=ground.UTM)
    (record,) = read(layer)
    picture = np.asarray(raster.open_image(record.images[0]))
    assert ground.found_in(picture) == list(PLANTED)
    with rasterio.open(path) as source:
        profile, pixels = source.profile, source.read()
    with rasterio.open(path, "w", **profile | {"count": 4}) as out:
        out.write(np.concatenate([pixels, pixels[:1]]))
    with pytest.raises(ConfigError, match=r"has 4 bands: choose .*--bands R,G,B"):
        read(layer)
    (record,) = read(layer, bands=("3", "2", "1"))
    assert ground.found_in(np.asarray(raster.open_image(record.images[0]))) == list(PLANTED)


HEAD = '[dataset]\nname = "own"\nsource = "a"\ntask = "detect"\nlabels = ["x"]\n'


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('format = "coco"\ntile = 512\n', "dataset.tile is for geojson, gpkg, shp only"),
        ('format = "geojson"\ntile = 64\noverlap = 64\n', "overlap must be below dataset.tile"),
        ('format = "geojson"\noverlap = 64\n', "overlap must be below dataset.tile"),
        ('format = "geojson"\nempty_windows = "some"\n', "must be one of balanced, all"),
    ],
)
def test_wrong_windows_are_refused_by_their_key(keys: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(HEAD + keys, tmp_path / "own.toml")


def test_the_shift_between_two_datums_counts(tmp_path: Path) -> None:
    """A layer in ED50 over a scene in ETRS89: the datums lie a hundred metres apart."""
    placing = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_500_000)
    ground.scene(tmp_path / "scenes" / "a.tif", [PLANTED], crs="EPSG:25832", transform=placing)
    ring = ground.polygon(PLANTED, transform=placing)["coordinates"][0]
    xs, ys = transform("EPSG:25832", "EPSG:23032", *zip(*ring, strict=True))
    shape = {"type": "Polygon", "coordinates": [[list(p) for p in zip(xs, ys, strict=True)]]}
    (record,) = read(layer_of(tmp_path, ground.feature(shape), crs="EPSG:23032"))
    assert np.abs(np.subtract(boxes(record)[0], PLANTED)).max() < 0.5
