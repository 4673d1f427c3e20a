"""GeoVLM plugin: captions of RSICD, UCM, Sydney, NWPU and RSITMD, declarations only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from geovlm import hookimpl
from geovlm.api import DatasetSpec, Split, TaskSpec, options

_QU = (
    "Qu et al., Deep Semantic Understanding of High Resolution Remote Sensing Image, CITS 2016, "
    "doi 10.1109/CITS.2016.7546397"
)
_LU = (
    "Lu et al., Exploring Models and Data for Remote Sensing Image Caption Generation, "
    "IEEE TGRS 2017, doi 10.1109/TGRS.2017.2776321"
)
_CHENG = (
    "Cheng et al., NWPU-Captions Dataset and MLCA-Net for Remote Sensing Image Captioning, "
    "IEEE TGRS 2022, doi 10.1109/TGRS.2022.3201474"
)
_YUAN = (
    "Yuan et al., Exploring a Fine-Grained Multiscale Method for Cross-Modal Remote Sensing Image "
    "Retrieval, IEEE TGRS 2021, doi 10.1109/TGRS.2021.3078451"
)
_OPTIMAL = "https://github.com/201528014227051/RSICD_optimal"
_LICENCE = "none stated by the authors; research use"
_THREE: tuple[Split, ...] = ("train", "val", "test")
_TWO: tuple[Split, ...] = ("train", "test")


@options
class CaptionOptions:
    """Options of a captioning set."""

    file: str = ""
    """Name of the JSON file in the data set's folder. "": the official one."""


@options
class CaptionTaskOptions:
    """Options of a captioning task."""

    wording: Literal["earthdial", "plain"] = "earthdial"
    """Wording of the question: EarthDial's with its task and sensor tokens, or a plain sentence."""


@hookimpl
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """Declare the five collections."""
    for name, summary, folders, homepage, citation, size_gb, splits, official in (
        (
            "rsicd",
            "10,921 aerial images of 224 px with five captions each.",
            ("RSICD", "rsicd", "RSICD_optimal"),
            _OPTIMAL,
            _LU,
            0.5,
            _THREE,
            "geovlm_captions.data:official_rsicd",
        ),
        (
            "ucm",
            "2,100 aerial images of 256 px with five captions each.",
            ("UCM_captions", "UCM-Captions", "ucm_captions"),
            _OPTIMAL,
            _QU,
            0.4,
            _THREE,
            "geovlm_captions.data:official_ucm",
        ),
        (
            "sydney",
            "613 aerial images of 500 px with five captions each.",
            ("Sydney_captions", "Sydney-Captions", "sydney_captions"),
            _OPTIMAL,
            _QU,
            0.4,
            _THREE,
            None,
        ),
        (
            "nwpu",
            "31,500 images of NWPU-RESISC45, 256 px, with five captions each.",
            ("NWPU-Captions", "NWPU_Captions", "nwpu_captions"),
            "https://github.com/HaiyanHuang98/NWPU-Captions",
            _CHENG,
            0.5,
            _THREE,
            "geovlm_captions.data:official_nwpu",
        ),
        (
            "rsitmd",
            "4,743 images of 256 px with five fine-grained captions each.",
            ("RSITMD", "rsitmd"),
            "https://github.com/xiaoyuan1996/AMFMN",
            _YUAN,
            None,
            _TWO,
            "geovlm_captions.data:official_rsitmd",
        ),
    ):
        yield DatasetSpec(
            name=f"captions/{name}",
            summary=summary,
            splits=splits,
            load=f"geovlm_captions.data:load_{name}",
            make_sample=f"geovlm_captions.sample:make_{name}",
            folders=folders,
            licence=_LICENCE,
            homepage=homepage,
            citation=citation,
            size_gb=size_gb,
            official=official,
            options=CaptionOptions,
            version=2,
        )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """Declare one task per collection."""
    for name, title in (
        ("rsicd", "RSICD"),
        ("ucm", "UCM-Captions"),
        ("sydney", "Sydney-Captions"),
        ("nwpu", "NWPU-Captions"),
        ("rsitmd", "RSITMD"),
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
            options=CaptionTaskOptions,
            version=2,
        )
