"""GeoVLM plugin: building damage in pairs of images before and after a disaster (xBD, xView2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from geovlm import hookimpl
from geovlm.api import Asked, DatasetSpec, TaskSpec, options

DAMAGES = ("no-damage", "minor-damage", "major-damage", "destroyed")
"""The levels of xBD's joint damage scale, mildest first."""
UNCLASSIFIED = "un-classified"
"""Level of buildings that the annotators could not judge."""
DISASTERS = ("volcano", "fire", "earthquake", "flood", "tsunami", "wind")
"""Disaster types; the labels' `flooding` is `flood`, as in EarthDial's questions."""
COUNTS = ("none", "one", "two", "many")
"""Numbers of damaged buildings: 0, 1, 2, more."""
VERDICTS = ("yes", "no")
PLACES = (
    *("upper left", "upper middle", "upper right"),
    *("left", "centre", "right"),
    *("lower left", "lower middle", "lower right"),
)
"""Parts of an image, by thirds."""
EARTHDIAL_PLACES = (
    *("top left", "top", "top right", "left", "center", "right"),
    *("bottom left", "bottom", "bottom right"),
)
"""Parts of an image in EarthDial's words, with borders at 30 and 70 %."""


@options
class XbdOptions:
    """Options of the data set."""

    labels: str = "labels"
    """Name of the label folder next to `images`, for repaired or reconstructed labels."""
    tier3: bool = False
    """Add the pairs of tier3 to the training split."""
    min_area_px: float = 4.0
    """Smallest box of a building, square pixels of the stored image; others are left out."""
    unclassified: Literal["skip", "no-damage"] = "skip"
    """Treatment of buildings that the annotators could not judge."""


@options
class EarthDialOptions:
    """Options of the tasks in EarthDial's words."""

    wording: Literal["earthdial", "plain"] = "earthdial"
    """`earthdial`: the published question, with its tokens and boxes in percent. `plain`: a clean
    sentence with boxes in the model's frame."""


@hookimpl
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """Declare the pairs with their building polygons."""
    yield DatasetSpec(
        name="xbd",
        summary="Pre/post-disaster satellite pairs with building polygons and damage levels.",
        splits=("train", "val", "test"),
        load="geovlm_xbd.data:load",
        make_sample="geovlm_xbd.sample:make_sample",
        folders=("xBD", "xbd", "xview2", "xView2"),
        licence="CC-BY-NC-SA-4.0 (non-commercial)",
        homepage="https://xview2.org",
        citation="Gupta et al., xBD: A Dataset for Assessing Building Damage from Satellite "
        "Imagery, 2019, arXiv 1911.09296",
        size_gb=51.0,
        official="geovlm_xbd.data:official",
        options=XbdOptions,
    )


def _task(
    name: str,
    summary: str,
    *,
    module: Literal["tasks", "earthdial"] = "tasks",
    unchanged: str = "",
    asks: tuple[Asked, ...] = (),
    form: str = "closed",
) -> TaskSpec:
    """Return a task whose answer is one of a few words, a list of boxes or a caption."""
    fields: dict[str, Any] = {
        "closed": {
            "rewards": {"paper": {"recall": 1.0}, "robust": {"exact": 1.0}},
            "metrics": ("accuracy", "format"),
            "primary_metric": "accuracy",
            "protocol": "earthdial/classify",
            "max_answer_tokens": 160,
            "tags": frozenset({"bitemporal", "classification"}),
        },
        "boxes": {
            "rewards": {"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
            "metrics": ("detection", "format"),
            "primary_metric": "mean_iou",
            "protocol": "earthdial/xbd_detect",
            "max_answer_tokens": 1024,
            "tags": frozenset({"bitemporal", "detection"}),
        },
        "caption": {
            "rewards": {"paper": {"levenshtein": 1.0}, "robust": {"caption_f1": 1.0}},
            "metrics": ("caption", "format"),
            "primary_metric": "caption_f1",
            "protocol": "earthdial/caption",
            "max_answer_tokens": 160,
            "tags": frozenset({"bitemporal", "caption"}),
        },
    }[form]
    theirs = module == "earthdial"
    blanks = "earthdial_prompts:{}_blank" if theirs else "blanks:{}"
    return TaskSpec(
        name=f"xbd/earthdial/{name}" if theirs else f"xbd/{name}",
        summary=summary,
        dataset="xbd",
        samples=f"geovlm_xbd.{module}:{name}_samples",
        prompt=f"geovlm_xbd.{module}{'_prompts' if theirs else ''}:{name}_prompt",
        blank=f"geovlm_xbd.{blanks.format(name)}",
        unchanged=unchanged,
        asks=asks,
        options=EarthDialOptions if theirs else None,
        **fields,
    )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """Declare seven questions over a pair, and EarthDial's eight."""
    building = (Asked(name="boxes", summary="the building in question"),)
    yield _task("detect", "Boxes of all damaged buildings.", form="boxes", unchanged="none")
    yield _task(
        "refer",
        "Boxes of the buildings of a damage level in a part of the image.",
        form="boxes",
        asks=(
            Asked(name="level", summary="damage level of the buildings", choices=DAMAGES),
            Asked(name="place", summary="part of each window", choices=PLACES),
        ),
    )
    yield _task("assess", "Damage level of a marked building.", unchanged=DAMAGES[0], asks=building)
    yield _task("disaster", "Type of the disaster.")
    yield _task("affected", "Is any building damaged?", unchanged="no")
    yield _task(
        "count", "How many buildings are damaged: none, one, two, many.", unchanged=COUNTS[0]
    )
    yield _task("caption", "One sentence on disaster and damage.", form="caption")

    def theirs(name: str, summary: str, **fields: Any) -> TaskSpec:
        return _task(name, f"{summary} In EarthDial's words.", module="earthdial", **fields)

    yield theirs("caption", "One sentence on disaster and damage.", form="caption")
    yield theirs(
        "region_1", "Damage level of a marked building.", unchanged=DAMAGES[0], asks=building
    )
    yield theirs("region_2", "Is a marked building damaged?", unchanged="no", asks=building)
    yield theirs("image_1", "Type of the disaster.")
    yield theirs("image_2", "Is any building damaged?", unchanged="no")
    yield theirs(
        "image_3", "How many buildings are damaged: none, one, two, many.", unchanged=COUNTS[0]
    )
    yield theirs("detect", "Boxes of the five largest buildings.", form="boxes")
    yield theirs(
        "refer",
        "Box of the building of a damage level in a part of the image.",
        form="boxes",
        asks=(
            Asked(name="level", summary="damage level of the building", choices=DAMAGES[1:]),
            Asked(name="place", summary="part of each window", choices=EARTHDIAL_PLACES),
        ),
    )
