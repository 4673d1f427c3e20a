"""GeoVLM plugin: captioning on RSICD, UCM-Captions and Sydney-Captions, declarations only."""

from __future__ import annotations

from collections.abc import Iterable

from geovlm import hookimpl
from geovlm.api import DatasetSpec, TaskSpec, options

_QU = (
    "Qu et al., Deep Semantic Understanding of High Resolution Remote Sensing Image, CITS 2016, "
    "doi 10.1109/CITS.2016.7546397"
)
_LU = (
    "Lu et al., Exploring Models and Data for Remote Sensing Image Caption Generation, "
    "IEEE TGRS 2017, doi 10.1109/TGRS.2017.2776321"
)
_HOMEPAGE = "https://github.com/201528014227051/RSICD_optimal"
_LICENCE = "none stated by the authors; research use"


@options
class CaptionOptions:
    """Options of a captioning set."""

    file: str = ""
    """Name of the JSON file in the data set's folder. "": the official one."""


@hookimpl
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """Declare the three collections."""
    for name, summary, folders, citation, size_gb, official in (
        (
            "rsicd",
            "10,921 aerial images of 224 px with five captions each.",
            ("RSICD", "rsicd", "RSICD_optimal"),
            _LU,
            0.5,
            "geovlm_captions.data:official_rsicd",
        ),
        (
            "ucm",
            "2,100 aerial images of 256 px with five captions each.",
            ("UCM_captions", "UCM-Captions", "ucm_captions"),
            _QU,
            0.4,
            "geovlm_captions.data:official_ucm",
        ),
        (
            "sydney",
            "613 aerial images of 500 px with five captions each.",
            ("Sydney_captions", "Sydney-Captions", "sydney_captions"),
            _QU,
            0.4,
            None,
        ),
    ):
        yield DatasetSpec(
            name=f"captions/{name}",
            summary=summary,
            splits=("train", "val", "test"),
            load=f"geovlm_captions.data:load_{name}",
            make_sample=f"geovlm_captions.sample:make_{name}",
            folders=folders,
            licence=_LICENCE,
            homepage=_HOMEPAGE,
            citation=citation,
            size_gb=size_gb,
            official=official,
            options=CaptionOptions,
        )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """Declare one task per collection."""
    for name, title in (
        ("rsicd", "RSICD"),
        ("ucm", "UCM-Captions"),
        ("sydney", "Sydney-Captions"),
    ):
        yield TaskSpec(
            name=f"captions/{name}",
            summary=f"Describe the image in one sentence ({title}).",
            dataset=f"captions/{name}",
            prompt="geovlm_captions.tasks:prompt",
            blank="geovlm_captions.tasks:blank",
            rewards={"paper": {"levenshtein": 1.0}, "robust": {"caption_f1": 1.0}},
            metrics=("caption", "format"),
            primary_metric="rougeL",
            protocol="earthdial/caption",
            max_answer_tokens=160,
            tags=frozenset({"captioning"}),
        )
