"""GeoVLM plugin: benchmarks of vision-language models, declarations only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from geovlm import hookimpl
from geovlm.api import Asked, DatasetSpec, TaskSpec, options

CHOICES = Asked(name="choices", summary="the choices, with | between them")
QUESTION = Asked(name="question", summary="such as 'What is left of the road?'")


@options
class WordingOptions:
    """Options of a task."""

    wording: Literal["official", "plain"] = "official"
    """Wording of the question: that of the benchmark's own code, or the bare question with its
    choices one per line and a short request."""


@options
class TemporalOptions:
    """Options of the temporal part of GEOBench-VLM."""

    images: Literal["ends", "all"] = "ends"
    """Images of a series: the first and the last, as the authors' code sends them, or all."""


@options
class XlrsOptions:
    """Options of XLRS-Bench-lite."""

    windows: int = 0
    """Number n of n x n windows that follow each image in the prompt, each seen within the model's
    largest area. 0: the image alone."""


_GEOBENCH_CITATION = (
    "Danish et al., GEOBench-VLM: Benchmarking Vision-Language Models for Geospatial Tasks, ICCV "
    "2025, arXiv 2411.19325"
)
_GEOBENCH_FOLDERS = ("GEOBench-VLM", "GEO-Bench-VLM", "geobench_vlm")
_GEOBENCH_LICENCE = "that of each source; see the card of the data set"
_VRSBENCH_CITATION = (
    "Li et al., VRSBench: A Versatile Vision-Language Benchmark Dataset for Remote Sensing Image "
    "Understanding, NeurIPS 2024 Datasets and Benchmarks, arXiv 2406.12384"
)


@hookimpl
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """Declare the benchmarks."""
    yield DatasetSpec(
        name="exams/choice",
        summary="CHOICE: 10,507 problems of 23 kinds about new images of 50 cities.",
        splits=("train", "test"),
        load="geovlm_exams.choice:load",
        make_sample="geovlm_exams.sample:make_choice",
        folders=("CHOICE", "CHOICE_subset", "choice"),
        licence="Apache-2.0 (repository); images under the terms of their providers",
        homepage="https://huggingface.co/datasets/An-Xiao/CHOICE",
        citation="An et al., CHOICE: Benchmarking the Remote Sensing Capabilities of Large "
        "Vision-Language Models, NeurIPS 2025 Datasets and Benchmarks, arXiv 2411.18145",
        size_gb=6.07,
        official="geovlm_exams.choice:official",
    )
    for part, summary in (
        ("single", "3,211 questions with five choices about one image each, in several phrasings."),
        ("temporal", "Questions with choices about images before and after an event."),
        ("refdet", "Referring sentences with polygons of the objects."),
    ):
        yield DatasetSpec(
            name=f"exams/geobench_{part}",
            summary=f"GEOBench-VLM: {summary}",
            splits=("train", "test"),
            load=f"geovlm_exams.geobench:load_{part}",
            make_sample=f"geovlm_exams.sample:make_{part}",
            folders=_GEOBENCH_FOLDERS,
            licence=_GEOBENCH_LICENCE,
            homepage="https://huggingface.co/datasets/aialliance/GEOBench-VLM",
            citation=_GEOBENCH_CITATION,
            official="geovlm_exams.geobench:official_single" if part == "single" else None,
            options=TemporalOptions if part == "temporal" else None,
        )
    yield DatasetSpec(
        name="exams/xlrs",
        summary="XLRS-Bench-lite: questions with choices about images of up to 10,000 px a side.",
        splits=("train", "test"),
        load="geovlm_exams.xlrs:load",
        make_sample="geovlm_exams.sample:make_xlrs",
        folders=("XLRS-Bench-lite", "XLRS-Bench", "xlrs"),
        licence="CC-BY-NC-SA-4.0; images under the terms of their sources",
        homepage="https://huggingface.co/datasets/initiacms/XLRS-Bench-lite",
        citation="Wang et al., XLRS-Bench: Could Your Multimodal LLMs Understand Extremely Large "
        "Ultra-High-Resolution Remote Sensing Imagery?, CVPR 2025, arXiv 2503.23771",
        options=XlrsOptions,
    )
    for part, summary in (
        ("vqa", "123,221 questions with short answers"),
        ("refer", "52,472 referring sentences with boxes"),
        ("caption", "29,614 detailed captions"),
    ):
        yield DatasetSpec(
            name=f"exams/vrsbench_{part}",
            summary=f"VRSBench: {summary} about aerial images of 512 px.",
            splits=("train", "test"),
            load=f"geovlm_exams.vrsbench:load_{part}",
            make_sample="geovlm_exams.sample:make_vrsbench",
            folders=("VRSBench", "vrsbench"),
            licence="CC-BY-4.0 (text); images of DOTA and DIOR: academic use",
            homepage="https://huggingface.co/datasets/xiang709/VRSBench",
            citation=_VRSBENCH_CITATION,
            size_gb=12.4,
            official=f"geovlm_exams.vrsbench:official_{part}",
        )


@hookimpl
def geovlm_tasks() -> Iterable[TaskSpec]:
    """Declare the tasks of each benchmark."""
    yield TaskSpec(
        name="exams/choice",
        summary="Choose one of three or four answers: 21 kinds of question (CHOICE).",
        dataset="exams/choice",
        prompt="geovlm_exams.tasks:choice_prompt",
        samples="geovlm_exams.tasks:closed",
        rewards={"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}},
        metrics=("accuracy", "format"),
        primary_metric="accuracy/mean_type",
        protocol="choice",
        max_answer_tokens=128,
        asks=(QUESTION, CHOICES),
        blank="geovlm_exams.tasks:blank",
        tags=frozenset({"multiple_choice", "vqa"}),
        options=WordingOptions,
    )
    yield TaskSpec(
        name="exams/choice_ground",
        summary="Give the box of the one object that is named (CHOICE, visual grounding).",
        dataset="exams/choice",
        prompt="geovlm_exams.tasks:ground_prompt",
        samples="geovlm_exams.tasks:grounded",
        rewards={"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
        metrics=("detection", "format"),
        primary_metric="f1",
        max_answer_tokens=160,
        asks=(QUESTION,),
        blank="geovlm_exams.tasks:ground_blank",
        tags=frozenset({"detection"}),
    )
    for part, title in (("single", "one image"), ("temporal", "images before and after")):
        yield TaskSpec(
            name=f"exams/geobench_{part}",
            summary=f"Choose one of five answers about {title}; phrasings averaged (GEOBench-VLM).",
            dataset=f"exams/geobench_{part}",
            prompt="geovlm_exams.tasks:geobench_prompt",
            samples="geovlm_exams.tasks:geobench_samples",
            rewards={"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}},
            metrics=("accuracy", "format"),
            primary_metric="accuracy",
            protocol="geobench_vlm",
            max_answer_tokens=128,
            asks=(QUESTION, CHOICES) if part == "single" else (),
            blank="geovlm_exams.tasks:blank" if part == "single" else None,
            tags=frozenset({"multiple_choice", "vqa", *(["temporal"] if part != "single" else [])}),
            options=WordingOptions,
        )
    yield TaskSpec(
        name="exams/geobench_refdet",
        summary="Give the boxes of the objects that a sentence describes (GEOBench-VLM).",
        dataset="exams/geobench_refdet",
        prompt="geovlm_exams.tasks:ground_prompt",
        samples="geovlm_exams.tasks:geobench_samples",
        rewards={"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
        metrics=("detection", "format"),
        primary_metric="precision",
        max_answer_tokens=160,
        asks=(QUESTION,),
        blank="geovlm_exams.tasks:ground_blank",
        tags=frozenset({"detection"}),
    )
    yield TaskSpec(
        name="exams/xlrs",
        summary="Choose the right answers about a huge image (XLRS-Bench-lite).",
        dataset="exams/xlrs",
        prompt="geovlm_exams.tasks:xlrs_prompt",
        rewards={"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}},
        metrics=("accuracy", "format"),
        primary_metric="accuracy/mean_type",
        protocol="xlrs",
        max_answer_tokens=128,
        asks=(QUESTION, CHOICES),
        blank="geovlm_exams.tasks:blank",
        tags=frozenset({"multiple_choice", "vqa"}),
        options=WordingOptions,
    )
    yield TaskSpec(
        name="exams/vrsbench_vqa",
        summary="Answer a question about an aerial image in a few words (VRSBench).",
        dataset="exams/vrsbench_vqa",
        prompt="geovlm_exams.tasks:vqa_prompt",
        rewards={"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}},
        metrics=("accuracy", "format"),
        primary_metric="accuracy",
        protocol="vrsbench/vqa",
        max_answer_tokens=128,
        asks=(QUESTION,),
        blank="geovlm_exams.tasks:answer_blank",
        tags=frozenset({"vqa"}),
    )
    yield TaskSpec(
        name="exams/vrsbench_refer",
        summary="Give the box of the object that a sentence describes (VRSBench).",
        dataset="exams/vrsbench_refer",
        prompt="geovlm_exams.tasks:refer_prompt",
        rewards={"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
        metrics=("detection", "format"),
        primary_metric="mean_iou",
        protocol="vrsbench/refer",
        max_answer_tokens=128,
        asks=(QUESTION,),
        blank="geovlm_exams.tasks:ground_blank",
        tags=frozenset({"detection"}),
    )
    yield TaskSpec(
        name="exams/vrsbench_caption",
        summary="Describe an aerial image in detail, in three to seven sentences (VRSBench).",
        dataset="exams/vrsbench_caption",
        prompt="geovlm_exams.tasks:caption_prompt",
        rewards={"paper": {"levenshtein": 1.0}, "robust": {"caption_f1": 1.0}},
        metrics=("caption", "format"),
        primary_metric="rougeL",
        protocol="vrsbench/caption",
        max_answer_tokens=320,
        blank="geovlm_exams.tasks:caption_blank",
        tags=frozenset({"captioning"}),
    )
