"""VRSBench; the referring row is a published one, the others follow the authors' notebook."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from geovlm.errors import DataError, DatasetNotFoundError

REFERRED = {
    "image_id": "P0003_0002.png",
    "question": "The large yellow vehicle situated closest to the green area.",
    "ground_truth": "{<25><40><33><60>}",
    "dataset": "RSBench",
    "question_id": 0,
    "type": "ref",
    "unique": False,
    "obj_cls": "vehicle",
    "obj_ids": [0],
    "size_group": "",
}
ASKED = {
    "image_id": "P0003_0002.png",
    "question": "Is the scene urban?",
    "ground_truth": "Urban",
    "question_id": 3,
    "type": "rural or urban",
}
TRAINED = [
    {"image": "P0003_0002.png", "conversations": [{"value": f"<image>\n{asked}"}, {"value": said}]}
    for asked, said in (
        ("[caption] Could you describe the contents of this image for me?", "A port."),
        ("[vqa] How many ships are there?", "4"),
        ("[refer] give me the location of <p>the left ship</p>", "{<10><20><10><40>}"),
    )
]


@pytest.fixture
def unpacked(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of the release and both folders of images."""

    def write(name: str, rows: Any) -> Path:
        (tmp_path / name).write_text(json.dumps(rows), encoding="utf-8")
        for folder in ("Images_val/Images_val", "Images_train"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (512, 512)).save(tmp_path / folder / "P0003_0002.png")
        return tmp_path

    return write


def test_a_referring_truth_is_in_hundredths_of_512_px(unpacked, read, ask) -> None:
    root = unpacked("VRSBench_EVAL_referring.json", [REFERRED])
    (sample,), _ = read("exams/vrsbench_refer", root)
    assert sample.target == {
        "boxes": [[128.0, 204.8, 168.96, 307.2]],
        "hundredths": [25, 40, 33, 60],
        "unique": False,
    }
    assert ask("exams/vrsbench_refer", sample).question == (
        "Give the box of the object that this sentence describes: The large yellow vehicle "
        "situated closest to the green area."
    )


def test_rural_or_urban_is_a_scene_type(unpacked, read, ask) -> None:
    (sample,), _ = read("exams/vrsbench_vqa", unpacked("VRSBench_EVAL_vqa.json", [ASKED]))
    assert sample.target == {"answer": "Urban", "type": "scene type"}
    made = ask("exams/vrsbench_vqa", sample)
    assert made.question == "Is the scene urban? Answer with a word or a short phrase."


def test_training_rows_are_found_by_their_tags(unpacked, read, ask) -> None:
    root = unpacked("VRSBench_train.json", TRAINED)
    (caption,), _ = read("exams/vrsbench_caption", root, "train")
    (asked,), _ = read("exams/vrsbench_vqa", root, "train")
    (referred,), _ = read("exams/vrsbench_refer", root, "train")
    assert ask("exams/vrsbench_caption", caption).question == "Describe the image in detail"
    assert (asked.question, asked.target["type"]) == (
        "How many ships are there?",
        "object quantity",
    )
    assert referred.question == "the left ship"
    assert referred.target["boxes"] == [[51.2, 102.4, 56.32, 204.8]]  # one hundredth wide


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ground_truth": "<25><40>"}, "is not one box"),
        ({"unique": None}, "'unique' is neither true nor false"),
        ({"image_id": 3}, "has no text 'image_id'"),
    ],
)
def test_a_row_of_another_form_is_refused_by_name(unpacked, read, change, words: str) -> None:
    root = unpacked("VRSBench_EVAL_referring.json", [REFERRED, REFERRED | change])
    with pytest.raises(DataError, match=rf"row 1 of .*referring.json.*{words}"):
        read("exams/vrsbench_refer", root)


def test_a_training_row_without_a_tag_is_refused(unpacked, read) -> None:
    turns = [{"value": "<image>\nWhat?"}, {"value": "A port."}]
    root = unpacked("VRSBench_train.json", [{"image": "a.png", "conversations": turns}])
    with pytest.raises(DataError, match=r"row 0 of .*none of"):
        read("exams/vrsbench_vqa", root, "train")


def test_absent_images_are_named_at_once(tmp_path: Path, read) -> None:
    (tmp_path / "VRSBench_EVAL_vqa.json").write_text(json.dumps([ASKED]), encoding="utf-8")
    with pytest.raises(DatasetNotFoundError, match=r"unpack Images_val\.zip"):
        read("exams/vrsbench_vqa", tmp_path)
