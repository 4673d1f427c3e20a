"""Makes the images of a EuroSAT tile of 13 bands, and the words that explain them to the model.

The bands of a file are B01 to B12, then B8A, without names: so lie those of the release, whose
tenth band is the dark B10 and whose last one follows the near infrared B08.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from geovlm.api import Raster
from geovlm.errors import DataError
from geovlm_scenes import BANDS, EuroSatMsOptions, View

Triple = tuple[str, str, str]


class Composite(NamedTuple):
    """One image of a tile."""

    bands: Triple
    """Bands or indices shown as red, green and blue."""
    ranges: Mapping[str, tuple[float, float]]
    """Band -> stored values shown as 0 and 255, if not those of the options."""
    words: str


TRUE_COLOUR: Triple = ("B04", "B03", "B02")
_NIR = (0.0, 5000.0)
_SWIR = (0.0, 4000.0)
COMPOSITES: Mapping[str, Composite] = {
    "true_colour": Composite(TRUE_COLOUR, {}, "true colour"),
    "infrared": Composite(
        ("B08", "B04", "B03"),
        {"B08": _NIR},
        "false colour infrared, in which vegetation is red and water is dark",
    ),
    "swir": Composite(
        ("B12", "B8A", "B04"),
        {"B12": _SWIR, "B8A": _NIR},
        "short-wave infrared, in which vegetation is green, bare soil pink and snow blue",
    ),
    "ndvi": Composite(
        ("NDVI",) * 3,
        {},
        "vegetation index NDVI, in which black is -1, white is 1 and dense vegetation is bright",
    ),
    "ndwi": Composite(
        ("NDWI",) * 3,
        {},
        "water index NDWI, in which black is -1, white is 1 and open water is bright",
    ),
}
SIDE_PX = 64
"""Side of a tile; all bands have the pixels of 10 m."""
_NUMBERS: Mapping[str, int] = {band: number for number, band in enumerate(BANDS, start=1)}
_WORDS = {made.bands: made.words for made in COMPOSITES.values()}
_ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth")


def images(path: Path, own: EuroSatMsOptions) -> dict[str, Any]:
    """Return the fields `images` and `image_sizes` of a tile's sample.

    Raises:
        DataError: the options contradict each other.
    """
    made = tuple(
        Raster(
            file=path,
            bands=each.bands,
            low=own.low,
            high=own.high,
            band_index=_NUMBERS,
            ranges=each.ranges,
            reflectance=10_000.0,
        )
        for each in _composites(own.views, own.bands)
    )
    return {"images": made, "image_sizes": ((SIDE_PX, SIDE_PX),) * len(made)}


def described(shown: Sequence[Path | Raster]) -> str:
    """Return the beginning of a question, which explains the images in their order.

    It is empty for a single image in true colour or of a user's own bands, and for pictures.
    """
    triples = [image.bands if isinstance(image, Raster) else TRUE_COLOUR for image in shown]
    if len(triples) < 2:
        only = "".join(_WORDS.get(each, "") for each in triples if each != TRUE_COLOUR)
        return f"The image is {only}. " if only else ""
    words = [_WORDS.get(each) or f"bands {', '.join(each)} as red, green, blue" for each in triples]
    listed = ". ".join(
        f"{ordinal} image: {each}" for ordinal, each in zip(_ORDINALS, words, strict=False)
    )
    return f"The images show the same place at the same time. {listed}. "


@cache
def _composites(views: tuple[View, ...], bands: Triple) -> tuple[Composite, ...]:
    name = "scenes/eurosat_ms"
    if not views:
        raise DataError(f"{name}: views is empty", hint='choose some, such as ["true_colour"]')
    if len(set(views)) < len(views):
        raise DataError(f"{name}: views {list(views)} names one twice", hint="name it once")
    if "bands" not in views and bands != TRUE_COLOUR:
        raise DataError(
            f"{name}: bands {list(bands)} are in none of the views {list(views)}",
            hint='add "bands" to views, or leave bands out',
        )
    own = Composite(bands, {}, "")
    return tuple(own if view == "bands" else COMPOSITES[view] for view in views)
