"""GEOBench-VLM in the form that its authors' code reads; rows are made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from geovlm_exams import TemporalOptions, WordingOptions, tasks
from geovlm_exams.geobench import spread
from PIL import Image

from geovlm.errors import DataError, DatasetNotFoundError

ROW = {
    "image_path": "Single/images/1.png",
    "ground_truth": "Lake",
    "ground_truth_option": "B",
    "options_list": ["Airport", "Lake", "Lake shore"],
    "options": "A. Airport   B. Lake   C. Lake shore",
    "prompts": ["What is shown?", "Which scene is it?"],
    "task": "Scene Classification",
    "question_id": 7,
    "cls_description": "Scenes of land.",
}


@pytest.fixture
def qa(tmp_path: Path) -> Callable[..., Path]:
    """Write rows of a part, with every image that they name."""

    def write(part: str, *rows: dict[str, Any]) -> Path:
        (tmp_path / part).mkdir()
        (tmp_path / part / "qa.json").write_text(json.dumps(rows), encoding="utf-8")
        for row in rows:
            named = row["image_path"]
            for name in named if isinstance(named, list) else [named]:
                (tmp_path / name).parent.mkdir(exist_ok=True)
                Image.new("RGB", (40, 30)).save(tmp_path / name)
        return tmp_path

    return write


def test_each_phrasing_is_asked_in_the_authors_words(qa, read, ask) -> None:
    (record,), _ = read("exams/geobench_single", qa("Single", ROW))
    first, second = tasks.geobench_samples(record)
    assert ask("exams/geobench_single", first).question == (
        "For the given the Multiple Choice Question Answer below, analyze the question and answer "
        "strictly from one of the options below. Strictly answer the choice only. No additional "
        "text. Provide only the letter (A., B., C., D. or E.) corresponding to the correct answer "
        "for the multiple-choice question given. Scenes of land.\nWhat is shown?\nOptions: "
        "A. Airport   B. Lake   C. Lake shore"
    )
    assert (
        "\nWhich scene is it?\nOptions: A. Airport" in ask("exams/geobench_single", second).question
    )
    assert (first.target["phrasings"], first.target["answer"]) == (2, "B")
    assert first.id != second.id
    plain = ask("exams/geobench_single", first, WordingOptions(wording="plain")).question
    assert plain.startswith("What is shown?\nA. Airport\nB. Lake\n")


def test_of_a_series_the_ends_are_shown_or_all(qa, read, ask) -> None:
    paths = [f"Temporal/images/{name}.png" for name in ("a", "b", "c")]
    root = qa("Temporal", ROW | {"image_path": paths})
    (ends,), _ = read("exams/geobench_temporal", root)
    (whole,), _ = read("exams/geobench_temporal", root, own=TemporalOptions(images="all"))
    assert [path.name for path in ends.images] == ["a.png", "c.png"]
    assert len(whole.images) == 3
    (first, _) = tasks.geobench_samples(ends)
    assert ask("exams/geobench_temporal", first).question.startswith(
        "The following images show the condition before and after the event.\nFor the given the "
    )


def test_polygons_become_boxes(qa, read, ask) -> None:
    polygons = [[[1, 2], [9, 4], [5, 12]], [[20, 20], [30, 20], [30, 25], [20, 25]]]
    row = {key: ROW[key] for key in ("prompts", "task", "question_id")}
    root = qa("Ref-Det", row | {"image_path": "Ref-Det/images/1.png", "ground_truth": polygons})
    (record,), _ = read("exams/geobench_refdet", root)
    assert record.target["boxes"] == [[1, 2, 9, 12], [20, 20, 30, 25]]
    assert len(list(tasks.geobench_samples(record))) == 2


def test_withdrawn_images_are_counted(qa, read) -> None:
    root = qa("Single", ROW, ROW | {"image_path": "Single/images/2.png"})
    (root / "Single/images/2.png").unlink()
    samples, skipped = read("exams/geobench_single", root)
    assert (len(samples), skipped) == (1, {"image missing": 1})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"options": "A. Airport  B. Sea  C. Lake shore"}, "does not hold 'Lake' behind 'B'"),
        ({"options": "A. Airport B. Lake C. Lake shore D. Sea"}, "ends with ' D. Sea'"),
        ({"options_list": ["Airport"]}, "'options_list' is not a list of choices"),
        ({"ground_truth_option": "D"}, "'D' is no letter of the choices"),
        ({"ground_truth_option": "A"}, "'A' is not the letter of 'ground_truth' 'Lake'"),
        ({"prompts": "What?"}, "'prompts' is not a list of questions"),
        ({"task": None}, "has no text 'task'"),
    ],
)
def test_a_row_of_another_form_is_refused_by_name(qa, read, change, words: str) -> None:
    root = qa("Single", ROW, ROW | change)
    with pytest.raises(DataError, match=rf"row 1 of .*Single/qa.json.*{words}"):
        read("exams/geobench_single", root)


def test_polygons_of_another_form_are_refused(qa, read) -> None:
    row = {key: ROW[key] for key in ("prompts", "task", "question_id")}
    root = qa(
        "Ref-Det", row | {"image_path": "Ref-Det/images/1.png", "ground_truth": [[1, 2, 3, 4]]}
    )
    with pytest.raises(DataError, match=r"row 0 of .*not a list of polygons"):
        read("exams/geobench_refdet", root)


def test_the_archive_that_is_not_unpacked_is_named(tmp_path: Path, read) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"unpack Temporal\.zip"):
        read("exams/geobench_temporal", tmp_path)


@pytest.mark.parametrize(
    "options", ["A. 2 B. 3 C. 23", "(A) 2\n(B) 3\n(C) 23", "A) 2, B) 3, C) 23"]
)
def test_a_line_of_options_keeps_every_character(options: str) -> None:
    with_commas = "," in options
    texts = ["2", "3", "23"]
    if with_commas:
        texts = ["2,", "3,", "23"]
    parts = spread(options, texts)
    assert "".join(a + b for a, b in zip(parts, [*texts, ""], strict=True)) == options
