"""GeoVLM plugin: visual question answering over remote-sensing images (RSVQA, low and high res)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from geovlm import hookimpl
from geovlm.api import Asked, DatasetSpec, TaskSpec, options

_CITATION = (
    "Lobry et al., RSVQA: Visual Question Answering for Remote Sensing Data, IEEE TGRS 2020, "
    "doi 10.1109/TGRS.2020.2988782"
)


@options
class LowResOptions:
    """Options of the low-resolution set."""

    types: tuple[Literal["presence", "comp", "count", "rural_urban"], ...] = (
        "presence",
        "comp",
        "count",
        "rural_urban",
    )
    """Question types to keep; the others are left out."""
    per_image: int | None = None
    """Largest number of questions per image, spread over its list. Default: all (about 100)."""
    answers: Literal["classes", "raw"] = "classes"
    """Form of counts in answers: their official class (`between 0 and 10`), or as stored."""


@options
class HighResOptions:
    """Options of the high-resolution set."""

    types: tuple[Literal["presence", "comp", "count", "area"], ...] = (
        "presence",
        "comp",
        "count",
        "area",
    )
    """Question types to keep; the others are left out."""
    per_image: int | None = None
    """Largest number of questions per image, spread evenly over its list. Default: all."""
    answers: Literal["classes", "raw"] = "classes"
    """Form of areas in answers: their class (`between 10m2 and 100m2`), or as stored."""
    test: Literal["test", "test_phili"] = "test"
    """Test set that is the split `test`; `test_phili` is an unseen city and sensor."""


@hookimpl
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """The two collections."""
    yield DatasetSpec(
        name="rsvqa/lr",
        summary="772 Sentinel-2 tiles of 256 px at 10 m with about 100 questions each.",
        splits=("train", "val", "test"),
        load="geovlm_rsvqa.data:load_lr",
        make_sample="geovlm_rsvqa.sample:make_lr",
        folders=("RSVQA_LR", "RSVQA-LR", "rsvqa_lr", "LR"),
        licence="CC-BY-4.0 (images); answers derived from OpenStreetMap, ODbL",
        homepage="https://zenodo.org/records/6344334",
        citation=_CITATION,
        size_gb=0.2,
        official="geovlm_rsvqa.data:official_lr",
        options=LowResOptions,
    )
    yield DatasetSpec(
        name="rsvqa/hr",
        summary="10,659 aerial tiles of 512 px at 0.15 m with about 100 questions each.",
        splits=("train", "val", "test"),
        load="geovlm_rsvqa.data:load_hr",
        make_sample="geovlm_rsvqa.sample:make_hr",
        folders=("RSVQA_HR", "RSVQA-HR", "rsvqa_hr", "HR"),
        licence="CC-BY-4.0 (images); answers derived from OpenStreetMap, ODbL",
        homepage="https://zenodo.org/records/6344367",
        citation=_CITATION,
        size_gb=15.0,
        options=HighResOptions,
    )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """One task per collection."""
    for name, summary, blank in (
        ("rsvqa/lr", "Presence, comparison, count, rural or urban (low resolution).", "low_res"),
        ("rsvqa/hr", "Presence, comparison, count, area (high resolution).", "high_res"),
    ):
        yield TaskSpec(
            name=name,
            summary=summary,
            dataset=name,
            prompt="geovlm_rsvqa.tasks:prompt",
            rewards={"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}},
            metrics=("accuracy", "format"),
            primary_metric="accuracy",
            protocol="earthdial/vqa",
            max_answer_tokens=160,
            asks=(Asked(name="question", summary="such as 'Is there a road?'"),),
            blank=f"geovlm_rsvqa.blanks:{blank}",
            tags=frozenset({"vqa"}),
        )
