"""GeoVLM plugin: functional map of the world (fMoW-rgb), four images of a place, declarations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from geovlm import hookimpl
from geovlm.api import DatasetSpec, TaskSpec, options

VIEWS = 4
"""Images of a place in a question."""


@options
class FmowOptions:
    """Options of fMoW."""

    images: Literal["rgb", "msrgb"] = "rgb"
    """`rgb`: pan-sharpened images; `msrgb`: the four times coarser ones of the same dates."""
    context: float = 0.25
    """Ground shown on each side of the place's box, as a share of the box's longer side."""
    min_side_px: int = 112
    """Shortest side of a crop, pixels of the stored image, where the image is as large."""


@options
class FmowTaskOptions:
    """Options of the task."""

    wording: Literal["earthdial", "plain"] = "earthdial"
    """`earthdial`: the published question, with its sensor token, blanks and literal `\\n`.
    `plain`: the same classes in a clean sentence."""


@hookimpl
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """Declare fMoW-rgb."""
    yield DatasetSpec(
        name="fmow",
        summary="Satellite images of places on several dates, in 62 categories of use.",
        splits=("train", "test"),
        load="geovlm_fmow.data:load",
        make_sample="geovlm_fmow.sample:make_sample",
        folders=("fmow-rgb", "fMoW-rgb", "fMoW", "fmow"),
        licence="fMoW Challenge Public License",
        homepage="https://github.com/fMoW/dataset",
        citation="Christie et al., Functional Map of the World, CVPR 2018, arXiv:1711.07846",
        options=FmowOptions,
    )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """Declare the task."""
    yield TaskSpec(
        name="fmow",
        summary="Name the use of a place from four images of different dates, out of a list.",
        dataset="fmow",
        prompt="geovlm_fmow.tasks:prompt",
        rewards={"paper": {"recall": 1.0}, "robust": {"exact": 1.0}},
        metrics=("accuracy", "format"),
        primary_metric="accuracy",
        protocol="earthdial/classify",
        max_answer_tokens=128,
        min_pixels=224 * 224,  # 64 visual tokens of 28 px; a crop of 112 px would have 16
        tags=frozenset({"classification", "multi-temporal"}),
        options=FmowTaskOptions,
    )
