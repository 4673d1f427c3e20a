"""Puts one or two images on one grid and finds where it lies on the earth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.api import Json, Raster, Size
from geovlm.errors import DataError
from geovlm.predict.georeference.georeference import Georeference
from geovlm.predict.georeference.placing import placed
from geovlm.predict.images import first_file
from geovlm.predict.windows.tiles import Window
from geovlm.raster.places.operations import parsed

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_WHOLE = 0.99  # share of an area that counts as all of it
_EDGE_POINTS = 21  # per side of an image, when its outline is put on another grid
_FLAT = 1e-6  # share of a flat band's value that separates black from white


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Images on one grid, oldest first."""

    images: tuple[Path | Raster, ...]
    area: Window
    """Part of the grid that all images cover, pixels."""
    georeference: Georeference | None
    notes: tuple[str, ...] = ()
    """Notes for the user."""

    def encoded(self) -> tuple[Json, ...]:
        """Return the images as references, see `geovlm.raster.reference.encode`."""
        from geovlm.raster.reference import encode

        return tuple(map(encode, self.images))


def scene(images: Sequence[Path | Raster], *, folder: Path) -> Scene:
    """Put one or two images on the grid of the first.

    Two images with georeference are aligned by it: the second is resampled (bilinear, when it is
    read) to the pixels of the first, unless it has the same ones, and the scene is the part that
    both cover with all of their bands. If one or both have no georeference, they must be of one
    size. `folder` gets the files that describe the resampling (`warped-….vrt`).

    Raises:
        DataError: A file cannot be read; the images do not overlap; their sizes differ.
    """
    from geovlm.raster.checks import require_plausible
    from geovlm.raster.images import scene_size

    sizes = [scene_size(image) for image in images]
    found = [placed(image) for image in images]
    area = Window(0, 0, *sizes[0])
    notes = [note for image in images for note in require_plausible([image])]
    notes += [note for _, note in found if note]
    where = next((each for each, _ in found if each is not None), None)
    if len(images) == 1:
        kept = _cut_to_bands(area, images, grid=where, notes=notes)
        return Scene(images=tuple(images), area=kept, georeference=where, notes=tuple(notes))
    (first, _), (second, _) = found
    older, newer = map(first_file, images)
    if first is None or second is None:
        if sizes[0] != sizes[1]:
            raise DataError(
                f"{older} is {sizes[0][0]} x {sizes[0][1]} px, {newer} {sizes[1][0]} x "
                f"{sizes[1][1]} px, and not both are georeferenced",
                hint="give GeoTIFFs with a CRS, or two images of the same size and place",
            )
        if where is not None:
            notes.append("the georeference of one image is used for both")
        return Scene(images=tuple(images), area=area, georeference=where, notes=tuple(notes))
    if sizes[0] == sizes[1] and _same_grid(first, second):
        kept = _cut_to_bands(area, images, grid=first, notes=notes)
        return Scene(images=tuple(images), area=kept, georeference=first, notes=tuple(notes))
    shared = _covered(second, sizes[1], grid=first, size=sizes[0])
    if shared is None:
        raise DataError(
            f"{older} and {newer} do not overlap",
            hint="check with gdalinfo that they show the same place and that their CRS are right",
        )
    warped = _warped(images[1], grid=first, size=sizes[0], folder=folder)
    notes.append(f"{newer} is resampled to the pixels of {older}")
    between = second.to(first.crs)
    if between.accuracy_m is None:
        notes.append(
            f"{newer} is placed on {older} to an unknown accuracy, by {between.name}: "
            f"{between.doubt}"
        )
    if shared != area:
        notes.append(
            f"both images cover {shared.width} x {shared.height} px of {older} at ({shared.x}, "
            f"{shared.y}); only these are used"
        )
    shared = _cut_to_bands(shared, images, grid=first, notes=notes)
    return Scene(images=(images[0], warped), area=shared, georeference=first, notes=tuple(notes))


def _cut_to_bands(
    area: Window,
    images: Sequence[Path | Raster],
    *,
    grid: Georeference | None,
    notes: list[str],
) -> Window:
    """Return the part of an area that the files of all bands cover, and add a note about it.

    A part that lacks under 1 % of the area is the whole: resolutions end at different pixels.
    """
    from geovlm.raster.files import opened
    from geovlm.raster.places import reading

    left, top = area.x, area.y
    right, bottom = area.x + area.width, area.y + area.height
    for path in _further_files(images) if grid is not None else ():
        assert grid is not None
        with opened(path) as source:
            place = reading.read(source, path).place
        if place is None:
            continue
        crs = place.crs or grid.crs
        own = Georeference(crs=crs, transform=place.transform, file=path, size=place.size)
        seen = _covered(own, place.size, grid=grid, size=grid.size)
        if seen is not None:  # bands that do not overlap are refused when they are read
            left, top = max(left, seen.x), max(top, seen.y)
            right, bottom = min(right, seen.x + seen.width), min(bottom, seen.y + seen.height)
    part = Window(left, top, right - left, bottom - top)
    if min(part.width, part.height) <= 0:
        raise DataError(
            f"the bands of {' and '.join(str(first_file(image)) for image in images)} cover no "
            "ground together",
            hint="check their extents with gdalinfo",
        )
    if part.width * part.height > _WHOLE * area.width * area.height:
        return area
    notes.append(
        f"all bands cover {part.width} x {part.height} px at ({part.x}, {part.y}); only these are "
        "used"
    )
    return part


def _further_files(images: Sequence[Path | Raster]) -> list[Path]:
    """Return the files of the shown bands that are not an image's first."""
    from geovlm.raster.bands import locate

    return [
        path
        for image in images
        if isinstance(image, Raster)
        for path in dict.fromkeys(locate(image, name).path for name in image.bands)
        if path != first_file(image)
    ]


def _same_grid(a: Georeference, b: Georeference) -> bool:
    """Return True if two grids of one size agree to a millionth of a pixel's side per pixel."""
    step = max(abs(a.transform[0]), abs(a.transform[1]))
    near = all(abs(x - y) <= 1e-6 * step for x, y in zip(a.transform, b.transform, strict=True))
    return near and (a.crs == b.crs or parsed(a.crs) == parsed(b.crs))


def _covered(
    other: Georeference, other_size: Size, *, grid: Georeference, size: Size
) -> Window | None:
    """Return the hull of the pixels that another image covers by half; `None` if there are none."""
    if _lies_in(grid, size, other, other_size):
        # the outline of a map of the world has no coordinates in most projections
        return Window(0, 0, *size)
    shares = [i / (_EDGE_POINTS - 1) for i in range(_EDGE_POINTS)]
    width, height = other_size
    outline = [(s * width, edge) for s in shares for edge in (0.0, float(height))]
    outline += [(edge, s * height) for s in shares for edge in (0.0, float(width))]
    there = other.to(grid.crs).points(other.source(outline))
    if there is None:
        return None
    xs, ys = zip(*grid.pixels(there), strict=True)
    x0, y0 = max(0, math.floor(min(xs) + 0.5)), max(0, math.floor(min(ys) + 0.5))
    x1, y1 = min(size[0], math.ceil(max(xs) - 0.5)), min(size[1], math.ceil(max(ys) - 0.5))
    return Window(x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else None


def _lies_in(grid: Georeference, size: Size, other: Georeference, other_size: Size) -> bool:
    """Return True if the corners and the middle of a grid lie in another image."""
    width, height = size
    points = [(0, 0), (width, 0), (width, height), (0, height), (width / 2, height / 2)]
    there = grid.to(other.crs).points(grid.source(points))
    if there is None:
        return False
    seen = other.pixels(there)
    return all(0 <= x <= other_size[0] and 0 <= y <= other_size[1] for x, y in seen)


def _warped(image: Path | Raster, *, grid: Georeference, size: Size, folder: Path) -> Raster:
    """Return the image on another grid, as a reference to VRT files that resample it."""
    from geovlm.raster.appearance import as_raster
    from geovlm.raster.bands import nodata_in

    shown = image if isinstance(image, Raster) else as_raster(image)
    paths = [*shown.files.values(), *([shown.file] if shown.file is not None else [])]
    new = {
        path: _write_warp(
            path,
            grid=grid,
            size=size,
            to=folder / f"warped-{number}.vrt",
            nodata=nodata_in(shown, path),
        )
        for number, path in enumerate(dict.fromkeys(paths))
    }
    files = {band: new[path] for band, path in shown.files.items()}
    file = new[shown.file] if shown.file is not None else None
    own = _own_ranges(shown)
    return dataclasses.replace(
        shown, files=files, file=file, ranges=own, scaling="range", window=None
    )


def _own_ranges(image: Raster) -> Mapping[str, tuple[float, float]]:
    """Return `ranges` of an image; percentiles are of its own pixels, without zeros around."""
    from geovlm.raster.scaling import shown_range

    if image.scaling == "range":
        return image.ranges
    found = {name: shown_range(image, name) for name in dict.fromkeys(image.bands)}
    # a flat band has no range: values above its own are white, as without resampling
    least = {name: low + _FLAT * max(1.0, abs(low)) for name, (low, _) in found.items()}
    return {name: (low, max(high, least[name])) for name, (low, high) in found.items()}


def _write_warp(
    path: Path, *, grid: Georeference, size: Size, to: Path, nodata: float | None = None
) -> Path:
    from geovlm.raster.places import grids, reading

    options: dict[str, Any] = {}
    with _without_false_alpha(path.absolute(), to=to) as source:
        own, note = reading.read(source, path)
        if own is None or own.crs is None:
            raise DataError(
                note or f"{path} has a transform but no CRS",
                hint="all bands of a pair need a georeference",
            )
        if nodata is not None:
            options |= {"src_nodata": nodata, "nodata": nodata}
        elif source.nodata is None and source.dtypes[0].startswith("float"):
            options["nodata"] = math.nan  # 0 would be bright where values are decibels
        place = reading.Place(grid.crs, grid.transform, size)
        to.write_text(grids.resampled(source, own, place, **options), encoding="utf-8")
    return to


@contextmanager
def _without_false_alpha(path: Path, *, to: Path) -> Iterator[DatasetReader]:
    """Open a file for resampling, which fades pixels by a band that is called alpha.

    If that band is no mask, the file is opened through a VRT next to `to` that calls it nothing.
    """
    import rasterio
    import rasterio.shutil
    from rasterio.enums import ColorInterp

    from geovlm.raster.files import opened
    from geovlm.raster.masks import alpha_band, alpha_hides

    with opened(path) as source:
        number = alpha_band(source)
        if number is None or alpha_hides(source):
            yield source
            return
        renamed = to.with_name(f"{to.stem}-bands.vrt")
        rasterio.shutil.copy(source, renamed, driver="VRT")
        with rasterio.open(renamed, "r+") as file:
            colours = list(file.colorinterp)
            colours[number - 1] = ColorInterp.undefined
            file.colorinterp = colours
    with opened(renamed) as source:
        yield source
