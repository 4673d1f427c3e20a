"""Measures objects at the size at which a model sees them, and says when they are too small.

The side of an object is the shorter one of its box, in pixels of the image after the processor's
resize. The plan, `geovlm tasks preview`, `geovlm data check` and the verdict of a run use it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from geovlm import boxes

if TYPE_CHECKING:
    from geovlm.api import ModelProfile, Sample, Size

SMALL_PX = 4
"""Side below which an object is small, pixels of the image as the model sees it."""
SAID_SHARE = 0.10
"""Share of small objects above which it is said."""


class View(NamedTuple):
    """The boxes of one image, and its sizes."""

    boxes: Sequence[boxes.Box]
    """Pixels of the stored image."""
    stored: Size
    """Size of the stored image, pixels."""
    seen: Size
    """Size at which the model sees it, pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Sides of objects, in pixels of the image as the model sees it."""

    n: int
    """Number of objects."""
    small_px: float
    """Side below which an object is small."""
    small_share: float
    median_px: float
    tenth_px: float
    """Side that one object in ten is smaller than."""
    seen: Size
    """Most frequent size of an image as the model sees it."""
    stored: Size
    """Most frequent size of a stored image."""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {**asdict(self), "seen": list(self.seen), "stored": list(self.stored)}


def measure(views: Iterable[View]) -> Sizes | None:
    """Return the sizes of the objects; `None` if there are none."""
    sides: list[float] = []
    seen: Counter[Size] = Counter()
    stored: Counter[Size] = Counter()
    for view in views:
        if view.boxes:
            sides += [_side(box, view) for box in view.boxes]
            seen[view.seen] += 1
            stored[view.stored] += 1
    if not sides:
        return None
    sides.sort()
    middle = len(sides) // 2
    return Sizes(
        n=len(sides),
        small_px=SMALL_PX,
        small_share=sum(side < SMALL_PX for side in sides) / len(sides),
        median_px=sides[middle] if len(sides) % 2 else (sides[middle - 1] + sides[middle]) / 2,
        tenth_px=sides[len(sides) // 10],
        seen=seen.most_common(1)[0][0],
        stored=stored.most_common(1)[0][0],
    )


def of_samples(
    samples: Iterable[Sample], *, profile: ModelProfile, min_pixels: int = 0
) -> Sizes | None:
    """Return the sizes of the objects of samples, whose boxes are of their last image.

    Headers of images are read where the data set does not declare their sizes.

    Raises:
        DataError: an image cannot be read or is too narrow for the model.
    """
    from geovlm import raster

    def view(sample: Sample, found: Sequence[boxes.Box]) -> View:
        sizes = sample.image_sizes
        stored = sizes[-1] if sizes else raster.image_size(sample.images[-1])
        seen = boxes.input_size(stored, profile=profile, min_pixels=min_pixels)
        return View(found, stored, seen)

    pairs = ((sample, boxes.target_boxes(sample.target)) for sample in samples)
    return measure(view(sample, found) for sample, found in pairs if found)


def warning(found: Sizes | None, *, model: str, profile: ModelProfile) -> str:
    """Return what to do about small objects as a line; empty if few are small.

    Example:
        >>> from geovlm.plugins.profiles import QWEN2_5_VL
        >>> half = View([boxes.Box(0, 0, 3, 9), boxes.Box(0, 0, 9, 9)], (84, 84), (84, 84))
        >>> warning(measure([half]), model="mine", profile=QWEN2_5_VL).partition("; use ")[0]
        '50 % of 2 boxes are under 4 px at mine, which sees 84 x 84 px; median 6 px'
    """
    if found is None or found.small_share <= SAID_SHARE:
        return ""
    width, height = found.seen
    name = "this model" if Path(model).is_absolute() else model.rpartition("/")[2]
    return (
        f"{100 * found.small_share:.0f} % of {found.n:,} boxes are under {found.small_px:g} px at "
        f"{name}, which sees {width} x {height} px; median {found.median_px:.2g} px; use "
        f"{_remedy(found, profile=profile)}"
    )


def _side(box: boxes.Box, view: View) -> float:
    x_scale, y_scale = (seen / of for seen, of in zip(view.seen, view.stored, strict=True))
    width, height = box.x1 - box.x0, box.y1 - box.y0
    if box.angle_deg:
        return min(width, height) * math.sqrt(x_scale * y_scale)
    return min(width * x_scale, height * y_scale)


def _remedy(found: Sizes, *, profile: ModelProfile) -> str:
    """Return the options with which at most one object in ten is small."""
    area = math.prod(found.seen)
    cell = profile.size_factor**2
    grown = area * (found.small_px / max(found.tenth_px, 0.1)) ** 2
    needed = math.ceil(grown / cell) * cell
    if profile.min_pixels == profile.max_pixels:  # one size, with which the model was made
        return "a --model that sees more, such as Qwen/Qwen3-VL-4B-Instruct"
    options = []
    if needed > profile.max_pixels:
        options.append(f"max_pixels={needed}")
    if needed > math.prod(found.stored):
        options.append(f"min_pixels={needed}")
    return " ".join(f"--set {option}" for option in options or [f"min_pixels={needed}"])
