"""Bands of several files: each is shown where its own georeference puts it, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio import Affine

from geovlm import raster
from geovlm.api import Raster
from geovlm.errors import DataError
from geovlm.predict import scenes
from geovlm.raster.checks import suspicions

UTM = "EPSG:32633"
GRID = Affine(10, 0, 500_000, 0, -10, 5_000_000)
TO_UTM = Transformer.from_crs(32632, 32633, always_xy=True)
TO_32 = Transformer.from_crs(32633, 32632, always_xy=True)


def ground(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return values 90..1890 at easting and northing of `UTM`; a period is 1257 to 1885 m."""
    return (np.sin(x / 300) + np.cos(y / 200) + 2.2) * 450


def write(
    path: Path,
    transform: Affine,
    size: tuple[int, int] = (120, 100),
    *,
    crs: str | None = UTM,
    to_utm: Callable[..., Any] | None = None,
    **options: Any,
) -> Path:
    """Write what a grid of `size` (width, height) sees of the ground."""
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    x, y = transform @ (columns, rows)
    if to_utm is not None:
        x, y = to_utm(x, y)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=1,
        dtype="float32",
        crs=crs,
        transform=transform,
        **options,
    ) as out:
        out.write(ground(x, y).astype("float32"), 1)
    return path


def shown(folder: Path, **options: Any) -> Raster:
    files = {name: folder / f"{name}.tif" for name in ("B04", "B03", "B02")}
    return Raster(files=files, bands=("B04", "B03", "B02"), high=2000, **options)


def differences(ref: Raster) -> tuple[float, float]:
    """Return the share of pixels that green covers, and its mean distance from red there, 0..255.

    Both bands see the same ground, so the distance is 0 where both are in place.
    """
    picture = np.asarray(raster.open_image(ref)).astype(int)
    covered = picture[..., 1] > 0
    return float(covered.mean()), float(np.abs(picture[..., 1] - picture[..., 0])[covered].mean())


ELSEWHERE: dict[str, tuple[Affine, tuple[int, int], dict[str, Any], float]] = {
    "600 m to the east": (Affine(10, 0, 500_600, 0, -10, 5_000_000), (120, 100), {}, 0.5),
    "cut to the upper half": (GRID, (120, 50), {}, 0.5),
    "a larger part": (Affine(10, 0, 499_000, 0, -10, 5_001_000), (320, 300), {}, 1.0),
    "a larger part at 20 m": (Affine(20, 0, 499_000, 0, -20, 5_001_000), (160, 150), {}, 1.0),
    "its rows run north": (Affine(10, 0, 500_000, 0, 10, 4_999_000), (120, 100), {}, 1.0),
    "turned": (Affine(8, -6, 500_200, -6, -8, 5_000_900), (240, 260), {}, 1.0),
    "no CRS": (Affine(10, 0, 500_600, 0, -10, 5_000_000), (120, 100), {"crs": None}, 0.5),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_band_is_shown_where_its_georeference_puts_it(tmp_path: Path, name: str) -> None:
    transform, size, options, share = ELSEWHERE[name]
    write(tmp_path / "B04.tif", GRID)
    write(tmp_path / "B03.tif", transform, size, **options)
    write(tmp_path / "B02.tif", GRID)
    covered, off = differences(shown(tmp_path))
    assert covered == pytest.approx(share, abs=0.02)
    assert off < 0.5  # of 255; 60 px to the side it is 70


def test_bands_of_two_utm_zones_are_one_picture(tmp_path: Path) -> None:
    xs, ys = TO_32.transform([500_000, 501_200] * 2, [5_000_000, 5_000_000, 4_999_000, 4_999_000])
    transform = Affine(10, 0, min(xs) - 50, 0, -10, max(ys) + 50)
    size = int((max(xs) - min(xs)) / 10) + 12, int((max(ys) - min(ys)) / 10) + 12
    write(tmp_path / "B04.tif", GRID)
    write(tmp_path / "B03.tif", transform, size, crs="EPSG:32632", to_utm=TO_UTM.transform)
    write(tmp_path / "B02.tif", GRID)
    covered, off = differences(shown(tmp_path))
    assert covered == 1.0
    assert off < 0.5


def test_windows_of_a_moved_band_are_parts_of_the_picture(tmp_path: Path) -> None:
    write(tmp_path / "B04.tif", GRID)
    write(tmp_path / "B03.tif", Affine(10, 0, 500_333, 0, -10, 5_000_071))
    write(tmp_path / "B02.tif", GRID)
    ref = shown(tmp_path)
    whole = np.asarray(raster.open_image(ref))
    part = np.asarray(raster.open_window(ref, (30, 20, 60, 50)))
    assert np.array_equal(part, whole[20:70, 30:90])


def test_an_index_of_bands_with_other_extents_compares_the_same_ground(tmp_path: Path) -> None:
    write(tmp_path / "B04.tif", GRID)
    write(tmp_path / "B08.tif", Affine(10, 0, 500_600, 0, -10, 5_000_000))
    files = {name: tmp_path / f"{name}.tif" for name in ("B04", "B08")}
    picture = raster.open_image(Raster(files=files, bands=("B04", "NDVI", "NDVI"), high=2000))
    values = np.asarray(picture)[..., 1]
    assert set(np.unique(values[:, 60:])) <= {127, 128}  # equal bands: the index is 0
    assert values[:, :59].max() == 0


def test_a_band_that_covers_a_part_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "B04.tif", GRID)
    write(tmp_path / "B03.tif", Affine(10, 0, 500_600, 0, -10, 5_000_000))
    write(tmp_path / "B02.tif", GRID)
    (one,) = suspicions(shown(tmp_path))
    assert (one.kind, one.rejects) == ("ground", False)
    assert "B03 covers 52% of the ground of B04" in one.message  # 11 of 21 columns of points


def test_bands_of_two_places_are_refused_with_both_extents(tmp_path: Path) -> None:
    write(tmp_path / "B04.tif", GRID)
    write(tmp_path / "B03.tif", Affine(10, 0, 520_000, 0, -10, 5_000_000))
    write(tmp_path / "B02.tif", GRID)
    with pytest.raises(DataError, match="do not overlap") as caught:
        raster.open_image(shown(tmp_path))
    assert "x 520000 to 521200, y 4999000 to 5000000" in str(caught.value)
    assert "x 500000 to 501200, y 4999000 to 5000000" in str(caught.value)
    with pytest.raises(DataError, match="do not overlap"):
        scenes.scene([shown(tmp_path)], folder=tmp_path)


@pytest.mark.parametrize(
    ("transform", "size"),
    [
        (Affine(10, 0, 500_003, 0, -10, 4_999_997), (120, 100)),
        (Affine(10.0001, 0, 500_000, 0, -10.0001, 5_000_000), (120, 100)),
        (Affine(20, 0, 500_000, 0, -20, 5_000_000), (60, 50)),
    ],
)
def test_extents_within_half_a_pixel_are_the_same_ground(
    tmp_path: Path, transform: Affine, size: tuple[int, int]
) -> None:
    write(tmp_path / "B04.tif", GRID)
    write(tmp_path / "B03.tif", transform, size)
    write(tmp_path / "B02.tif", GRID)
    with_places = np.asarray(raster.open_image(shown(tmp_path)))
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("B04", "B03", "B02"):
        with rasterio.open(tmp_path / f"{name}.tif") as source:
            profile = {k: v for k, v in source.profile.items() if k not in ("crs", "transform")}
            with rasterio.open(bare / f"{name}.tif", "w", **profile) as out:
                out.write(source.read())
    assert np.array_equal(with_places, np.asarray(raster.open_image(shown(bare))))


@pytest.mark.parametrize(("size", "fits"), [((60, 50), True), ((20, 17), True), ((120, 90), False)])
def test_without_georeference_sizes_must_be_in_ratio(
    tmp_path: Path, size: tuple[int, int], fits: bool
) -> None:
    write(tmp_path / "B04.tif", GRID)
    write(tmp_path / "B03.tif", Affine.identity(), size, crs=None)
    write(tmp_path / "B02.tif", GRID)
    if fits:
        assert np.asarray(raster.open_image(shown(tmp_path)))[..., 1].min() > 0
        return
    with pytest.raises(DataError, match=r"B03\.tif is 120 x 90 px and .*B04\.tif 120 x 100 px"):
        raster.open_image(shown(tmp_path))


def test_the_fill_of_a_moved_band_stays_out_of_its_picture(tmp_path: Path) -> None:
    write(tmp_path / "B04.tif", GRID)
    path = write(tmp_path / "B03.tif", Affine(10, 0, 500_003.3, 0, -10, 5_000_107.7))
    with rasterio.open(path, "r+") as out:
        values = out.read(1)
        values[:40] = -9999
        out.write(values, 1)
    write(tmp_path / "B02.tif", GRID)
    ref = shown(tmp_path, nodata=-9999)
    picture = np.asarray(raster.open_image(ref)).astype(int)
    seen = picture[..., 1] > 0
    assert not seen[:28].any()
    assert seen[32:88].all()
    assert np.abs(picture[..., 1] - picture[..., 0])[31:88].max() <= 2


def test_a_pair_of_folders_puts_the_bands_of_both_images_in_place(tmp_path: Path) -> None:
    for name, shift in (("old", 0), ("new", 170)):
        folder = tmp_path / name
        folder.mkdir()
        write(folder / "B04.tif", Affine(10, 0, 500_000 + shift, 0, -10, 5_000_000))
        write(folder / "B03.tif", Affine(10, 0, 500_100, 0, -10, 5_000_040))
        write(folder / "B02.tif", GRID)
    scene = scenes.scene([shown(tmp_path / "old"), shown(tmp_path / "new")], folder=tmp_path)
    older, newer = (np.asarray(raster.open_image(ref)).astype(int) for ref in scene.images)
    inside = (slice(5, 90), slice(20, 110))
    assert np.abs(older - newer)[inside].max() <= 2
    assert np.abs(newer[..., 1] - newer[..., 0])[inside].max() <= 2


def test_a_band_of_a_pair_without_crs_is_named(tmp_path: Path) -> None:
    for name, crs in (("old", UTM), ("new", None)):
        (tmp_path / name).mkdir()
        write(
            tmp_path / name / "B04.tif", GRID if name == "old" else GRID @ Affine.translation(3, 0)
        )
        write(tmp_path / name / "B03.tif", GRID, crs=crs)
        write(tmp_path / name / "B02.tif", GRID)
    with pytest.raises(DataError, match=r"new/B03\.tif has a transform but no CRS"):
        scenes.scene([shown(tmp_path / "old"), shown(tmp_path / "new")], folder=tmp_path)


def test_predict_asks_about_the_ground_of_all_bands_only(tmp_path: Path) -> None:
    write(tmp_path / "B04.tif", GRID)
    write(tmp_path / "B03.tif", Affine(10, 0, 500_600, 0, -10, 5_000_000))
    write(tmp_path / "B02.tif", GRID, (120, 80))
    scene = scenes.scene([shown(tmp_path)], folder=tmp_path)
    assert scene.area == (60, 0, 60, 80)  # B03 begins at column 60, B02 ends at row 80
    assert "all bands cover 60 x 80 px at (60, 0); only these are used" in scene.notes
    assert np.asarray(raster.open_window(scene.images[0], scene.area)).min() > 0


@pytest.mark.parametrize(("side", "size"), [(10, (120, 100)), (20, (60, 50)), (60, (20, 17))])
def test_predict_asks_about_the_whole_scene_if_bands_differ_in_resolution_only(
    tmp_path: Path, side: int, size: tuple[int, int]
) -> None:
    write(tmp_path / "B04.tif", GRID)
    write(tmp_path / "B03.tif", Affine(side, 0, 500_000, 0, -side, 5_000_000), size)
    write(tmp_path / "B02.tif", GRID)
    scene = scenes.scene([shown(tmp_path)], folder=tmp_path)
    assert scene.area == (0, 0, 120, 100)
    assert scene.notes == ()


def test_bands_that_cover_no_ground_together_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "B04.tif", GRID)
    write(tmp_path / "B03.tif", GRID, (40, 100))
    write(tmp_path / "B02.tif", Affine(10, 0, 500_800, 0, -10, 5_000_000), (40, 100))
    with pytest.raises(DataError, match="cover no ground together"):
        scenes.scene([shown(tmp_path)], folder=tmp_path)
