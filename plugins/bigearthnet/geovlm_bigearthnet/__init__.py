"""GeoVLM plugin: multi-label land cover on BigEarthNet v1 and v2 (reBEN), declarations only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from geovlm import hookimpl
from geovlm.api import Asked, DatasetSpec, TaskSpec, options

Band = Literal[
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"
]  # the twelve of Sentinel-2 level 2A; there is no B10
View = Literal["bands", "true_colour", "infrared", "swir", "ndvi", "ndwi"]


@options
class BigEarthNetOptions:
    """Options of BigEarthNet."""

    classes: Literal[19, 43] = 19
    """Size of the vocabulary; 43 (CORINE level 3) exists in v1 only."""
    bands: tuple[Band, Band, Band] = ("B04", "B03", "B02")
    """Bands shown as red, green and blue in the view `bands`; the first one sets the size."""
    views: tuple[View, ...] = ("bands",)
    """Images of one patch, in this order: `bands`; `true_colour` (B04 B03 B02); `infrared` (B08 B04
    B03); `swir` (B12 B8A B04, 20 m); `ndvi` and `ndwi`, grey from -1 to 1. The question explains
    each image."""
    low: float = 0.0
    """Stored value (reflectance x 10,000) shown as 0."""
    high: float = 2000.0
    """Stored value shown as 255; 2000 as torchgeo plots it. The views `infrared` and `swir` show
    B08 and B8A up to 5000 and B12 up to 4000 instead."""
    split_by: Literal["csv", "hash"] = "csv"
    """v1: split by `{train,val,test}.csv`, or 70/15/15 by the order of the names' SHA-256."""
    splits: str = ""
    """v1: folder of the split files, absolute or in the data set's. "": the data set's folder."""
    drop_snow_cloud: bool = True
    """Leave out patches with snow, cloud or shadow: v1 by `patches_with_*.csv` if they lie
    next to the split files, v2 by the flags of `metadata.parquet`."""
    check_files: bool = False
    """Look for the band files of the views of every patch, and leave out a patch if one is absent;
    slow on a network drive."""


@hookimpl
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """Declare BigEarthNet."""
    yield DatasetSpec(
        name="bigearthnet",
        summary="Sentinel-2 patches of 1.2 km over Europe with their land-cover classes.",
        splits=("train", "val", "test"),
        load="geovlm_bigearthnet.data:load",
        make_sample="geovlm_bigearthnet.sample:make_sample",
        folders=(
            "BigEarthNet_v2",
            "BigEarthNet-v2.0",
            "reBEN",
            "BigEarthNet",
            "BigEarthNet_v1",
            "BigEarthNet-v1.0",
        ),
        licence="CDLA-Permissive-1.0",
        homepage="https://bigearth.net",
        citation=(
            "Sumbul et al., BigEarthNet, IGARSS 2019, arXiv:1902.06148; "
            "Clasen et al., reBEN, IGARSS 2025, arXiv:2407.03653"
        ),
        size_gb=66.0,
        official="geovlm_bigearthnet.data:official",
        options=BigEarthNetOptions,
    )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """Declare the task."""
    yield TaskSpec(
        name="bigearthnet",
        summary="Name every land-cover class of the patch.",
        dataset="bigearthnet",
        prompt="geovlm_bigearthnet.tasks:prompt",
        asks=(
            Asked(
                name="classes",
                summary="size of the vocabulary, as the model was trained",
                choices=("19", "43"),
                default="19",
            ),
        ),
        blank="geovlm_bigearthnet.tasks:blank",
        rewards={"paper": {"recall": 1.0}, "robust": {"label_f1": 1.0}},
        metrics=("labels", "format"),
        primary_metric="micro_f1",
        protocol="earthdial/classify",
        max_answer_tokens=256,
        min_pixels=448 * 448,  # 256 visual tokens of 28 px; a patch of 120 px would have 16
        tags=frozenset({"classification", "multi-label"}),
    )
