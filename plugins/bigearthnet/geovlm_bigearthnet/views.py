"""Makes the images of a patch, and the words that explain them to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from geovlm.api import Raster, Size
from geovlm.errors import DataError
from geovlm_bigearthnet import View

Triple = tuple[str, str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """One image of a patch."""

    bands: Triple
    """Bands or indices shown as red, green and blue."""
    ranges: Mapping[str, tuple[float, float]]
    """Band -> stored values shown as 0 and 255, if not those of the options."""
    files: tuple[str, ...]
    """Bands of which it is made."""
    words: str


TRUE_COLOUR: Triple = ("B04", "B03", "B02")
_NIR = (0.0, 5000.0)
_SWIR = (0.0, 4000.0)
COMPOSITES: Mapping[str, Composite] = {
    "true_colour": Composite(TRUE_COLOUR, {}, TRUE_COLOUR, "true colour"),
    "infrared": Composite(
        ("B08", "B04", "B03"),
        {"B08": _NIR},
        ("B08", "B04", "B03"),
        "false colour infrared, in which vegetation is red and water is dark",
    ),
    "swir": Composite(
        ("B12", "B8A", "B04"),
        {"B12": _SWIR, "B8A": _NIR},
        ("B12", "B8A", "B04"),
        "short-wave infrared, in which vegetation is green, bare soil pink and snow blue",
    ),
    "ndvi": Composite(
        ("NDVI",) * 3,
        {},
        ("B08", "B04"),
        "vegetation index NDVI, in which black is -1, white is 1 and dense vegetation is bright",
    ),
    "ndwi": Composite(
        ("NDWI",) * 3,
        {},
        ("B03", "B08"),
        "water index NDWI, in which black is -1, white is 1 and open water is bright",
    ),
}
SIDES_PX = (
    dict.fromkeys(("B02", "B03", "B04", "B08"), 120)
    | dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 60)
    | dict.fromkeys(("B01", "B09"), 20)
)
"""Band -> side of its image of a patch in pixels, as the data set defines it."""
_WORDS = {made.bands: made.words for made in COMPOSITES.values()}
_ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth")


@cache
def composites(views: tuple[View, ...], *, bands: Triple) -> tuple[Composite, ...]:
    """Return the views of every patch, first image first.

    Args:
        views: their names.
        bands: what the view `bands` shows.

    Raises:
        DataError: the options contradict each other.
    """
    if not views:
        raise DataError("bigearthnet: views is empty", hint='choose some, such as ["true_colour"]')
    if len(set(views)) < len(views):
        raise DataError(f"bigearthnet: views {list(views)} names one twice", hint="name it once")
    if "bands" not in views and bands != TRUE_COLOUR:
        raise DataError(
            f"bigearthnet: bands {list(bands)} are in none of the views {list(views)}",
            hint='add "bands" to views, or leave bands out',
        )
    own = Composite(bands, {}, bands, "")
    return tuple(own if view == "bands" else COMPOSITES[view] for view in views)


@cache
def files_of(shown: tuple[Composite, ...]) -> tuple[str, ...]:
    """Return the bands of which some images are made."""
    return tuple(dict.fromkeys(band for each in shown for band in each.files))


@cache
def sizes_of(shown: tuple[Composite, ...]) -> tuple[Size, ...]:
    """Return the sizes of some images: those of their first bands."""
    return tuple((SIDES_PX[each.files[0]],) * 2 for each in shown)


def described(images: Sequence[Path | Raster]) -> str:
    """Return the beginning of a question, which explains the images in their order.

    It is empty for a single image in true colour or of a user's own bands. An image that is not a
    `Raster` is taken as true colour.
    """
    shown = [image.bands if isinstance(image, Raster) else TRUE_COLOUR for image in images]
    if len(shown) < 2:
        only = "".join(_WORDS.get(each, "") for each in shown if each != TRUE_COLOUR)
        return f"The image is {only}. " if only else ""
    words = [_WORDS.get(each) or f"bands {', '.join(each)} as red, green, blue" for each in shown]
    listed = ". ".join(
        f"{ordinal} image: {each}" for ordinal, each in zip(_ORDINALS, words, strict=False)
    )
    return f"The images show the same place at the same time. {listed}. "
