"""Chooses PROJ's operation from one CRS to another for a scene, and knows how accurate it is.

Coordinates of two datums differ by up to some hundred metres. PROJ has several operations between
most datums, each with an area and an accuracy; where it has none, it leaves the datum out (a
"ballpark" operation) without saying so. The rule, for all coordinates that GeoVLM makes:

1. of the operations whose area holds the scene, the first in PROJ's order;
2. else one that has been published for the two datums elsewhere, the first in PROJ's order of those
   whose areas are nearest (in steps of 5 degrees); its accuracy is unknown;
3. else the ballpark operation; its accuracy is unknown, or `GEOCENTRIC_M` if both ellipsoids are
   as large as that of WGS 84, or spheres: datums on such ellipsoids (CGCS2000, those of ETRS89 and
   NAD83, or none that is named) are geocentric, and products on spheres (MODIS, weather models)
   take longitude and latitude of WGS 84.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from geovlm.errors import DataError

if TYPE_CHECKING:
    from pyproj import CRS, Transformer
    from pyproj.transformer import TransformerGroup

Point: TypeAlias = tuple[float, float]
"""`(x, y)`: easting and northing, or longitude and latitude, whatever order the CRS declares."""
WGS84 = "EPSG:4326"
GEOCENTRIC_M = 5.0
"""Metres between geocentric datums: plates have moved by up to 4 m since their epochs."""
_SEMI_MAJOR_M = 6_378_137.0
_INVERSE_FLATTENING = 298.257
_STEP_DEG = 5.0
_MARGIN_DEG = 0.01  # 1 km, more than a datum moves a point
_GAP_DEG = 120.0  # points all around a pole or the earth leave narrower ones
_HALF_TURN = 180.0
_NO_CHANGE = "no change of datum"


@dataclass(frozen=True, slots=True)
class Operation:
    """A way from one CRS to another."""

    name: str
    """Name in PROJ's database."""
    accuracy_m: float | None
    """Metres; `None`: unknown."""
    doubt: str
    """Reason why the accuracy is unknown or assumed; empty if it is neither."""
    missing: str
    """A more accurate operation and the grid that it lacks; empty if there is none."""
    pipeline: str
    """Steps for PROJ, axes in the order of each CRS, as GDAL takes it; empty if the datum stays."""
    transformer: Transformer = field(repr=False, compare=False)

    def points(self, points: Sequence[Point], *, back: bool = False) -> list[Point] | None:
        """Return points in the other CRS, or `back` from it; `None` if one has no coordinates."""
        direction = "INVERSE" if back else "FORWARD"
        xs, ys = self.transformer.transform(
            [x for x, _ in points], [y for _, y in points], direction=direction
        )
        if not all(map(math.isfinite, [*xs, *ys])):
            return None
        return list(zip(xs, ys, strict=True))


class _Area(NamedTuple):
    """Extent in degrees; west is larger than east where it crosses the antimeridian."""

    west: float
    south: float
    east: float
    north: float


@lru_cache(maxsize=256)
def choose(crs: str, to: str, around: tuple[Point, ...]) -> Operation:
    """Return the operation between two CRS for a scene, given by points (x, y) of the first.

    Raises:
        DataError: PROJ knows no way between them.
    """
    first, second = parsed(crs), parsed(to)
    area = _extent(first, around)
    here, everywhere = _known(first, second, area), _known(first, second, None)
    named = [each for each in here.transformers if not _is_ballpark(each)]
    holding = [each for each in named if _holds(each.area_of_use, area)]
    elsewhere = [each for each in everywhere.transformers if not _is_ballpark(each)]
    elsewhere.sort(key=lambda each: _steps_away(each.area_of_use, area))
    ordered = [*holding, *named, *elsewhere, *here.transformers, *everywhere.transformers]
    if not ordered:
        raise DataError(
            f"PROJ knows no operation from {name_of(crs)} to {name_of(to)}",
            hint="reproject the file with gdalwarp -t_srs EPSG:…",
        )
    chosen = next((each for each in ordered if _moves(each, around)), ordered[0])
    between = f"from {_datum(first)} to {_datum(second)}"
    accuracy, doubt = float(chosen.accuracy), ""
    if _is_ballpark(chosen):
        geocentric = _is_geocentric(first) and _is_geocentric(second)
        accuracy = GEOCENTRIC_M if geocentric else -1.0
        doubt = f"PROJ has no operation {between} there and leaves the datum out"
    elif not any(chosen is each for each in holding) and _name(chosen) != _NO_CHANGE:
        area_name = chosen.area_of_use.name.rstrip(".") if chosen.area_of_use is not None else "?"
        accuracy = -1.0
        doubt = f"PROJ has operations {between} for other areas only; used is that for {area_name}"
    elif accuracy < 0:
        doubt = "its parameters are those that the file declares"
    return Operation(
        name=_name(chosen),
        accuracy_m=accuracy if accuracy >= 0 else None,
        doubt=doubt,
        missing=_missing(here, accuracy if accuracy >= 0 else math.inf),
        pipeline=_pipeline(first, second, chosen),
        transformer=chosen,
    )


@lru_cache(maxsize=256)
def parsed(crs: str) -> CRS:
    """Return a CRS from WKT or `EPSG:…`.

    Raises:
        DataError: PROJ does not know it.
    """
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise DataError(
            f"PROJ does not know the CRS {crs!r:.80}: {' '.join(str(error).split()):.200}",
            hint="write one with gdal_edit.py -a_srs EPSG:…",
        ) from error


def is_on_earth(crs: str) -> bool:
    """Return True if points of a CRS have a longitude and a latitude on the earth."""
    from pyproj import Transformer
    from pyproj.exceptions import ProjError

    known = parsed(crs)
    if not (known.is_geographic or known.is_projected):
        return False
    try:
        Transformer.from_crs(known, WGS84)
    except ProjError:  # of another celestial body
        return False
    return True


def name_of(crs: str) -> str:
    """Return `EPSG:…`, or else the name of a CRS."""
    known = parsed(crs)
    code = known.to_authority()
    return ":".join(code) if code is not None else known.name


def _pipeline(first: CRS, second: CRS, chosen: Transformer) -> str:
    if _name(chosen) == _NO_CHANGE:
        return ""
    same = (each for each in _known(first, second, None, always_xy=False).transformers)
    return next((str(each.definition) for each in same if _name(each) == _name(chosen)), "")


def _known(
    first: CRS, second: CRS, area: _Area | None, *, always_xy: bool = True
) -> TransformerGroup:
    """Return PROJ's operations, best first; their grids are not downloaded."""
    import warnings

    from pyproj.aoi import AreaOfInterest
    from pyproj.transformer import TransformerGroup

    of_interest: Any = None  # pyproj's own types of areas differ
    if area is not None:
        of_interest = AreaOfInterest(area.west, area.south, area.east, area.north)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing grid, which `missing` reports
        return TransformerGroup(first, second, always_xy=always_xy, area_of_interest=of_interest)


def _extent(crs: CRS, around: Sequence[Point]) -> _Area | None:
    """Return the extent of points, widened a little; `None` if none has coordinates."""
    from pyproj import Transformer

    rough = Transformer.from_crs(crs, WGS84, always_xy=True)
    xs, ys = rough.transform([x for x, _ in around], [y for _, y in around])
    placed = [
        ((lon + _HALF_TURN) % 360 - _HALF_TURN, lat)
        for lon, lat in zip(xs, ys, strict=True)
        if math.isfinite(lon) and abs(lat) <= 90
    ]
    if not placed:
        return None
    lats = [lat for _, lat in placed]
    lons = sorted(lon for lon, _ in placed)
    gaps = [(b - a, b, a) for a, b in zip(lons, [*lons[1:], lons[0] + 360], strict=True)]
    widest, west, east = max(gaps)  # the scene lies outside of the widest gap
    if widest < _GAP_DEG:
        west, east = -_HALF_TURN, _HALF_TURN
    west -= 360 * (west > _HALF_TURN)
    return _Area(
        max(-_HALF_TURN, west - _MARGIN_DEG),
        max(-90.0, min(lats) - _MARGIN_DEG),
        min(_HALF_TURN, east + _MARGIN_DEG),
        min(90.0, max(lats) + _MARGIN_DEG),
    )


def _holds(use: Any, area: _Area | None) -> bool:
    """Return True if an operation's area holds a scene; the margin may reach outside."""
    if use is None or area is None:
        return True
    inside = use.south <= area.south + _MARGIN_DEG and area.north - _MARGIN_DEG <= use.north
    width = (use.east - use.west) % 360 or 360.0
    begin = (area.west + _MARGIN_DEG - use.west) % 360
    end = begin + (area.east - area.west - 2 * _MARGIN_DEG) % 360
    return inside and end <= width


def _steps_away(use: Any, area: _Area | None) -> int:
    """Return how far an operation's area is from the middle of a scene, in steps of 5 degrees."""
    if use is None or area is None:
        return 0
    lat = (area.south + area.north) / 2
    lon = area.west + (area.east - area.west) % 360 / 2
    width = (use.east - use.west) % 360 or 360.0
    across = (lon - use.west) % 360
    beside = 0.0 if across <= width else min(across - width, 360 - across)
    above = max(0.0, use.south - lat, lat - use.north)
    return int(math.hypot(beside * math.cos(math.radians(lat)), above) / _STEP_DEG)


def _moves(transformer: Transformer, around: Sequence[Point]) -> bool:
    """Return True if an operation gives coordinates to a point: grids give none outside."""
    xs, ys = transformer.transform([x for x, _ in around], [y for _, y in around])
    return any(math.isfinite(x) and math.isfinite(y) for x, y in zip(xs, ys, strict=True))


def _is_ballpark(transformer: Transformer) -> bool:
    return "ballpark" in transformer.description.casefold()


def _is_geocentric(crs: CRS) -> bool:
    ellipsoid = crs.ellipsoid
    if ellipsoid is None:
        return False
    return ellipsoid.inverse_flattening == 0 or (
        abs(ellipsoid.semi_major_metre - _SEMI_MAJOR_M) < 0.5
        and abs(ellipsoid.inverse_flattening - _INVERSE_FLATTENING) < 0.001
    )


def _datum(crs: CRS) -> str:
    whole = crs.source_crs if crs.is_bound and crs.source_crs is not None else crs
    geographic = whole.geodetic_crs
    if geographic is None or geographic.datum is None:
        return str(whole.name)
    named = (
        geographic.name if geographic.name != "unknown" else getattr(geographic.datum, "name", "")
    )
    return str(named)


def _name(transformer: Transformer) -> str:
    """Return the steps of an operation between datums, without projections and orders of axes."""
    steps = transformer.description.split(" + ")
    kept = [each for each in steps if " to " in each and "Null geographic" not in each]
    return " + ".join(kept) or _NO_CHANGE


def _missing(group: TransformerGroup, accuracy_m: float) -> str:
    """Return the most accurate operation that lacks a grid; empty if it is no better."""
    better = [
        each
        for each in group.unavailable_operations
        if 0 <= each.accuracy < accuracy_m and each.grids
    ]
    if not better:
        return ""
    best = min(better, key=lambda each: each.accuracy)
    grids = [grid.short_name for grid in best.grids if not grid.available]
    fetch = " ".join(f"--file {name}" for name in grids)
    return f"accurate to {best.accuracy:g} m with a grid: pyproj sync {fetch}"
