"""GeoVLM plugin: building damage in pairs of images before and after a disaster (xBD, xView2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from geovlm import hookimpl
from geovlm.api import Asked, DatasetSpec, TaskSpec, options

DAMAGES = ("no-damage", "minor-damage", "major-damage", "destroyed")
"""The levels of xBD's joint damage scale, mildest first."""
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


def _closed(
    name: str,
    summary: str,
    *,
    prompt: str,
    metric: str = "accuracy",
    unchanged: str = "",
    asks: tuple[Asked, ...] = (),
) -> TaskSpec:
    """Return a task whose answer is one of a few words."""
    return TaskSpec(
        name=f"xbd/{name}",
        summary=summary,
        dataset="xbd",
        samples=f"geovlm_xbd.tasks:{name}_samples",
        prompt=prompt,
        rewards={"paper": {"recall": 1.0}, "robust": {"exact": 1.0}},
        metrics=(metric, "format"),
        primary_metric="accuracy",
        protocol="earthdial/classify",
        max_answer_tokens=160,
        unchanged=unchanged,
        asks=asks,
        blank=f"geovlm_xbd.blanks:{name}",
        tags=frozenset({"bitemporal", "classification"}),
    )


def _boxes(
    name: str,
    summary: str,
    *,
    prompt: str,
    unchanged: str = "",
    asks: tuple[Asked, ...] = (),
) -> TaskSpec:
    """Return a task whose answer is a list of boxes in the newer image."""
    return TaskSpec(
        name=f"xbd/{name}",
        summary=summary,
        dataset="xbd",
        samples=f"geovlm_xbd.tasks:{name}_samples",
        prompt=prompt,
        rewards={"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
        metrics=("detection", "format"),
        primary_metric="mean_iou",
        protocol="earthdial/xbd_detect",
        max_answer_tokens=1024,
        unchanged=unchanged,
        asks=asks,
        blank=f"geovlm_xbd.blanks:{name}",
        tags=frozenset({"bitemporal", "detection"}),
    )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """Declare seven questions over a pair."""
    yield _boxes(
        "detect",
        "Boxes of all damaged buildings.",
        prompt="geovlm_xbd.tasks:detect_prompt",
        unchanged="none",
    )
    yield _boxes(
        "refer",
        "Boxes of the buildings of a damage level in a part of the image.",
        prompt="geovlm_xbd.tasks:refer_prompt",
        asks=(
            Asked(name="level", summary="damage level of the buildings", choices=DAMAGES),
            Asked(name="place", summary="part of each window", choices=PLACES),
        ),
    )
    yield _closed(
        "assess",
        "Damage level of a marked building.",
        prompt="geovlm_xbd.tasks:assess_prompt",
        unchanged=DAMAGES[0],
        asks=(Asked(name="boxes", summary="the building in question"),),
    )
    yield _closed("disaster", "Type of the disaster.", prompt="geovlm_xbd.tasks:disaster_prompt")
    yield _closed(
        "affected",
        "Is any building damaged?",
        prompt="geovlm_xbd.tasks:affected_prompt",
        unchanged="no",
    )
    yield _closed(
        "count",
        "How many buildings are damaged: none, one, two, many.",
        prompt="geovlm_xbd.tasks:count_prompt",
        unchanged=COUNTS[0],
    )
    yield TaskSpec(
        name="xbd/caption",
        summary="One sentence on disaster and damage.",
        dataset="xbd",
        samples="geovlm_xbd.tasks:caption_samples",
        prompt="geovlm_xbd.tasks:caption_prompt",
        blank="geovlm_xbd.blanks:caption",
        rewards={"paper": {"levenshtein": 1.0}, "robust": {"caption_f1": 1.0}},
        metrics=("caption", "format"),
        primary_metric="caption_f1",
        protocol="earthdial/caption",
        max_answer_tokens=160,
        tags=frozenset({"bitemporal", "caption"}),
    )
