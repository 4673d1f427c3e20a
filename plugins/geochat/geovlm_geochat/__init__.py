"""GeoVLM plugin: GeoChat-Instruct and GeoChat-Bench, declarations only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from geovlm import hookimpl
from geovlm.api import Asked, DatasetSpec, TaskSpec, options


@options
class GeoChatOptions:
    """Options of GeoChat."""

    images: str = ""
    """Folder of the images, absolute or in the data set's folder. "": those of the release."""
    boxes: Literal["hull", "drop_angle", "rotated"] = "hull"
    """Form of rotated boxes: `hull`, the axis-aligned box around them; `drop_angle`, the four
    numbers as written; `rotated`, five numbers with an angle."""
    sense: Literal["cw", "ccw"] = "cw"
    """Direction in which theta turns on the screen; it matters for `boxes = "rotated"` only."""
    held_out: Literal["auto", "bench", "hash"] = "auto"
    """Source of the split `test`: `bench`, `hash` (a part of Instruct), or `auto`, GeoChat-Bench if
    it is there. Kinds for which Bench has no truth always come from Instruct."""


@hookimpl
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """Declare GeoChat."""
    yield DatasetSpec(
        name="geochat",
        summary="GeoChat-Instruct (306k exchanges on aerial images), tested on GeoChat-Bench.",
        splits=("train", "val", "test"),
        load="geovlm_geochat.data:load",
        make_sample="geovlm_geochat.sample:make_sample",
        folders=("GeoChat_Instruct", "GeoChat", "geochat"),
        licence="none of its own found; images under those of their sources, some research only",
        homepage="https://github.com/mbzuai-oryx/GeoChat",
        citation=(
            "Kuckreja et al., GeoChat: Grounded Large Vision-Language Model for Remote Sensing, "
            "CVPR 2024, arXiv:2311.15826"
        ),
        options=GeoChatOptions,
    )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """Declare the five tasks."""
    yield TaskSpec(
        name="geochat/classify",
        summary="Name the scene, out of the classes listed in the question.",
        dataset="geochat",
        prompt="geovlm_geochat.tasks:classify",
        samples="geovlm_geochat.tasks:classify_samples",
        asks=(Asked(name="classes", summary="names of the scenes, with commas between"),),
        blank="geovlm_geochat.blanks:classify",
        rewards={"paper": {"recall": 1.0}, "robust": {"exact": 1.0}},
        metrics=("accuracy", "labels"),
        primary_metric="accuracy",
        protocol="earthdial/classify",
        max_answer_tokens=128,
        tags=frozenset({"classification"}),
    )
    yield TaskSpec(
        name="geochat/vqa",
        summary="Answer a question with a word or a phrase.",
        dataset="geochat",
        prompt="geovlm_geochat.tasks:vqa",
        samples="geovlm_geochat.tasks:vqa_samples",
        asks=(Asked(name="question", summary="such as 'How many ships are in the image?'"),),
        blank="geovlm_geochat.blanks:vqa",
        rewards={"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}},
        metrics=("accuracy",),
        primary_metric="accuracy",
        protocol="earthdial/vqa",
        max_answer_tokens=128,
        tags=frozenset({"vqa"}),
    )
    yield TaskSpec(
        name="geochat/caption",
        summary="Describe what is inside a box: count, kind, colour, size, place.",
        dataset="geochat",
        prompt="geovlm_geochat.tasks:caption",
        samples="geovlm_geochat.tasks:caption_samples",
        asks=(Asked(name="boxes", summary="what is to be described"),),
        blank="geovlm_geochat.blanks:caption",
        rewards={"paper": {"hslr": 1.0}, "robust": {"caption_f1": 1.0}},
        metrics=("caption",),
        primary_metric="caption_f1",
        protocol="earthdial/region_caption",
        max_answer_tokens=128,
        tags=frozenset({"caption", "region"}),
    )
    yield TaskSpec(
        name="geochat/refer",
        summary="Find the objects that a phrase means.",
        dataset="geochat",
        prompt="geovlm_geochat.tasks:refer",
        samples="geovlm_geochat.tasks:refer_samples",
        asks=(Asked(name="phrase", summary="such as '2 white ships'"),),
        blank="geovlm_geochat.blanks:refer",
        rewards={"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
        metrics=("detection",),
        primary_metric="f1",
        protocol="earthdial/refer",
        max_answer_tokens=256,
        tags=frozenset({"detection"}),
    )
    yield TaskSpec(
        name="geochat/ground",
        summary="Describe the image, with boxes after the phrases.",
        dataset="geochat",
        prompt="geovlm_geochat.tasks:ground",
        samples="geovlm_geochat.tasks:ground_samples",
        blank="geovlm_geochat.blanks:ground",
        rewards={"paper": {"lmgr": 1.0}, "robust": {"grounded_f1": 1.0}},
        metrics=("grounding", "detection"),
        primary_metric="grounded_f1",
        protocol="earthdial/grounding",
        max_answer_tokens=384,
        tags=frozenset({"caption", "detection"}),
    )
