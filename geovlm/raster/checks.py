"""Checks whether the values of a `Raster` agree with its declaration: bands, scale, nodata.

A wrong band name or range trains a model on wrong pictures. The rules for declared reflectances
test for values that no land cover, snow, cloud or water has, so a scene without evidence (all
water, cloud, snow or sand) passes. The thresholds were set on Sentinel-2, levels 1C and 2A: 144
patches and scenes of fields, forest, coast, sea, snow and desert haze gave no false alarm. In 76
patches with a clear view of land, exchanged bands were found as follows: B02 and B04 in 76, B04 and
B08 in 76, B02 and B03 in 65, B03 and B04 in 48, B11 and B12 in 68, B08 and B8A or B03 and B12 in
none. In 64 patches under thin cloud, B04 and B08 were found in 46, others in few.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from geovlm.api import Raster
from geovlm.errors import DataError
from geovlm.raster.appearance import turns
from geovlm.raster.bands import Bands, available, bands_of, is_index, locate, roles
from geovlm.raster.files import opened, spread, state
from geovlm.raster.fills import Fill, declared_nodata, fills
from geovlm.raster.headers import stored_orientation
from geovlm.raster.masks import can_hold
from geovlm.raster.pictures import assumptions
from geovlm.raster.scaling import shown_range
from geovlm.raster.spectra import implausible

SAMPLED_PX = 256
"""Most pixels along a side that are checked, evenly spread."""
_TOO_DARK = 0.005
"""Reflectance that the brightest band exceeds somewhere in every scene."""
_NEGATIVE = -0.03
"""Lowest median reflectance: atmospheric correction subtracts at most 0.02 too much."""
_TOO_BRIGHT = 2.0
"""Highest median reflectance: snow and cloud reach 1.6."""


_WHOLE = 0.99
"""Share of the ground at which a band counts as covering it all."""


class Suspicion(NamedTuple):
    """A value that does not agree with the declaration."""

    kind: str
    """`bands`, `scale`, `nodata`, `fill`, `zeros`, `contrast`, or the kind of an `Assumption`."""
    message: str
    """One line: the file, the bands, the reason."""
    hint: str
    rejects: bool
    """True if training on the image would be a mistake; else it may be intended."""


def suspicions(ref: Path | Raster) -> tuple[Suspicion, ...]:
    """Return what does not agree with the declaration of one image, or was assumed of a picture.

    Scale is checked if `reflectance` is declared; so are bands, if blue, green, red and near
    infrared are among the names in `files` or `file`, shown or not. A band that is not shown is
    skipped if its file is absent.

    Raises:
        DataError: A file cannot be read.
    """
    if not isinstance(ref, Raster):
        return tuple(Suspicion(*each, rejects=False) for each in assumptions(ref))
    with bands_of(ref) as bands:
        return (
            *_reflectance(bands),
            *_ground(bands),
            *_nodata(bands),
            *_zeros(bands),
            *_contrast(bands),
            *_turned(bands),
        )


class Verdict(NamedTuple):
    """The result of the suspicions in several images of one data set."""

    refusal: DataError | None
    notes: tuple[str, ...]
    """One line per kind that does not reject: the first image, the number of others, the hint."""


def judge(found: Sequence[Sequence[Suspicion]]) -> Verdict:
    """Return whether images are refused, from the suspicions in each, and the notes about them.

    A single image is rejected on its own evidence. Several images are rejected if at least two of
    them, and a quarter, are suspect: bands are exchanged in all images of a data set or in none,
    but a single scene may be unusual.
    """

    def told(many: Sequence[Suspicion]) -> str:
        more = f"as in {len(many) - 1} more" if len(many) > 1 else "in 1"
        others = f" ({more} of {len(found)} images)" if len(found) > 1 else ""
        return f"{many[0].message}{others}"

    rejecting = [
        next(s for s in some if s.rejects) for some in found if any(s.rejects for s in some)
    ]
    refusal = None
    if rejecting and len(rejecting) >= min(len(found), max(2, len(found) / 4)):
        refusal = DataError(told(rejecting), hint=rejecting[0].hint)
    alike: dict[str, list[Suspicion]] = {}
    for some in found:
        for kind, first in {s.kind: s for s in reversed(some) if not s.rejects}.items():
            alike.setdefault(kind, []).append(first)
    return Verdict(refusal, tuple(f"{told(many)} ({many[0].hint})" for many in alike.values()))


def require_plausible(refs: Sequence[Path | Raster]) -> tuple[str, ...]:
    """Raise if images do not agree with their declaration, see `judge`; return the notes.

    Raises:
        DataError: The first suspicion that rejects; or a file cannot be read.
    """
    verdict = judge([suspicions(ref) for ref in refs])
    if verdict.refusal is not None:
        raise verdict.refusal
    return verdict.notes


def _reflectance(bands: Bands) -> Iterator[Suspicion]:
    """Check the scale and, if it is right, the order of bands."""
    ref = bands.ref
    if ref.reflectance is None:
        return
    named = {role: name for role, name in roles(available(ref)).items() if _there(ref, name)}
    if not named:
        return
    where = locate(ref, next(iter(named.values()))).path
    stored = {role: _sampled(bands, name) for role, name in named.items()}
    found = list(_scale(bands, stored, where=where))
    yield from found
    if not found:
        spectra = {role: (values - ref.offset) / ref.reflectance for role, values in stored.items()}
        for reason in implausible(spectra, names=named):
            yield Suspicion(
                "bands",
                f"{where}: {reason}",
                hint="compare band names and files (Raster.files, file, band_index); without "
                "reflectance they are not checked",
                rejects=True,
            )


def _scale(bands: Bands, stored: dict[str, np.ndarray], *, where: Path) -> Iterator[Suspicion]:
    ref = bands.ref
    assert ref.reflectance is not None
    kept = {role: values[np.isfinite(values)] for role, values in stored.items()}
    kept = {role: values for role, values in kept.items() if values.size}
    if not kept or not any(values.any() for values in kept.values()):
        return
    most = max(float(np.percentile(values, 99)) for values in kept.values())
    middle = max(float(np.median(values)) for values in kept.values())
    least = min(float(np.median(values)) for values in kept.values())
    declared = f"reflectance={ref.reflectance:g}, offset={ref.offset:g}"
    names = ", ".join(roles(available(ref))[role] for role in kept)

    def suspicion(reason: str, hint: str) -> Suspicion:
        return Suspicion("scale", f"{where}: {reason} ({names})", hint=hint, rejects=True)

    with opened(where) as source:
        eight_bits = source.dtypes[0] in ("uint8", "int8") and ref.reflectance > 255
    if (least - ref.offset) / ref.reflectance < _NEGATIVE:
        yield suspicion(
            f"the median is {least:.5g} in the darkest band, a reflectance below 0 for {declared}",
            "offset is 1000 for Sentinel-2 products since January 2022, 0 before",
        )
    elif eight_bits or (most - ref.offset) / ref.reflectance < _TOO_DARK or _is_byte(kept, ref):
        yield suspicion(
            f"values reach {most:.3g}, far too dark for {declared}",
            "declare the stored value of reflectance 1: 1 for 0..1, 10000 for Sentinel-2",
        )
    elif (middle - ref.offset) / ref.reflectance > _TOO_BRIGHT:
        yield suspicion(
            f"the median is {middle:.5g}, far too bright for {declared}",
            "declare the stored value of reflectance 1: 10000 for Sentinel-2",
        )


def _is_byte(kept: dict[str, np.ndarray], ref: Raster) -> bool:
    """Return True if wider integers hold 0..255; clear water, which is as dark, does not count."""
    if ref.offset or ref.reflectance is None or ref.reflectance < 2550 or "nir" not in kept:
        return False
    within = all(float(values.max()) <= 255 for values in kept.values())
    visible = np.median(kept["green"]) if "green" in kept else 0
    return within and bool(np.median(kept["nir"]) > 0.5 * visible)


def _ground(bands: Bands) -> Iterator[Suspicion]:
    """Report files of bands that cover a part of the ground of the first band only."""
    ref = bands.ref
    for name in dict.fromkeys(ref.bands):
        if is_index(ref, name):
            continue
        path = locate(ref, name).path
        moved = bands.moved(path)
        if moved is not None and moved.share < _WHOLE:
            yield Suspicion(
                "ground",
                f"{path}: {name} covers {moved.share:.0%} of the ground of {ref.bands[0]} and is "
                "black outside",
                hint="cut the files to one extent with gdalwarp -te",
                rejects=False,
            )


def _nodata(bands: Bands) -> Iterator[Suspicion]:
    """Report undeclared fill values, and declared ones that the type of a band cannot hold."""
    ref = bands.ref
    by_percentile = ref.scaling == "percentile"
    filled: dict[float, tuple[list[str], Path, Fill]] = {}
    for name in dict.fromkeys(ref.bands):
        if is_index(ref, name):
            continue
        path, number, _ = locate(ref, name)
        for fill in fills(state(path), number, declared_nodata(ref)):
            filled.setdefault(fill.value, ([], path, fill))[0].append(name)
        source = bands.source(path)
        nodata = source.nodatavals[number - 1] if ref.nodata is None else ref.nodata
        if nodata is not None and not can_hold(source.dtypes[number - 1], nodata):
            yield Suspicion(
                "nodata",
                f"{path}: the nodata value {nodata:g} cannot occur in {source.dtypes[number - 1]}, "
                f"so all pixels of {name} count as data",
                hint="declare the value that the pixels without data have",
                rejects=False,
            )
    for value, (names, path, fill) in filled.items():
        yield Suspicion(
            "fill",
            f"{path}: {fill.share:.1%} of the pixels are {value:.9g} in {', '.join(names)}, far "
            f"from all others ({fill.low:.5g} to {fill.high:.5g}), and are not declared as nodata"
            + ("; percentiles leave them out" if fill.left_out and by_percentile else ""),
            hint=f"declare it: gdal_edit.py -a_nodata {value:.9g} {shlex.quote(str(path))}, "
            "or Raster(nodata=…)",
            rejects=False,
        )


def _zeros(bands: Bands) -> Iterator[Suspicion]:
    """Report zeros in all shown bands that are not declared as nodata."""
    ref = bands.ref
    shown = [name for name in dict.fromkeys(ref.bands) if not is_index(ref, name)]
    if ref.nodata is not None or not shown:
        return
    zero = np.logical_and.reduce([_sampled(bands, name) == 0 for name in shown])
    if zero.mean() > 0.01 and not any(_is_fill(ref, name, 0.0) for name in shown):
        yield Suspicion(
            "zeros",
            f"{locate(ref, shown[0]).path}: {zero.mean():.0%} of the pixels are 0 in "
            f"{', '.join(shown)}, and nodata is not declared",
            hint="declare nodata=0 if these pixels have no data: zeros enter percentiles",
            rejects=False,
        )


def _is_fill(ref: Raster, name: str, value: float) -> bool:
    path, number, _ = locate(ref, name)
    return any(fill.value == value for fill in fills(state(path), number, declared_nodata(ref)))


def _contrast(bands: Bands) -> Iterator[Suspicion]:
    """Report a picture that is black or white nearly everywhere."""
    ref = bands.ref
    dark, bright = [], []
    for name in dict.fromkeys(ref.bands):
        low, high = shown_range(ref, name)
        values = _sampled(bands, name)
        values = values[np.isfinite(values)]
        if not values.size:
            return
        dark.append(float(np.mean(values <= low + (high - low) / 510)))
        bright.append(float(np.mean(values >= high)))
    for word, shares in (("black", dark), ("white", bright)):
        if min(shares) > 0.995:
            yield Suspicion(
                "contrast",
                f"{locate(ref, ref.bands[0]).path}: {', '.join(ref.bands)} show nothing but "
                f"{word} with low={ref.low:g}, high={ref.high:g}",
                hint="compare low and high with the stored values",
                rejects=False,
            )


def _turned(bands: Bands) -> Iterator[Suspicion]:
    """Report a file that declares an orientation, or whose top is not in the north."""
    path = locate(bands.ref, bands.ref.bands[0]).path
    source = bands.source(path)
    for each in turns(source, declared=stored_orientation(source, path), undone=1):
        yield Suspicion(*each, rejects=False)


def _sampled(bands: Bands, name: str) -> np.ndarray:
    """Return evenly spread values of a band, in one row; those of all bands are on one grid."""
    first = locate(bands.ref, bands.ref.bands[0])
    parts = spread(bands.source(first.path), first.number, longest=SAMPLED_PX)
    found = [
        bands.values(name, window=window, grid=first.size, shape=shape) for window, shape in parts
    ]
    return np.concatenate([values.ravel() for values in found])


def _there(ref: Raster, name: str) -> bool:
    return name in ref.bands or name not in ref.files or ref.files[name].is_file()
