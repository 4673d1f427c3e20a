"""Tables: faults of files, roles of columns, several images, splits and groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geovlm.api import LoadContext, Sample
from geovlm.errors import ConfigError, DataError
from geovlm.plugins.annotations import adding, guessing, splits
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.loading import Loader
from geovlm.plugins.annotations.readers import READERS
from tests.plugins.annotations import sets

HEAD = "image,question,answer\n"


def described(source: Path, **changes: Any) -> Description:
    fields = {"name": "own", "source": source.name, "format": "csv", "task": "vqa"}
    return Description(
        folder=source.parent, **fields | {"images": "images", "split": "1/0/0"} | changes
    )


def load(own: Description, left_out: list[str] | None = None, split: Any = "train") -> list[Sample]:
    found = [] if left_out is None else left_out
    context = LoadContext(
        root=own.folder, split=split, skip=lambda reason, item: found.append(f"{reason}: {item}")
    )
    return list(Loader(own)(context))


def table(folder: Path, text: str, *, name: str = "q.csv") -> Path:
    """Write images and a table and return the table."""
    sets.images(folder)
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder / name


def lines(folder: Path, *rows: object) -> Path:
    """Write images and JSON lines and return the file."""
    return table(folder, "".join(json.dumps(row) + "\n" for row in rows), name="q.jsonl")


def test_a_row_of_csv_is_a_question_with_its_answer(tmp_path: Path) -> None:
    text = "\ufeff" + HEAD + 'a.png,"Is there a ""pier"",\r\nor a quay?",yes\r\n'
    (sample,) = load(described(table(tmp_path, text)))
    assert sample.question == 'Is there a "pier",\nor a quay?'
    assert sample.target == {"answer": "yes"}
    assert sample.images[0].name == "a.png"
    assert sample.meta == {"where": "q.csv:2"}


def test_each_row_that_is_left_out_is_named_with_file_and_line(tmp_path: Path) -> None:
    rows = [
        "a.png,q,yes",
        "a.png,q",
        "gone.png,q,no",
        "a.png,q2,nan",
        ",q3,no",
        "",
        "b.png,q4,no,x",
    ]
    left_out: list[str] = []
    assert len(load(described(table(tmp_path, HEAD + "\n".join(rows))), left_out)) == 1
    assert left_out == [
        "row with more or fewer fields than the header: q.csv:3",
        "image file missing: q.csv:4: gone.png",
        "record without an answer: q.csv:5",
        "row without an image: q.csv:6",
        "row with more or fewer fields than the header: q.csv:8",
    ]


def test_faults_of_json_lines_are_named_with_file_and_line(tmp_path: Path) -> None:
    row = json.dumps({"image": "a.png", "question": "q", "answer": 3.0})
    file = table(tmp_path, f'{row}\n{{"image": \n[1]\n', name="q.jsonl")
    left_out: list[str] = []
    (sample,) = load(described(file, format="jsonl"), left_out)
    assert sample.target["answer"] == "3"
    assert left_out[0].startswith("line is not JSON: ")
    assert "q.jsonl, line 2" in left_out[0]
    assert left_out[1] == "row that is not a JSON object: q.jsonl:3"


def test_an_id_stays_when_rows_are_added_or_an_answer_is_corrected(tmp_path: Path) -> None:
    before = load(described(table(tmp_path, HEAD + "a.png,q,yes\n")))
    after = load(described(table(tmp_path, HEAD + "b.png,q,yes\na.png,p,yes\na.png,q,no\n")))
    assert before[0].id == after[2].id
    assert len({sample.id for sample in after}) == 3


def test_several_columns_are_several_images_oldest_first(tmp_path: Path) -> None:
    file = table(tmp_path, "before,after,question,answer\nb.png,a.png,q,no\n")
    (sample,) = load(described(file))
    assert [image.name for image in sample.images] == ["b.png", "a.png"]


def test_a_list_in_a_cell_is_several_images(tmp_path: Path) -> None:
    row = {"images": ["b.png", "a.png"], "question": "q", "answer": "no"}
    (sample,) = load(described(lines(tmp_path, row), format="jsonl"))
    assert [image.name for image in sample.images] == ["b.png", "a.png"]


def test_a_column_that_does_not_exist_is_named_with_the_near_ones(tmp_path: Path) -> None:
    file = table(tmp_path, HEAD + "a.png,q,yes\n")
    with pytest.raises(ConfigError, match=r"q\.csv has no column 'anser'") as caught:
        load(described(file, columns={"image": "image", "answer": "anser"}))
    assert caught.value.hint == "did you mean 'answer'?"
    with pytest.raises(ConfigError, match=r"columns\.imgae is not a role"):
        load(described(file, columns={"imgae": "image"}))
    with pytest.raises(ConfigError, match=r"has no column 'scene'"):
        load(described(file, group_by="scene"))


def test_a_table_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no column of images"):
        load(described(table(tmp_path, "question,answer\nq,yes\n")))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"q\.csv:1 has two columns 'image'"):
        load(described(table(tmp_path, "image,image,answer\na.png,b.png,yes\n")))


def test_a_column_gives_the_split(tmp_path: Path) -> None:
    rows = (
        "image,question,answer,split\na.png,q,yes,Training\nb.png,q,no,validation\nc.png,q,no,x\n"
    )
    file = table(tmp_path, rows)
    left_out: list[str] = []
    assert [each.images[0].name for each in load(described(file, split="given"), left_out)] == [
        "a.png"
    ]
    assert left_out == ["split that is neither train, val nor test: q.csv:4: x"]
    held_out = load(described(file, split="given"), split="val")
    assert [each.images[0].name for each in held_out] == ["b.png"]


def test_rows_of_a_group_are_in_one_split(tmp_path: Path) -> None:
    rows = "".join(f"{name},{n},yes,{n % 7}\n" for n in range(70) for name in ("a.png", "b.png"))
    file = table(tmp_path, "image,question,answer,site\n" + rows)
    own = described(file, group_by="site", split="50/25/25")
    parts = [{each.meta["event"] for each in load(own, split=s)} for s in ("train", "val", "test")]
    assert sum(map(len, parts)) == 7
    assert len(set().union(*parts)) == 7


@pytest.mark.parametrize(
    ("form", "numbers"),
    [("xyxy", [20, 10, 100, 90]), ("xywh", [20, 10, 80, 80]), ("norm1", [0.1, 0.1, 0.5, 0.9])],
)
def test_a_box_is_read_as_the_description_says(
    form: str, numbers: list[float], tmp_path: Path
) -> None:
    row = {"image": "a.png", "phrase": "a ship", "boxes": numbers}
    (sample,) = load(described(lines(tmp_path, row), format="jsonl", task="refer", boxes=form))
    # images of 200 x 100 px
    assert sample.target["boxes"] == [[20.0, 10.0, 100.0, 90.0]]


@pytest.mark.parametrize("box", [[1, 2, 3], [5, 5, 5, 9], ["a", 1, 2, 3], [0, 0, float("nan"), 1]])
def test_a_box_that_is_none_is_left_out(box: list[object], tmp_path: Path) -> None:
    row = {"image": "a.png", "phrase": "a ship", "boxes": [box, [0, 0, 4, 4]]}
    left_out: list[str] = []
    (sample,) = load(described(lines(tmp_path, row), format="jsonl", task="refer"), left_out)
    assert sample.target["boxes"] == [[0.0, 0.0, 4.0, 4.0]]
    assert left_out == ["box without four numbers or without area: q.jsonl:1 box 0"]


def test_a_box_outside_of_its_image_is_left_out(tmp_path: Path) -> None:
    row = {"image": "a.png", "phrase": "a ship", "boxes": [[0, 0, 4, 4], [200, 0, 210, 9]]}
    left_out: list[str] = []
    (sample,) = load(described(lines(tmp_path, row), format="jsonl", task="refer"), left_out)
    assert sample.target["boxes"] == [[0.0, 0.0, 4.0, 4.0]]
    assert left_out == ["box outside of its image: q.jsonl:1 box 1"]


def test_parquet_is_read_row_by_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sets.images(tmp_path)
    columns = {"image": ["a.png", "b.png"], "question": ["q", "q"], "answer": ["yes", None]}
    pq.write_table(pa.table(columns), tmp_path / "q.parquet")
    left_out: list[str] = []
    (sample,) = load(described(tmp_path / "q.parquet", format="parquet"), left_out)
    assert sample.target["answer"] == "yes"
    assert left_out == ["record without an answer: q.parquet row 1"]


def test_an_image_in_a_text_of_the_table_is_left_out(tmp_path: Path) -> None:
    row = {"image": {"bytes": "…", "path": "a.png"}, "question": "q", "answer": "no"}
    left_out: list[str] = []
    assert load(described(lines(tmp_path, row), format="jsonl"), left_out) == []
    assert left_out == ["image in the table itself as a text: q.jsonl:1"]


@pytest.mark.parametrize("wanted", [("train",), ("val",), ("test", "train")])
def test_rows_of_other_splits_are_passed_over_before_they_are_read(
    wanted: tuple[Any, ...], tmp_path: Path
) -> None:
    rows = [{"image": "a.png", "question": "q", "answer": "yes", "place": str(n)} for n in range(9)]
    file = lines(tmp_path, *({"id": f"row {n}", **row} for n, row in enumerate(rows)))
    own = described(file, format="jsonl", split="1/1/1", group_by="place")
    reader, left_out = READERS["jsonl"], lambda reason, item: None
    every = list(reader.read(file, own, left_out))
    assert reader.read_splits is not None
    found = list(reader.read_splits(file, own, left_out, dict.fromkeys(wanted, left_out)))
    assert found == [each for each in every if splits.Splits(own).of_record(each) in wanted]
    assert 0 < len(found) < len(every)


def test_equal_names_in_folders_outside_of_the_images_have_ids_of_their_own(tmp_path: Path) -> None:
    sets.images(tmp_path)
    far = [sets.images(tmp_path / name) / "a.png" for name in ("north", "south")]
    file = lines(tmp_path, *({"image": str(each), "label": "field"} for each in far))
    own = described(file, format="jsonl", task="classify")
    assert [each.id for each in load(own)] == ["../north/images/a.png", "../south/images/a.png"]


@pytest.mark.parametrize(
    ("row", "task", "hint"),
    [
        ({"phrase": "a ship", "boxes": [[10, 20, 50, 50]]}, "ground", "--task refer"),
        ({"caption": "a ship", "boxes": [[10, 20, 50, 50]]}, "refer", "at {box}."),
    ],
)
def test_records_of_another_task_are_named(
    row: dict[str, Any], task: str, hint: str, tmp_path: Path
) -> None:
    file = lines(tmp_path, {"image": "a.png", **row})
    own = guessing.complete(described(file, format="jsonl"), task=task)
    with pytest.raises(DataError) as caught:
        adding.survey(own)
    assert hint in str(caught.value.hint)


def test_boxes_in_the_question_are_not_asked_for(tmp_path: Path) -> None:
    said = [("user", "What is at <bbox>?"), ("assistant", "a ship")]
    row = {
        "messages": [{"role": role, "content": text} for role, text in said],
        "images": ["a.png"],
        "objects": {"bbox": [[10, 20, 50, 50]]},
    }
    file, left_out = lines(tmp_path, row), []  # type: ignore[var-annotated]
    assert load(described(file, format="jsonl", task="refer"), left_out) == []
    assert left_out == ["record without boxes as its answer: q.jsonl:1"]


def test_answers_with_boxes_as_numbers_are_counted(tmp_path: Path) -> None:
    row = {"image": "a.png", "question": "Where is the ship?", "answer": "at [10, 20, 50, 50]"}
    own = described(lines(tmp_path, row), format="jsonl")
    shown = dict(adding.lines(own, adding.survey(own))[:-1])
    assert shown["note"].startswith("boxes written as numbers are in 1 answers and stay text")


def test_a_task_whose_answers_are_not_counted_says_nothing_of_them(tmp_path: Path) -> None:
    row = {"image": "a.png", "phrase": "a ship", "boxes": [[10, 20, 50, 50]]}
    own = described(lines(tmp_path, row), format="jsonl", task="refer")
    assert [name for name, _ in adding.lines(own, adding.survey(own))] == [
        "format",
        "task",
        "records",
        "reasoning",
        "note",
    ]
