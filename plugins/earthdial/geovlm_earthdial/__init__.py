"""GeoVLM plugin: EarthDial-Instruct as it is downloaded, declarations only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from geovlm import hookimpl
from geovlm.api import DatasetSpec, TaskSpec, options

_FOLDERS = (
    *("Eardial_downstream_task_datasets", "EarthDial_downstream_task_datasets"),
    *("EarthDial-Dataset", "EarthDial-Instruct", "EarthDial", "earthdial"),
)
"""Names of the release, its first one misspelt by the authors."""


@options
class EarthDialOptions:
    """Options of a data set."""

    only: tuple[str, ...] = ()
    """Folders to read: each has one of these texts in its path below the root, such as `UCM`, in
    any capitals. Default: all that fit."""
    boxes: Literal["hull", "drop_angle"] = "hull"
    """True boxes with an angle: `hull`, the axis-aligned box around them; `drop_angle`, the four
    numbers as written."""
    outside: Literal["keep", "drop"] = "keep"
    """Rows whose answer is not among the classes in their question, such as `un-classified`: kept,
    as EarthDial's evaluation does, or left out and counted."""


@options
class EarthDialTaskOptions:
    """Options of a task."""

    wording: Literal["earthdial", "plain"] = "earthdial"
    """`earthdial`: the question as EarthDial's evaluation asks it, boxes in percent. `plain`: the
    same without tokens, tags and stray signs, boxes in the model's frame."""


_CLOSED: dict[str, Any] = {
    "rewards": {"paper": {"recall": 1.0}, "robust": {"exact": 1.0}},
    "metrics": ("accuracy", "format"),
    "primary_metric": "accuracy",
    "protocol": "earthdial/classify",
    "max_answer_tokens": 160,
}
_BOXES: dict[str, Any] = {
    "rewards": {"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
    "metrics": ("detection", "format"),
    "primary_metric": "f1",
    "max_answer_tokens": 768,
}
_CAPTION: dict[str, Any] = {
    "rewards": {"paper": {"levenshtein": 1.0}, "robust": {"caption_f1": 1.0}},
    "metrics": ("caption", "format"),
    "primary_metric": "caption_f1",
    "protocol": "earthdial/caption",
    "max_answer_tokens": 160,
}
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "classify": ("Name the class of an image.", "classification", _CLOSED),
    "series": ("Name the class of two or four images of a place.", "temporal", _CLOSED),
    "vqa": (
        "Answer a question with a word.",
        "vqa",
        {
            **_CLOSED,
            "rewards": {"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}},
            "protocol": "earthdial/vqa",
        },
    ),
    "refer": (
        "Find the objects of a phrase.",
        "detection",
        {**_BOXES, "protocol": "earthdial/refer"},
    ),
    "locate": (
        "Find buildings in the second of two images.",
        "detection",
        {**_BOXES, "protocol": "earthdial/xbd_detect"},
    ),
    "region": (
        "Describe the object in a box.",
        "region",
        {
            **_CAPTION,
            "rewards": {"paper": {"hslr": 1.0}, "robust": {"caption_f1": 1.0}},
            "protocol": "earthdial/region_caption",
        },
    ),
    "caption": ("Describe an image in a sentence.", "captioning", _CAPTION),
    "damage": ("State disaster and damage of two images.", "captioning", _CAPTION),
    "change": (
        "State what changed between two or four images.",
        "captioning",
        {
            **_CAPTION,
            "rewards": {"paper": {"hslr": 1.0}, "robust": {"change_f1": 1.0}},
            "metrics": ("change", "format"),
            "primary_metric": "rougeL/halves",
        },
    ),
    "ground": (
        "Describe an image, with boxes after the phrases.",
        "detection",
        {
            "rewards": {"paper": {"lmgr": 1.0}, "robust": {"grounded_f1": 1.0}},
            "metrics": ("grounding", "detection", "format"),
            "primary_metric": "grounded_f1",
            "protocol": "earthdial/grounding",
            "max_answer_tokens": 2048,
        },
    ),
}
"""Kind of exchange -> summary, tag, and what its task has beside prompt and data set."""


@hookimpl
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """Declare one data set per kind; all read the same folders."""
    for kind, (summary, _, _) in KINDS.items():
        yield DatasetSpec(
            name=f"earthdial/{kind}",
            summary=f"Rows of EarthDial-Instruct. {summary}",
            splits=("train", "test"),
            load=f"geovlm_earthdial.data:load_{kind}",
            make_sample=f"geovlm_earthdial.sample:make_{kind}",
            folders=_FOLDERS,
            licence="terms of the sets that EarthDial-Instruct collects; some research only",
            homepage="https://huggingface.co/datasets/akshaydudhane/EarthDial-Dataset",
            citation="Soni et al., EarthDial: Turning Multi-sensory Earth Observations to "
            "Interactive Dialogues, CVPR 2025, arXiv 2412.15190",
            options=EarthDialOptions,
        )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """Declare one task per kind."""
    for kind, (summary, tag, rest) in KINDS.items():
        yield TaskSpec(
            name=f"earthdial/{kind}",
            summary=summary,
            dataset=f"earthdial/{kind}",
            prompt=f"geovlm_earthdial.tasks:{kind}",
            tags=frozenset({tag}),
            options=EarthDialTaskOptions,
            **rest,
        )
