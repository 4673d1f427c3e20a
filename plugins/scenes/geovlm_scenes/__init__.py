"""GeoVLM plugin: scene classification on seven collections, declarations only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from geovlm import hookimpl
from geovlm.api import DatasetSpec, TaskSpec, options

BANDS = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08"),
    *("B09", "B10", "B11", "B12", "B8A"),
)
"""Bands of a EuroSAT TIFF, in the order of the file."""
Band = Literal[
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"
]
View = Literal["bands", "true_colour", "infrared", "swir", "ndvi", "ndwi"]


@options
class SceneOptions:
    """Options of a set of scenes."""

    split_by: Literal["hash", "lists", "none"] = "hash"
    """`hash`: 60 % train, 10 % val, 30 % test of every class, by SHA-256 of folder and name.
    `lists`: by files whose names end with `train`, `val` and `test` and `.csv` or `.txt`. `none`:
    every image is test."""
    splits: str = ""
    """Folder of the lists, absolute or in the data set's; "": the data set's folder."""


@options
class EuroSatMsOptions(SceneOptions):
    """Options of EuroSAT with 13 bands."""

    bands: tuple[Band, Band, Band] = ("B04", "B03", "B02")
    """Bands shown as red, green and blue in the view `bands`."""
    views: tuple[View, ...] = ("bands",)
    """Images of one tile, in this order: `bands`; `true_colour` (B04 B03 B02); `infrared` (B08 B04
    B03); `swir` (B12 B8A B04); `ndvi` and `ndwi`, grey from -1 to 1. The question explains each
    image."""
    low: float = 0.0
    """Stored value (top-of-atmosphere reflectance x 10,000) shown as 0."""
    high: float = 3000.0
    """Stored value shown as 255. The views `infrared` and `swir` show B08 and B8A up to 5000 and
    B12 up to 4000 instead."""


@options
class EarthDialOptions:
    """Options of a task whose question EarthDial has published."""

    wording: Literal["earthdial", "plain"] = "earthdial"
    """`earthdial`: the published question, with its sensor token, blanks and literal `\\n`.
    `plain`: the same classes in a clean sentence."""


@options
class ShuffledOptions(EarthDialOptions):
    """Options of UC Merced, whose classes stand in another order in every published question."""

    seed: int = 0
    """Seed of the order of the classes, which follows from it and the sample."""


class _Declared(NamedTuple):
    """Declarations of one set."""

    name: str
    title: str
    summary: str
    folders: tuple[str, ...]
    licence: str
    homepage: str
    citation: str
    size_gb: float
    options: type = SceneOptions
    task: tuple[tuple[str, Any], ...] = ()
    """Fields of its task that differ from those of the others."""


_RESEARCH = "none stated by the authors; research use"
_HELBER = "Helber et al., EuroSAT, IEEE JSTARS 2019, doi 10.1109/JSTARS.2019.2918242"
_SMALL = (("min_pixels", 448 * 448),)  # 256 visual tokens of 28 px; a tile of 64 px would have 4

_SETS = (
    _Declared(
        "aid",
        "AID",
        "10,000 aerial images of 600 px in 30 classes.",
        ("AID", "aid", "AID_dataset"),
        "research use",
        "https://captain-whu.github.io/AID/",
        "Xia et al., AID: A Benchmark Dataset for Performance Evaluation of Aerial Scene "
        "Classification, IEEE TGRS 2017, arXiv:1608.05167",
        2.6,
        task=(("options", EarthDialOptions),),
    ),
    _Declared(
        "ucm",
        "UC Merced",
        "2,100 aerial images of 256 px in 21 classes of land use.",
        ("UCMerced_LandUse", "UCMerced", "ucmerced"),
        "public domain (USGS)",
        "http://weegee.vision.ucmerced.edu/datasets/landuse.html",
        "Yang and Newsam, Bag-of-Visual-Words and Spatial Extensions for Land-Use Classification, "
        "ACM SIGSPATIAL 2010, doi 10.1145/1869790.1869829",
        0.4,
        task=(("options", ShuffledOptions),),
    ),
    _Declared(
        "whu_rs19",
        "WHU-RS19",
        "1,005 satellite images of 600 px in 19 classes.",
        ("WHU-RS19", "WHU_RS19", "whu-rs19"),
        _RESEARCH,
        "https://captain-whu.github.io/BED4RS/",
        "Xia et al., Structural High-Resolution Satellite Image Indexing, ISPRS TC VII 2010; Dai "
        "and Yang, Satellite Image Classification via Two-Layer Sparse Coding, IEEE GRSL 2011",
        0.1,
        task=(("options", EarthDialOptions),),
    ),
    _Declared(
        "resisc45",
        "NWPU-RESISC45",
        "31,500 aerial images of 256 px in 45 classes.",
        ("NWPU-RESISC45", "NWPU_RESISC45", "RESISC45", "resisc45"),
        "research use",
        "https://gcheng-nwpu.github.io/",
        "Cheng et al., Remote Sensing Image Scene Classification: Benchmark and State of the Art, "
        "Proceedings of the IEEE 2017, doi 10.1109/JPROC.2017.2675998",
        0.4,
    ),
    _Declared(
        "eurosat",
        "EuroSAT",
        "27,000 Sentinel-2 tiles of 64 px in true colour, in ten classes of land use.",
        ("EuroSAT", "EuroSAT_RGB", "eurosat", "2750"),
        "MIT",
        "https://github.com/phelber/EuroSAT",
        _HELBER,
        0.1,
        task=_SMALL,
    ),
    _Declared(
        "eurosat_ms",
        "EuroSAT with 13 bands",
        "27,000 Sentinel-2 tiles of 64 px with 13 bands, in ten classes of land use.",
        ("EuroSAT_MS", "EuroSATallBands", "EuroSAT"),
        "MIT",
        "https://github.com/phelber/EuroSAT",
        _HELBER,
        2.8,
        options=EuroSatMsOptions,
        task=_SMALL,
    ),
    _Declared(
        "patternnet",
        "PatternNet",
        "30,400 aerial images of 256 px in 38 classes.",
        ("PatternNet", "patternnet"),
        _RESEARCH,
        "https://sites.google.com/view/zhouwx/dataset",
        "Zhou et al., PatternNet, ISPRS Journal 2018, doi 10.1016/j.isprsjprs.2018.01.004",
        1.4,
    ),
    _Declared(
        "rsi_cb256",
        "RSI-CB256",
        "24,747 satellite images of 256 px in 35 classes.",
        ("RSI-CB256", "RSI_CB256", "rsi-cb256"),
        _RESEARCH,
        "https://github.com/lehaifeng/RSI-CB",
        "Li et al., RSI-CB: A Large-Scale Remote Sensing Image Classification Benchmark Using "
        "Crowdsourced Data, Sensors 2020, doi 10.3390/s20061594",
        4.9,
    ),
)


@hookimpl
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """Declare the sets, EuroSAT in two forms."""
    for each in _SETS:
        yield DatasetSpec(
            name=f"scenes/{each.name}",
            summary=each.summary,
            splits=("train", "val", "test"),
            load=f"geovlm_scenes.data:load_{each.name}",
            make_sample=f"geovlm_scenes.sample:make_{each.name}",
            folders=each.folders,
            licence=each.licence,
            homepage=each.homepage,
            citation=each.citation,
            size_gb=each.size_gb,
            official=f"geovlm_scenes.data:official_{each.name}",
            options=each.options,
        )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """Declare one task per set."""
    for each in _SETS:
        yield TaskSpec(
            name=f"scenes/{each.name}",
            summary=f"Name the class of the scene, out of a list ({each.title}).",
            dataset=f"scenes/{each.name}",
            prompt=f"geovlm_scenes.tasks:prompt_{each.name}",
            blank=f"geovlm_scenes.tasks:blank_{each.name}",
            rewards={"paper": {"recall": 1.0}, "robust": {"exact": 1.0}},
            metrics=("accuracy", "format"),
            primary_metric="accuracy",
            protocol="earthdial/classify",
            max_answer_tokens=128,
            tags=frozenset({"classification"}),
            **dict(each.task),
        )
