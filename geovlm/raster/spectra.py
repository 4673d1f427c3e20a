"""Finds reflectances that no scene on Earth has, a sign of bands with each other's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

_FEWEST = 100
"""Pixels of a kind that a rule needs."""


def implausible(spectra: Mapping[str, np.ndarray], *, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the reasons why reflectances cannot belong to the bands they are named after.

    Each is one line. There are none without blue, green, red and near infrared, or with fewer than
    100 valid pixels. `spectra` holds arrays of one shape, NaN where no data; both mappings have the
    keys `blue`, `green`, `red`, `nir`, and `nir_narrow`, `swir1` and `swir2` if present.
    """
    if not {"blue", "green", "red", "nir"} <= spectra.keys():
        return
    valid = np.logical_and.reduce([np.isfinite(values) for values in spectra.values()])
    if valid.sum() < _FEWEST:
        return
    kept = {role: values[valid] for role, values in spectra.items()}
    yield from _infrared(kept, names)
    yield from _land(kept, names)
    yield from _vegetation(kept, names)


def _infrared(kept: Mapping[str, np.ndarray], names: Mapping[str, str]) -> Iterator[str]:
    """Compare the near infrared with the visible bands, for all pixels."""
    visible = np.stack([kept["blue"], kept["green"], kept["red"]])
    middle, most = np.sort(visible, axis=0)[1:]
    nir = kept["nir"]
    # bright turbid or shallow water is dark in the near infrared too, but it is also dark in the
    # short-wave infrared and has no single bright colour
    coloured = most > 2.5 * middle
    land = kept["swir1"] > 0.1 if "swir1" in kept else np.zeros(nir.shape, bool)
    odd = (most > 0.12) & (nir < 0.5 * most) & (coloured | land)
    if odd.mean() > 0.05:
        role = ("blue", "green", "red")[np.bincount(visible[:, odd].argmax(axis=0)).argmax()]
        yield (
            f"{odd.mean():.0%} of the pixels are bright in {names[role]} and dark in "
            f"{names['nir']}, as no land, cloud or water is; are {names[role]} and "
            f"{names['nir']} exchanged?"
        )
    water = (_normalised(kept["green"], nir) > 0.2) & ~land
    plants = _normalised(nir, kept["red"]) > 0.5
    if min(water.sum(), plants.sum()) >= _FEWEST and np.median(nir[water]) > np.median(nir[plants]):
        yield (
            f"water is brighter than vegetation in {names['nir']}; is {names['nir']} the near "
            "infrared?"
        )
    if "nir_narrow" in kept:
        narrow = kept["nir_narrow"]
        bright = np.maximum(nir, narrow) > 0.1
        apart = (narrow < 0.6 * nir) | (narrow > 1.6 * nir)
        if bright.mean() > 0.1 and bright.sum() >= _FEWEST and apart[bright].mean() > 0.5:
            yield (
                f"{names['nir']} and {names['nir_narrow']} differ by over 60 % in "
                f"{apart[bright].mean():.0%} of the bright pixels, though both are near infrared"
            )


def _land(kept: Mapping[str, np.ndarray], names: Mapping[str, str]) -> Iterator[str]:
    """Compare contrasts: those of clear land grow from blue to red, more so through haze.

    Only for correlated bands: grey roofs in dry grass may differ in blue alone.
    """
    above = kept["swir1"] > 0.1 if "swir1" in kept else kept["nir"] > 0.15
    clear = (kept["blue"] < 0.2) & above
    if clear.mean() < 0.2 or clear.sum() < 2 * _FEWEST:
        return
    blue, red = (float(kept[role][clear].std()) for role in ("blue", "red"))
    together = red > 0 and np.corrcoef(kept["blue"][clear], kept["red"][clear])[0, 1] > 0.7
    if together and blue > 0.005 and blue > 1.3 * red:
        yield (
            f"land varies more in {names['blue']} (by {blue:.3f}) than in {names['red']} (by "
            f"{red:.3f}); are {names['blue']} and {names['red']} exchanged?"
        )


def _vegetation(kept: Mapping[str, np.ndarray], names: Mapping[str, str]) -> Iterator[str]:
    """Compare bands in pixels that are dense vegetation by red and near infrared."""
    index = _normalised(kept["nir"], kept["red"])
    short = kept.get("swir1")
    dense = index > 0.7 if short is None else (index > 0.7) & (short > 0.05)
    if dense.mean() > 0.05 and dense.sum() >= _FEWEST:
        pairs = [("red", "green", 1.1), ("blue", "green", 1.3)]
        if short is not None:
            pairs.append(("swir1", "nir", 1.0))
            pairs += [("swir2", "swir1", 1.0)] if "swir2" in kept else []
        for upper, lower, factor in pairs:
            share = float((kept[upper] > factor * kept[lower])[dense].mean())
            if share > 0.5:
                yield (
                    f"{share:.0%} of the vegetation is brighter in {names[upper]} than in "
                    f"{names[lower]}; are {names[upper]} and {names[lower]} exchanged?"
                )
    if short is not None:
        green = (index > 0.4) & (kept["nir"] > 0.15)
        if green.mean() > 0.05 and green.sum() >= _FEWEST:
            share = float((short < kept["red"])[green].mean())
            if share > 0.5:
                yield (
                    f"{share:.0%} of the vegetation is darker in {names['swir1']} than in "
                    f"{names['red']}; are {names['swir1']} and {names['red']} exchanged?"
                )


def _normalised(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (a - b) / (a + b); 0 where the sum is not positive."""
    total = first + second
    return np.divide(first - second, total, out=np.zeros_like(total), where=total > 0)
