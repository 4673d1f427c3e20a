"""GeoVLM plugin: visual question answering over remote-sensing images (RSVQA, RSVQAxBEN)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from geovlm import hookimpl
from geovlm.api import Asked, DatasetSpec, TaskSpec, options

_CITATION = (
    "Lobry et al., RSVQA: Visual Question Answering for Remote Sensing Data, IEEE TGRS 2020, "
    "doi 10.1109/TGRS.2020.2988782"
)

_QUESTION = Asked(name="question", summary="such as 'Is there a road?'")
_REWARDS = {"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}}


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


@options
class BenchmarkOptions:
    """Options of the high-resolution set as the published tables use it."""

    types: tuple[Literal["presence", "comp"], ...] = ("presence", "comp")
    """Question types to keep."""
    per_image: int | None = None
    """Largest number of questions per image, spread evenly over its list. Default: all."""


@options
class LandCoverOptions:
    """Options of RSVQAxBEN."""

    types: tuple[Literal["presence", "LC"], ...] = ("presence", "LC")
    """Question types to keep: about 80 % are `presence`, the others list land-cover classes."""
    per_image: int | None = None
    """Largest number of questions per image, spread evenly over its list. Default: all 25."""


@options
class BenchmarkTaskOptions:
    """Options of the tasks of the published tables."""

    wording: Literal["earthdial", "plain"] = "earthdial"
    """Wording of the question: EarthDial's with its sensor token, or that of `rsvqa/lr`."""


@hookimpl
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """The three collections, and one of them as the published tables use it."""
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

    yield DatasetSpec(
        name="rsvqa/hrben",
        summary="The presence and comparison questions of rsvqa/hr; its test split is test_phili.",
        splits=("train", "val", "test"),
        load="geovlm_rsvqa.data:load_hrben",
        make_sample="geovlm_rsvqa.sample:make_hr",
        folders=("RSVQA_HR", "RSVQA-HR", "rsvqa_hr", "HR"),
        licence="CC-BY-4.0 (images); answers derived from OpenStreetMap, ODbL",
        homepage="https://zenodo.org/records/6344367",
        citation=_CITATION,
        size_gb=15.0,
        options=BenchmarkOptions,
    )
    yield DatasetSpec(
        name="rsvqa/xben",
        summary="RSVQAxBEN: 590,326 patches of BigEarthNet with 25 land-cover questions each.",
        splits=("train", "val", "test"),
        load="geovlm_rsvqa.xben:load",
        make_sample="geovlm_rsvqa.sample:make_xben",
        folders=("RSVQAxBEN", "RSVQA_xBEN", "rsvqaxben"),
        licence="CDLA-Permissive-1.0 (BigEarthNet); that of the questions is on Zenodo",
        homepage="https://zenodo.org/records/5084904",
        citation="Lobry, Demir and Tuia, RSVQA Meets BigEarthNet: A New, Large-Scale, Visual "
        "Question Answering Dataset for Remote Sensing, IGARSS 2021",
        official="geovlm_rsvqa.xben:official",
        options=LandCoverOptions,
    )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """One task per collection, and two as the published tables score them."""
    for name, summary, blank in (
        ("lr", "Presence, comparison, count, rural or urban (low resolution).", "low_res"),
        ("hr", "Presence, comparison, count, area (high resolution).", "high_res"),
        ("xben", "Presence and names of land-cover classes (BigEarthNet).", "land_cover"),
    ):
        yield TaskSpec(
            name=f"rsvqa/{name}",
            summary=summary,
            dataset=f"rsvqa/{name}",
            prompt=f"geovlm_rsvqa.{'xben' if name == 'xben' else 'tasks'}:prompt",
            rewards=_REWARDS,
            metrics=("accuracy", "format"),
            primary_metric="accuracy",
            protocol="rsvqa/xben" if name == "xben" else "earthdial/vqa",
            max_answer_tokens=160,
            asks=(_QUESTION,),
            blank=f"geovlm_rsvqa.blanks:{blank}",
            tags=frozenset({"vqa"}),
        )
    for name, dataset, summary in (
        ("lrben", "rsvqa/lr", "RSVQA-LRBEN of the tables: low resolution without counts."),
        ("hrben", "rsvqa/hrben", "RSVQA-HRBEN of the tables: test_phili, presence and comparison."),
    ):
        yield TaskSpec(
            name=f"rsvqa/{name}",
            summary=summary,
            dataset=dataset,
            prompt="geovlm_rsvqa.tasks:published_prompt",
            samples="geovlm_rsvqa.tasks:without_numbers",
            rewards=_REWARDS,
            metrics=("accuracy", "format"),
            primary_metric="accuracy",
            protocol=f"rsvqa/{name}",
            max_answer_tokens=160,
            asks=(_QUESTION,),
            blank="geovlm_rsvqa.blanks:closed",
            tags=frozenset({"vqa"}),
            options=BenchmarkTaskOptions,
        )
