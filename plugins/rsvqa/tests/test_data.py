from __future__ import annotations

import json
from collections import Counter

import pytest
import rasterio
from geovlm_rsvqa.sample import make_lr

from geovlm.errors import DataError, DatasetNotFoundError

SPLITS = ("train", "val", "test")


@pytest.fixture
def tiny(tmp_path):
    """Three rows out of order, ids far from positions, with a stub each."""
    stub = {"id": 0, "active": False}
    about = {"active": True, "type": "count", "img_id": 52}
    images = [stub, {"id": 52, "active": True}, {"id": 7, "active": True}]
    questions = [
        stub,
        {**about, "id": 900, "question": "How many  buildings are there?"},
        {**about, "id": 300, "question": "Is there a road?", "type": "presence"},
        {**about, "id": 301, "question": "Is there a lake?", "type": "presence"},
        {**about, "id": 302, "question": "Is there a sea?", "type": "presence", "img_id": 99},
        {**about, "id": 303, "question": "Is there a wood?", "type": "presence", "img_id": 7},
        {**about, "id": 304, "question": "Is there a farm?", "type": "presence", "img_id": 7},
    ]
    answers = [
        {"id": 1, "active": True, "question_id": 300, "answer": "yes"},
        {"id": 2, "active": True, "question_id": 900, "answer": "47"},
        stub,
    ]
    (tmp_path / "Images_LR").mkdir()
    (tmp_path / "Images_LR" / "52.tif").touch()
    for kind, rows in (("images", images), ("questions", questions), ("answers", answers)):
        (tmp_path / f"LR_split_train_{kind}.json").write_text(json.dumps({kind: rows}))
    return tmp_path


def test_lists_are_joined_by_id_and_what_is_left_out_is_counted(tiny, read):
    samples, skipped = read(tiny)
    assert [(sample.id, sample.question) for sample in samples] == [
        ("900", "How many buildings are there?"),
        ("300", "Is there a road?"),
    ]
    assert [sample.target["answer"] for sample in samples] == ["between 10 and 100", "yes"]
    assert samples[0].images == (tiny / "Images_LR" / "52.tif",)
    assert skipped == {
        "image missing": 2,
        "question without answer": 1,
        "question about an image outside the split": 1,
    }


def test_raw_answers_are_as_stored(tiny, read):
    sample = read(tiny, answers="raw")[0][0]
    assert sample.target["answer"] == "47"
    assert "vocabulary" not in sample.target


def test_types_may_be_chosen(tiny, read):
    assert [sample.id for sample in read(tiny, types=("presence",))[0]] == ["300"]


def test_a_count_that_is_no_number_is_left_out(tiny, read):
    rows = [{"id": 2, "active": True, "question_id": 900, "answer": "many"}]
    (tiny / "LR_split_train_answers.json").write_text(json.dumps({"answers": rows}))
    samples, skipped = read(tiny)
    assert samples == []
    assert skipped["answer is not a number"] == 1


@pytest.mark.parametrize(
    "text", ["", "[]", '{"answers": 3}', '{"answers": [{"id": 1, "active": true}]}']
)
def test_a_file_that_is_no_list_of_answers_is_named(tiny, read, text):
    (tiny / "LR_split_train_answers.json").write_text(text)
    with pytest.raises(DataError, match=r"LR_split_train_answers\.json"):
        read(tiny)


def test_an_absent_list_is_named(tiny, read):
    with pytest.raises(DatasetNotFoundError, match=r"LR_split_val_images\.json"):
        read(tiny, "val")


def test_an_absent_image_folder_is_named(tmp_path, read):
    with pytest.raises(DatasetNotFoundError, match=r"Images_LR/<id>\.tif"):
        read(tmp_path)


def test_generated_lists_hold_all_ids_with_stubs_of_other_splits(low):
    rows = json.loads((low / "LR_split_val_images.json").read_text())["images"]
    assert [row["id"] for row in rows] == list(range(36))
    assert rows[0] == {"id": 0, "active": False}
    assert sum(row["active"] for row in rows) == 12


def test_generated_tiles_are_georeferenced_rgb(low):
    with rasterio.open(low / "Images_LR" / "0.tif") as file:
        assert (file.count, file.shape, file.dtypes[0]) == (3, (256, 256), "uint8")
        assert file.crs.to_epsg() == 3857


@pytest.mark.parametrize(("part", "last"), [("lr", "rural_urban"), ("hr", "area")])
def test_generated_questions_have_the_official_types(low, high, read, part, last):
    samples = read({"lr": low, "hr": high}[part], part=part)[0]
    assert {sample.target["type"] for sample in samples} == {"presence", "comp", "count", last}


def test_ids_and_images_are_unique_over_the_splits(low, read):
    parts = [read(low, split)[0] for split in SPLITS]
    ids = [sample.id for part in parts for sample in part]
    assert len(set(ids)) == len(ids)
    tiles = [{sample.images for sample in part} for part in parts]
    assert not (tiles[0] & tiles[1] or tiles[0] & tiles[2] or tiles[1] & tiles[2])


def test_generated_answers_are_balanced(tmp_path, read):
    make_lr(tmp_path, 40, 3)
    samples = read(tmp_path)[0]
    for kind in ("presence", "comp"):  # 120 fair coins each: 4 standard deviations are 22
        found = Counter(s.target["answer"] for s in samples if s.target["type"] == kind)
        assert 38 <= found["yes"] <= 82


def test_limit_and_cap_per_image(low, read):
    assert len(read(low, limit=5)[0]) == 5
    capped = Counter(sample.images for sample in read(low, per_image=4)[0])
    assert set(capped.values()) == {4}


def test_the_test_split_of_the_high_resolution_may_be_another_city(high, read):
    for path in high.glob("USGS_split_test_*.json"):
        if "phili" not in path.name:
            assert (
                path.read_text() == (high / path.name.replace("_test_", "_test_phili_")).read_text()
            )
    assert read(high, "test", part="hr", test="test_phili")[0]


def test_images_of_the_high_resolution_may_lie_in_images(high, read, tmp_path):
    for path in high.glob("*.json"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "Images").symlink_to(high / "Data")
    assert len(read(tmp_path, part="hr")[0]) == len(read(high, part="hr")[0])


def test_the_real_subset_is_read_whole(realdata, read):
    found = [read(realdata / "RSVQA_LR", split) for split in SPLITS]
    assert [len(samples) for samples, _ in found] == [300, 500, 400]
    assert [len({s.images for s in samples}) for samples, _ in found] == [3, 5, 4]
    assert not any(skipped for _, skipped in found)


def change(root, kind, function):
    path = root / f"LR_split_train_{kind}.json"
    whole = json.loads(path.read_text())
    function(whole[kind])
    path.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    "fault",
    [{"question": None}, {"question": ""}, {"img_id": None}, {"img_id": [52]}, {"id": "first"}],
)
def test_a_faulty_question_costs_one_question(tiny, read, fault):
    change(tiny, "questions", lambda rows: rows[1].update(fault))
    samples, skipped = read(tiny)
    assert [sample.id for sample in samples] == ["300"]
    assert skipped["row of the questions without id or img_id or type or question"] == 1


@pytest.mark.parametrize("row", [None, "noise", {"question_id": 900, "answer": None}])
def test_a_faulty_answer_is_never_the_correct_one(tiny, read, row):
    change(tiny, "answers", lambda rows: rows.__setitem__(1, row))
    samples, skipped = read(tiny)
    assert [sample.id for sample in samples] == ["300"]
    assert skipped["row of the answers without question_id or answer"] == 1


@pytest.mark.parametrize("number", [str, float])
def test_ids_may_be_texts_or_floats(tiny, read, number):
    def spell(rows):
        for row in rows:
            row.update({key: number(row[key]) for key in ("img_id", "question_id") if key in row})

    for kind in ("questions", "answers"):
        change(tiny, kind, spell)
    assert [sample.id for sample in read(tiny)[0]] == ["900", "300"]


def test_an_answer_may_be_a_number(tiny, read):
    change(tiny, "answers", lambda rows: rows[1].update(answer=47))
    assert read(tiny)[0][0].target["raw"] == "47"


def test_rows_without_active_are_active(tiny, read):
    for kind in ("images", "questions", "answers"):
        change(tiny, kind, lambda rows: [row.pop("active") for row in rows if row["active"]])
    assert [sample.id for sample in read(tiny)[0]] == ["900", "300"]
