"""GeoVLM plugin: NWPU VHR-10 as EarthDial asks about it, declarations only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from geovlm import hookimpl
from geovlm.api import Asked, DatasetSpec, TaskSpec, options

KINDS = (
    *("airplane", "ship", "storage tank", "baseball diamond", "tennis court"),
    *("basketball court", "ground track field", "harbor", "bridge", "vehicle"),
)
"""The classes, by their number from 1 on."""
COLOURS: dict[str, tuple[int, int, int]] = {
    "aqua": (0, 255, 255),
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "fuchsia": (255, 0, 255),
    "gray": (128, 128, 128),
    "green": (0, 128, 0),
    "lime": (0, 255, 0),
    "maroon": (128, 0, 0),
    "navy": (0, 0, 128),
    "olive": (128, 128, 0),
    "orange": (255, 165, 0),
    "purple": (128, 0, 128),
    "red": (255, 0, 0),
    "silver": (192, 192, 192),
    "teal": (0, 128, 128),
    "white": (255, 255, 255),
    "yellow": (255, 255, 0),
}
"""The 17 colours of CSS 2.1: name -> red, green, blue."""
SIZES = ("small", "medium", "large")
PLACES = (
    *("top left", "top", "top right", "left", "center", "right"),
    *("bottom left", "bottom", "bottom right"),
)


@options
class Vhr10Options:
    """Options of the data set."""

    annotations: Literal["text", "coco"] = "text"
    """`text`: the official files `ground truth/NNN.txt`. `coco`: `annotations.json` of the variant
    that torchgeo reads, whose boxes differ in 26 images."""
    rows: str = ""
    """Folder of EarthDial's rows, absolute or in the data set's. "": `earthdial` in the data set's
    folder, if it is there. Groups and colours are then EarthDial's; without rows they are
    rebuilt."""
    colours: Literal["nearest", "none"] = "nearest"
    """Colours without EarthDial's rows. `nearest`: the CSS 2.1 colour nearest to the mean of the
    pixels of the box. `none`: no colour is named, no pixel is read."""
    boxes: Literal["pixels", "percent"] = "pixels"
    """True boxes. `pixels`: as annotated. `percent`: cut off to whole percent, as in EarthDial's
    rows."""
    split_by: Literal["hash", "none"] = "hash"
    """`hash`: 60 % train, 10 % val, 30 % test of the images, by SHA-256 of the name. `none`: every
    image is test, as in the published tables."""


@options
class Vhr10TaskOptions:
    """Options of a task."""

    wording: Literal["earthdial", "plain"] = "earthdial"
    """`earthdial`: the published question, with its tokens and boxes in percent. `plain`: a clean
    sentence with boxes in the model's frame."""


@hookimpl
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """Declare the 650 images with objects."""
    yield DatasetSpec(
        name="vhr10",
        summary="650 aerial images of 0.08 to 2 m with 3,896 boxes of ten classes.",
        splits=("train", "val", "test"),
        load="geovlm_vhr10.data:load",
        make_sample="geovlm_vhr10.sample:make_sample",
        folders=(
            *("NWPU VHR-10 dataset", "NWPU_VHR-10_dataset", "NWPU VHR-10", "NWPU_VHR-10"),
            *("NWPU VHR-10_dataset_coco", "VHR-10", "vhr10"),
        ),
        licence="research purposes only",
        homepage="https://github.com/chaozhong2010/VHR-10_dataset_coco",
        citation="Cheng et al., Multi-class geospatial object detection and geographic image "
        "classification based on collection of part detectors, ISPRS JPRS 98, 2014, "
        "doi 10.1016/j.isprsjprs.2014.10.002; questions: Soni et al., EarthDial, CVPR 2025",
        size_gb=0.08,
        official="geovlm_vhr10.data:official",
        options=Vhr10Options,
    )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """Declare the three tasks."""
    yield TaskSpec(
        name="vhr10/refer",
        summary="Find the objects of a number, colour, size, class and place.",
        dataset="vhr10",
        samples="geovlm_vhr10.tasks:refer_samples",
        prompt="geovlm_vhr10.tasks:refer",
        asks=(Asked(name="phrase", summary="such as '2 white small ship at the top left'"),),
        blank="geovlm_vhr10.tasks:blank_refer",
        rewards={"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
        metrics=("detection", "format"),
        primary_metric="f1",
        protocol="earthdial/refer",
        max_answer_tokens=768,
        tags=frozenset({"detection"}),
        options=Vhr10TaskOptions,
    )
    yield TaskSpec(
        name="vhr10/region",
        summary="Describe the object in a box: colour, size, class, place.",
        dataset="vhr10",
        samples="geovlm_vhr10.tasks:region_samples",
        prompt="geovlm_vhr10.tasks:region",
        asks=(Asked(name="boxes", summary="the object to be described"),),
        blank="geovlm_vhr10.tasks:blank_region",
        rewards={"paper": {"hslr": 1.0}, "robust": {"caption_f1": 1.0}},
        metrics=("caption", "format"),
        primary_metric="caption_f1",
        protocol="earthdial/region_caption",
        max_answer_tokens=128,
        tags=frozenset({"caption", "region"}),
        options=Vhr10TaskOptions,
    )
    yield TaskSpec(
        name="vhr10/ground",
        summary="Describe the image group by group, with boxes after the phrases.",
        dataset="vhr10",
        samples="geovlm_vhr10.tasks:ground_samples",
        prompt="geovlm_vhr10.tasks:ground",
        blank="geovlm_vhr10.tasks:blank_ground",
        rewards={"paper": {"lmgr": 1.0}, "robust": {"grounded_f1": 1.0}},
        metrics=("grounding", "detection", "format"),
        primary_metric="grounded_f1",
        protocol="earthdial/grounding",
        max_answer_tokens=2048,
        tags=frozenset({"caption", "detection"}),
        options=Vhr10TaskOptions,
    )
