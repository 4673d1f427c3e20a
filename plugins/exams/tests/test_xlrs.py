"""XLRS-Bench-lite in the form that lmms-eval reads; rows are made up."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from geovlm_exams import XlrsOptions
from PIL import Image

from geovlm.errors import DataError
from geovlm.raster import open_image

ROW = {
    "index": "12",
    "question": "How many ships are there?\n",
    "multi-choice options": ["(A) two", "(B) three", "(C) four ", "(D) five"],
    "answer": "B",
    "category": "Counting/Overall counting",
    "l2-category": "Counting",
}
SEVERAL = ROW | {
    "question": "Which land use is there?",
    "answer": "ACD",
    "category": "Land use classification/Overall Land use classification",
}


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as a Parquet file, each with a picture of 60 x 40 px in four colours."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, 30:], pixels[20:, :30], pixels[20:, 30:] = 80, 160, 240
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    picture = {"bytes": file.getvalue(), "path": "1.png"}

    def write(*rows: dict[str, Any]) -> Path:
        table = pa.Table.from_pylist([{**row, "image": [picture]} for row in rows])
        pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
        return tmp_path

    return write


def test_one_letter_is_asked_for_in_the_published_words(parquet, read, ask) -> None:
    (sample,), _ = read("exams/xlrs", parquet(ROW))
    assert ask("exams/xlrs", sample).question == (
        "How many ships are there?\nThe choices are listed below:\n(A) two\n(B) three\n(C) four \n"
        "(D) five\n\nSelect the best answer for the multiple-choice question based on the image. "
        "Only respond with the letter corresponding to the correct answer (A, B, C, D).\n"
        "The answer is:"
    )
    assert sample.target["type"] == "Counting/Overall counting"


def test_several_letters_are_asked_for_in_the_published_words(parquet, read, ask) -> None:
    (sample,), _ = read("exams/xlrs", parquet(SEVERAL))
    made = ask("exams/xlrs", sample)
    assert made.question == (
        "Which land use is there?The choices are listed below:\n(A) two\n(B) three\n(C) four \n"
        "(D) five\n\nSelect the best answer(s) for the multiple-choice question based on the "
        "image. There may be more than one correct option. Only respond with the letter(s) "
        "corresponding to the correct answer(s) (A, B, C, D), with multiple choices separated by "
        "spaces.The answer(s) is(are):"
    )
    assert made.answer == "A C D"


def test_windows_tile_the_image(parquet, read) -> None:
    (sample,), _ = read("exams/xlrs", parquet(ROW), own=XlrsOptions(windows=2))
    whole, *windows = [open_image(image) for image in sample.images]
    assert whole.size == (60, 40)
    assert [each.size for each in windows] == [(30, 20)] * 4
    assert [each.getpixel((9, 9))[0] for each in windows] == [0, 80, 160, 240]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer": "E"}, "'E' is no letter of its choices"),
        ({"answer": "AB"}, "'AB' is no letter of its choices"),
        ({"category": "Counting/Ships"}, "'Counting/Ships' is none of XLRS-Bench-lite"),
        ({"multi-choice options": ["two", "three"]}, "are not"),
        ({"question": None}, "has no text 'question'"),
    ],
)
def test_a_row_of_another_form_is_refused_by_name(parquet, read, change, words: str) -> None:
    with pytest.raises(DataError, match=rf"row 1 of .*parquet.*{words}"):
        read("exams/xlrs", parquet(ROW, ROW | change))


def test_a_file_without_a_column_is_refused(tmp_path: Path, read) -> None:
    pq.write_table(pa.Table.from_pylist([{"index": "1"}]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has no column 'question'"):
        read("exams/xlrs", tmp_path)
