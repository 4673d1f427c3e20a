"""Longitude and latitude: by which operation they are made, how accurate they are, and who says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import Proj
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.transform import from_origin

from geovlm import raster
from geovlm.api import Raster
from geovlm.predict import scenes
from geovlm.predict.georeference.georeference import Georeference
from geovlm.predict.georeference.placing import placed

SIDE = 60
EVEREST_1937 = (6_377_276.345, 300.8017)
WGS84 = (6_378_137.0, 298.257223563)
SHIFT = (198.0, 881.0, 317.0)
"""Indian 1960 to WGS 84 (2), EPSG:1543: geocentric translations, metres."""


def write(path: Path, crs: str | None, transform: Affine, **options: Any) -> Path:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=SIDE,
        height=SIDE,
        count=1,
        dtype="uint8",
        crs=crs,
        transform=transform,
        **options,
    ) as out:
        out.write(np.arange(SIDE * SIDE, dtype="uint8").reshape(SIDE, SIDE), 1)
    return path


def where(path: Path) -> Georeference:
    found, _ = placed(path)
    assert found is not None
    return found


def shifted(lon: float, lat: float) -> tuple[float, float]:
    """Return longitude and latitude of WGS 84 from those of Indian 1960, by EPSG's method 9603."""
    (a, f), (lam, phi) = EVEREST_1937, (math.radians(lon), math.radians(lat))
    e2 = (2 - 1 / f) / f
    n = a / math.sqrt(1 - e2 * math.sin(phi) ** 2)
    x = n * math.cos(phi) * math.cos(lam) + SHIFT[0]
    y = n * math.cos(phi) * math.sin(lam) + SHIFT[1]
    z = n * (1 - e2) * math.sin(phi) + SHIFT[2]
    a, f = WGS84
    e2, p = (2 - 1 / f) / f, math.hypot(x, y)
    phi = math.atan2(z, p * (1 - e2))
    for _ in range(10):
        n = a / math.sqrt(1 - e2 * math.sin(phi) ** 2)
        phi = math.atan2(z + e2 * n * math.sin(phi), p)
    return math.degrees(math.atan2(y, x)), math.degrees(phi)


def in_degrees(x: float, y: float) -> tuple[float, float]:
    """Return longitude and latitude of Indian 1960 from UTM zone 48N of the same datum."""
    lon, lat = Proj("+proj=utm +zone=48 +a=6377276.345 +rf=300.8017")(x, y, inverse=True)
    return float(lon), float(lat)


def test_a_datum_is_shifted_by_published_parameters_even_outside_of_their_area(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.tif", "EPSG:3148", from_origin(500_000, 1_300_000, 1, 1))
    (corner, *_) = where(path).lonlat([(0, 0), (SIDE, 0), (SIDE, SIDE)])
    expected = shifted(*in_degrees(500_000, 1_300_000))
    assert corner == pytest.approx(expected, abs=1e-7)  # 1 cm
    assert math.dist(corner, in_degrees(500_000, 1_300_000)) > 0.003  # 400 m without the datum


def test_the_line_names_the_operation_and_the_area_that_it_was_published_for(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.tif", "EPSG:3148", from_origin(500_000, 1_300_000, 1, 1))
    found = where(path)
    assert found.operation.accuracy_m is None
    assert "Indian 1960 to WGS 84 (2)" in found.doubt()
    assert "for other areas only; used is that for Vietnam" in found.doubt()
    assert str(path) in found.doubt()


def test_points_of_a_datum_are_shifted_as_a_transform_is(tmp_path: Path) -> None:
    points = [
        GroundControlPoint(row, column, 500_000 + column, 1_300_000 - row, 0)
        for row in (0, SIDE)
        for column in (0, SIDE)
    ]
    path = tmp_path / "a.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=SIDE,
        height=SIDE,
        count=1,
        dtype="uint8",
        gcps=points,
        crs="EPSG:3148",
    ) as out:
        out.write(np.ones((1, SIDE, SIDE), np.uint8))
    (corner, *_) = where(path).lonlat([(0, 0), (SIDE, 0), (SIDE, SIDE)])
    assert corner == pytest.approx(shifted(*in_degrees(500_000, 1_300_000)), abs=1e-7)


SURE = {
    "WGS 84, UTM": ("EPSG:32633", from_origin(500_000, 5_000_000, 0.3, 0.3)),
    "WGS 84 with heights": ("EPSG:32633+5773", from_origin(500_000, 5_000_000, 0.3, 0.3)),
    "Web Mercator": ("EPSG:3857", from_origin(1e6, 6e6, 0.6, 0.6)),
    "the whole earth": ("EPSG:4326", from_origin(-180, 90, 6, 3)),
    "longitudes to 360": ("EPSG:4326", from_origin(0, 90, 6, 3)),
    "around the pole": ("EPSG:3413", from_origin(-30_000, 30_000, 1000, 1000)),
    "the antimeridian": ("EPSG:32660", from_origin(833_000, 8_000_000, 100, 100)),
    "ETRS89 at 10 m": ("EPSG:25832", from_origin(500_000, 5_600_000, 10, 10)),
    "NAD27 at 30 m": ("EPSG:26715", from_origin(400_000, 4_100_000, 30, 30)),
    "CGCS2000 at 10 m": ("EPSG:4547", from_origin(500_000, 3_500_000, 10, 10)),
    "no datum but the ellipsoid": (
        "+proj=utm +zone=33 +ellps=WGS84",
        from_origin(500_000, 5_000_000, 10, 10),
    ),
    "MODIS on its sphere": (
        "+proj=sinu +R=6371007.181 +units=m",
        from_origin(1e6, 5e6, 463.3, 463.3),
    ),
    "a coarse grid on a local ellipsoid": (
        "+proj=longlat +ellps=bessel",
        from_origin(5, 50, 0.1, 0.1),
    ),
}


@pytest.mark.parametrize("name", SURE)
def test_a_place_within_half_a_pixel_is_not_doubted(tmp_path: Path, name: str) -> None:
    assert where(write(tmp_path / "a.tif", *SURE[name])).doubt() == ""


DOUBTED = {
    "ETRS89 at 20 cm": ("EPSG:25832", from_origin(500_000, 5_600_000, 0.2, 0.2), "to 1 m, 5.0 px"),
    "NAD83 at 1 m": ("EPSG:26915", from_origin(400_000, 4_100_000, 1, 1), "to 4 m, 4.0 px"),
    "OSGB36 at 1 m": ("EPSG:27700", from_origin(530_000, 180_000, 1, 1), "OSTN15"),
    "NZGD49 at 2 m": ("EPSG:27200", from_origin(2_600_000, 6_000_000, 2, 2), "to 4 m, 2.0 px"),
    "Pulkovo 1942 at 2 m": (
        "EPSG:28404",
        from_origin(4_500_000, 6_200_000, 2, 2),
        "to 3 m, 1.5 px",
    ),
    "Tokyo at 5 m": ("EPSG:30169", from_origin(0, 0, 5, 5), "to 9 m, 1.8 px"),
    "NAD27 in the Pacific": ("EPSG:26715", from_origin(400_000, 1_000_000, 30, 30), "other areas"),
    "an ellipsoid for a datum": (
        "+proj=tmerc +lon_0=9 +ellps=bessel +x_0=3500000",
        from_origin(3_500_000, 5_600_000, 1, 1),
        "up to some hundred metres: Ballpark geographic offset",
    ),
    "parameters of the file": (
        "+proj=tmerc +lon_0=9 +ellps=bessel +x_0=3500000 +towgs84=598,74,418,0.2,0.05,-2.5,6.7",
        from_origin(3_500_000, 5_600_000, 1, 1),
        "those that the file declares",
    ),
    "CGCS2000 at 50 cm": (
        "EPSG:4547",
        from_origin(500_000, 3_500_000, 0.5, 0.5),
        "5 m, 10.0 px",
    ),
    "coarse degrees in a projected CRS": (
        "EPSG:32633",
        from_origin(10.5, 50.2, 0.01, 0.01),
        "10 mm wide by its transform in EPSG:32633, near that CRS's origin: are ",
    ),
    "degrees in a projected CRS": (
        "EPSG:32633",
        from_origin(10.5, 50.2, 1e-4, 1e-4),
        "mm wide",
    ),
}


@pytest.mark.parametrize("name", DOUBTED)
def test_a_place_that_may_be_off_by_more_is_told_with_its_accuracy(
    tmp_path: Path, name: str
) -> None:
    crs, transform, expected = DOUBTED[name]
    doubt = where(write(tmp_path / "a.tif", crs, transform)).doubt()
    assert expected in doubt
    assert "\n" not in doubt


NOWHERE = {
    "a geocentric CRS": ("EPSG:4978", from_origin(4_000_000, 100, 1, 1)),
    "a CRS of heights": ("EPSG:5773", from_origin(0, 0, 1, 1)),
    "another planet": (
        'GEOGCS["Mars 2000",DATUM["D_Mars_2000",SPHEROID["Mars_2000",3396190,169.8944472]],'
        'PRIMEM["Reference_Meridian",0],UNIT["Degree",0.0174532925199433]]',
        from_origin(10, 10, 0.01, 0.01),
    ),
    "pixels without a side": ("EPSG:32633", Affine(0, 0, 500_000, 0, 0, 5_000_000)),
    "an origin that is no number": ("EPSG:32633", Affine(10, 0, math.nan, 0, -10, 5_000_000)),
    "an infinite origin": ("EPSG:32633", Affine(10, 0, math.inf, 0, -10, 5_000_000)),
}


@pytest.mark.parametrize("name", NOWHERE)
def test_a_place_that_is_not_on_the_earth_is_none_with_a_note(tmp_path: Path, name: str) -> None:
    found, note = placed(write(tmp_path / "a.tif", *NOWHERE[name]))
    assert found is None
    assert "counts as without georeference" in note


def test_a_pair_of_two_datums_is_aligned_by_the_operation_of_the_coordinates(
    tmp_path: Path,
) -> None:
    older = write(tmp_path / "a.tif", "EPSG:3148", from_origin(500_000, 1_300_000, 10, 10))
    lon, lat = shifted(*in_degrees(500_000, 1_300_000))
    x, y = Proj("EPSG:32648")(lon, lat)
    newer = write(tmp_path / "b.tif", "EPSG:32648", from_origin(x, y, 10, 10))
    grey = {"bands": ("1", "1", "1"), "band_index": {"1": 1}, "high": 255}
    pair = [Raster(file=path, **grey) for path in (older, newer)]  # type: ignore[arg-type]
    scene = scenes.scene(pair, folder=tmp_path)
    (note,) = [each for each in scene.notes if "is placed on" in each]
    assert "Indian 1960 to WGS 84 (2)" in note and "for other areas only" in note
    assert scene.area.width >= SIDE - 1 and scene.area.height >= SIDE - 1
    one, two = (
        np.asarray(raster.open_image(ref)).astype(int)[5:55, 5:55, 0] for ref in scene.images
    )
    # columns rise by 1: a step of the datum, 474 m, would be 28 px across and 38 px down
    assert np.abs(one - two)[np.abs(one - 128) < 100].max() <= 2
