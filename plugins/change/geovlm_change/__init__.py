"""GeoVLM plugin: captions of changes (LEVIR-CC, Dubai-CC, SYSU, MUDS), declarations only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from geovlm import hookimpl
from geovlm.api import DatasetSpec, TaskSpec, options

SAME = "there is no difference"
"""The answer about a pair in which nothing changed, as LEVIR-CC writes it."""


@options
class LevirOptions:
    """Options of LEVIR-CC and LEVIR-MCI."""

    file: str = "LevirCCcaptions.json"
    """Name of the JSON file in the data set's folder."""


@options
class ChangeTaskOptions:
    """Options of a task."""

    wording: Literal["earthdial", "plain"] = "earthdial"
    """Wording of the question: EarthDial's with its task and sensor tokens, or a plain sentence."""


@hookimpl
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """Declare three sets of pairs and one of series of four images."""
    yield DatasetSpec(
        name="change/levir",
        summary="10,077 pairs of 256 px at 0.5 m, years apart, with five captions each.",
        splits=("train", "val", "test"),
        load="geovlm_change.data:load_levir",
        make_sample="geovlm_change.sample:make_levir",
        folders=(
            *("LEVIR-CC", "LEVIR_CC", "Levir-CC-dataset", "levir_cc"),
            *("Levir-MCI-dataset", "LEVIR-MCI", "LEVIR_MCI"),
        ),
        licence="none stated by the authors; academic use",
        homepage="https://github.com/Chen-Yang-Liu/LEVIR-CC-Dataset",
        citation="Liu et al., Remote Sensing Image Change Captioning With Dual-Branch "
        "Transformers, IEEE TGRS 2022; Liu et al., Change-Agent, IEEE TGRS 2024 (LEVIR-MCI)",
        official="geovlm_change.data:official_levir",
        options=LevirOptions,
    )
    yield DatasetSpec(
        name="change/dubai",
        summary="500 Landsat pairs of 50 px, 2000 and 2010, with five captions each.",
        splits=("train", "val", "test"),
        load="geovlm_change.data:load_dubai",
        make_sample="geovlm_change.sample:make_dubai",
        folders=("datasetDubaiCCPublic", "Dubai_CC", "Dubai-CC", "DubaiCC"),
        licence="none stated by the authors; academic use",
        homepage="https://github.com/ShizhenChang/Chg2Cap",
        citation="Hoxha et al., Change Captioning: A New Paradigm for Multitemporal Remote Sensing "
        "Image Analysis, IEEE TGRS 2022, doi 10.1109/TGRS.2022.3195692",
        official="geovlm_change.data:official_dubai",
    )
    yield DatasetSpec(
        name="change/sysu",
        summary="3,774 changed pairs of SYSU-CD, 256 px, with one caption by CDChat each.",
        splits=("test",),
        load="geovlm_change.data:load_sysu",
        make_sample="geovlm_change.sample:make_sysu",
        folders=("SYSU-CD", "SYSU_CD", "SYSU_CC", "SYSU"),
        licence="none stated by the authors; academic use",
        homepage="https://github.com/techmn/cdchat",
        citation="Noman et al., CDChat: A Large Multimodal Model for Remote Sensing Change "
        "Description, 2024, arXiv 2409.16261; Shi et al., doi 10.1109/TGRS.2021.3085870 (images)",
        official="geovlm_change.data:official_sysu",
    )
    yield DatasetSpec(
        name="change/muds",
        summary="Series of four SpaceNet 7 images with five captions each, as EarthDial saved it.",
        splits=("train", "test"),
        load="geovlm_change.muds:load",
        make_sample="geovlm_change.sample:make_muds",
        folders=("MUDS", "muds"),
        licence="images CC-BY-SA-4.0 (SpaceNet 7); captions: terms of EarthDial-Instruct",
        homepage="https://huggingface.co/datasets/akshaydudhane/EarthDial-Dataset",
        citation="Soni et al., EarthDial, CVPR 2025; Van Etten et al., The Multi-Temporal Urban "
        "Development SpaceNet Dataset, CVPR 2021, arXiv 2102.04420",
    )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """Declare one task per data set."""
    for name, title, min_pixels in (
        ("levir", "LEVIR-CC", 0),
        ("dubai", "Dubai-CC", 448 * 448),  # 256 visual tokens; a tile of 50 px would have 4
        ("sysu", "SYSU", 0),
        ("muds", "MUDS", 0),
    ):
        pair = name != "muds"
        yield TaskSpec(
            name=f"change/{name}",
            summary=f"State what changed between {'two' if pair else 'four'} images, or that "
            f"nothing did ({title}).",
            dataset=f"change/{name}",
            prompt=f"geovlm_change.tasks:{name}_prompt",
            rewards={"paper": {"hslr": 1.0}, "robust": {"change_f1": 1.0}},
            metrics=("change", "format"),
            primary_metric="rougeL/halves",
            protocol="earthdial/caption",
            max_answer_tokens=160,
            min_pixels=min_pixels,
            unchanged=SAME if pair else "",
            blank="geovlm_change.tasks:blank" if pair else None,
            tags=frozenset({"captioning", "bitemporal" if pair else "temporal"}),
            options=ChangeTaskOptions,
        )
