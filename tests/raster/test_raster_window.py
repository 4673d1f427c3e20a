"""`Raster.window`: the part of a scene that is one image, wherever images are read or compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image, ImageChops

from geovlm import raster
from geovlm.api import Raster, Sample
from geovlm.data import imagefiles, leaks
from geovlm.data.leaks import Part
from geovlm.errors import DataError
from geovlm.plan import checksums
from geovlm.predict.georeference.placing import placed
from geovlm.raster import images, reference

PIXELS = np.random.default_rng(3).integers(0, 4000, (3, 60, 90)).astype("uint16")
BANDS = ("1", "2", "3")
GRID = rasterio.Affine(0.5, 0, 400_000, 0, -0.5, 4_000_000)


@pytest.fixture
def whole(tmp_path: Path) -> Raster:
    """A scene of 90 x 60 px in EPSG:32615, shown by its percentiles."""
    path = tmp_path / "scene.tif"
    shape = {"width": 90, "height": 60, "count": 3, "dtype": "uint16"}
    placing = {"crs": "EPSG:32615", "transform": GRID}
    with rasterio.open(path, "w", driver="GTiff", **shape, **placing) as out:
        out.write(PIXELS)
    index = {name: int(name) for name in BANDS}
    return Raster(file=path, bands=BANDS, band_index=index, low=2, high=98, scaling="percentile")


def part(whole: Raster, *window: int) -> Raster:
    return dataclasses.replace(whole, window=window)


def same(left: Image.Image, right: Image.Image) -> bool:
    return left.size == right.size and ImageChops.difference(left, right).getbbox() is None


def test_the_image_is_that_part_of_the_scene_in_the_scene_s_scaling(whole: Raster) -> None:
    found = raster.open_image(part(whole, 20, 10, 40, 30))
    assert same(found, raster.open_image(whole).crop((20, 10, 60, 40)))
    assert raster.image_size(part(whole, 20, 10, 40, 30)) == (40, 30)


def test_a_window_of_a_window_is_counted_from_its_corner(whole: Raster) -> None:
    found = images.open_window(part(whole, 20, 10, 40, 30), (5, 6, 10, 11))
    assert same(found, raster.open_image(whole).crop((25, 16, 35, 27)))
    with pytest.raises(ValueError, match="leaves the image"):
        images.open_window(part(whole, 20, 10, 40, 30), (35, 0, 10, 10))


def test_a_part_without_data_is_told_from_its_neighbour(whole: Raster) -> None:
    with rasterio.open(whole.file, "r+") as out:
        out.write(np.zeros((3, 60, 30), "uint16"), window=rasterio.windows.Window(0, 0, 30, 60))
    assert not images.has_data(part(whole, 0, 0, 30, 60), (0, 0, 30, 60))
    assert images.has_data(part(whole, 30, 0, 30, 60), (0, 0, 30, 60))


@pytest.mark.parametrize("window", [(80, 0, 20, 20), (-1, 0, 20, 20), (0, 0, 0, 20)])
def test_a_window_that_leaves_the_scene_is_refused(whole: Raster, window: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"scene\.tif: the window .* leaves its 90 x 60 px"):
        raster.image_size(part(whole, *window))


def test_a_window_survives_json(whole: Raster) -> None:
    found = part(whole, 20, 10, 40, 30)
    assert reference.decode(reference.encode(found)) == found


def test_two_windows_of_a_file_are_two_images(whole: Raster) -> None:
    one, other = part(whole, 0, 0, 30, 30), part(whole, 30, 0, 30, 30)
    assert imagefiles.name_of(one) == f"{whole.file} (1, 2, 3) at 0, 0, 30, 30"
    assert not imagefiles.same_bytes(one, other)
    digests = [imagefiles.digest([whole.file], window=each.window) for each in (one, other)]
    assert digests[0] != digests[1]


def found(train: list[Raster], held_out: list[Raster]) -> leaks.Leaks:
    parts = [
        Part(dataset="a", split=split, records=[Sample(id="x", images=(each,), target={})])
        for split, some in (("train", train), ("test", held_out))
        for each in some
    ]
    return leaks.find(parts[:1], parts[1:], progress=lambda items, *, label, total: items)


def test_leaks_are_the_same_windows_and_not_the_same_files(whole: Raster) -> None:
    one, other = part(whole, 0, 0, 30, 30), part(whole, 30, 0, 30, 30)
    assert found([one], [other]).images == ()
    assert [each.kind for each in found([one], [one]).images] == ["same file"]


def test_checksums_follow_the_window(whole: Raster) -> None:
    digests = {
        checksums.of_split([Sample(id="x", images=(image,), target={})], root=Path())["sha256"]
        for image in (whole, part(whole, 0, 0, 30, 30), part(whole, 30, 0, 30, 30))
    }
    assert len(digests) == 3


def test_a_window_lies_on_the_ground_where_its_pixels_do(whole: Raster) -> None:
    georeference, _ = placed(part(whole, 20, 10, 40, 30))
    assert georeference is not None
    assert georeference.size == (40, 30)
    # 20 px of half a metre to the east, 10 to the south
    assert georeference.source([(0, 0)]) == [(400_010, 3_999_995)]
