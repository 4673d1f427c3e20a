from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest
from geovlm_geochat import data
from geovlm_geochat.sample import make_sample
from geovlm_geochat.turns import KINDS
from PIL import Image

from geovlm import files
from geovlm.boxes import Box
from geovlm.errors import DataError, DatasetNotFoundError

SHORT = "\nAnswer the question using a single word or phrase."


def _write(root, records, *, images=()):
    """An Instruct file and blank images of 200 x 100 px in the place of the release."""
    folder = root / data.OFFICIAL_IMAGES
    for name in images:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 100)).save(path)
    (root / "GeoChat_Instruct.json").write_text(json.dumps(records))


def _record(image, *exchanges):
    messages = [
        {"from": speaker, "value": text}
        for exchange in exchanges
        for speaker, text in zip(("human", "gpt"), exchange, strict=True)
    ]
    return {"id": image, "image": image, "conversations": messages}


def _names(split, count):
    """File names that fall into a split."""
    names = (f"img{number:05d}.png" for number in range(100_000))
    fitting = (name for name in names if data.split_of(name) == split)
    return [next(fitting) for _ in range(count)]


def _outside():
    """A name that leaves the folder of images and falls into train."""
    names = (f"../img{number:05d}.png" for number in range(100_000))
    return next(name for name in names if data.split_of(name) == "train")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_miniature_holds_all_kinds_in_every_split(miniature, read, split):
    samples, skipped = read(miniature, split)
    counts = Counter(sample.target["kind"] for sample in samples)
    assert counts == dict.fromkeys(KINDS, 8)
    assert len({sample.id for sample in samples}) == 40
    assert list(skipped) == [
        "conversation or description: no task token and no short answer asked for"
    ]


def test_no_image_crosses_the_splits(miniature, read):
    train, val, test = (
        {sample.images[0] for sample in read(miniature, split)[0]}
        for split in ("train", "val", "test")
    )
    assert not train & val
    assert not train & test
    assert not val & test


def test_the_miniature_is_the_same_for_the_same_seed(tmp_path, miniature):
    make_sample(tmp_path, 40, 7)
    written = (tmp_path / data.INSTRUCT).read_bytes()
    assert written == (miniature / data.INSTRUCT).read_bytes()


def test_boxes_of_the_miniature_lie_inside_its_images(miniature, read):
    held = [box for sample in read(miniature)[0] for box in sample.target.get("boxes", [])]
    assert held
    assert all(0 <= x0 < x1 <= 256 and 0 <= y0 < y1 <= 256 for x0, y0, x1, y1 in held)


def test_a_limit_takes_the_kinds_in_turn(miniature, read):
    samples, _ = read(miniature, limit=7)
    kinds = [sample.target["kind"] for sample in samples]
    assert kinds == [*KINDS, *KINDS[:2]]


def test_percent_becomes_pixels_of_the_stored_image(tmp_path, read):
    name = _names("train", 1)[0]
    refer = ("<image>\n[refer] Where is <p>1 ship</p>", "{<10><20><30><60>|<90>}{<5><5><5><9>|<1>}")
    _write(tmp_path, [_record(name, refer)], images=[name])
    samples, skipped = read(tmp_path)
    # 40 px by 40 px about (40, 40): the quarter turn changes nothing
    assert samples[0].target["boxes"] == [pytest.approx([20, 20, 60, 60])]
    assert samples[0].meta["dropped_boxes"] == 1
    assert skipped == {"box without area (the record stays if another box is left)": 1}


def test_boxes_may_keep_their_angle(tmp_path, read):
    name = _names("train", 1)[0]
    refer = ("<image>\n[refer] Where is <p>1 ship</p>", "{<40><20><60><60>|<30>}")
    _write(tmp_path, [_record(name, refer)], images=[name])
    clockwise = read(tmp_path, boxes="rotated")[0][0].target["boxes"]
    counter = read(tmp_path, boxes="rotated", sense="ccw")[0][0].target["boxes"]
    assert clockwise == [[80, 20, 120, 60, 30]]
    assert counter == [[80, 20, 120, 60, -30]]


def test_pieces_point_at_the_boxes_that_are_left(tmp_path, read):
    name = _names("train", 1)[0]
    told = "<p>a ship</p> {<5><5><5><9>|<1>} near <p>a car</p> {<10><20><30><60>|<0>} here"
    _write(tmp_path, [_record(name, ("<image>\n[grounding] Describe.", told))], images=[name])
    target = read(tmp_path)[0][0].target
    assert target["pieces"] == [["a ship", []], ["near a car", [0]], ["here", []]]
    assert len(target["boxes"]) == 1


def test_dirty_records_are_counted_by_reason(tmp_path, read):
    good, lost, broken, outside = _names("train", 4)
    refer = "<image>\n[refer] Where is <p>it</p>"
    records = [
        _record(good, ("<image>\nHow many?" + SHORT, "2")),
        _record(lost, ("<image>\nHow many?" + SHORT, "2")),
        _record(broken, (refer, "{<1><1><9><9>}")),
        _record(outside, (refer, "{<101><1><130><9>|<0>}")),
        _record(_outside(), ("<image>\nHow many?" + SHORT, "2")),
        {"id": "x", "image": good, "conversations": []},
        {"id": "y"},
        "noise",
    ]
    _write(tmp_path, records, images=[good, outside])
    (tmp_path / data.OFFICIAL_IMAGES / broken).write_bytes(b"no image")
    samples, skipped = read(tmp_path)
    assert [sample.id for sample in samples] == ["instruct/000000/0"]
    assert skipped["image that cannot be read"] == 1
    assert skipped["record without a usable box"] == 1
    assert skipped["record without a question and an answer"] == 1
    assert skipped["record without an image"] == 2
    assert skipped["image file not found"] == 2


def test_a_name_that_leaves_the_folder_is_never_opened(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    inside = tmp_path / "images"
    inside.mkdir()
    finder = files.Images([inside])
    assert finder.find("../secret.png") is None
    assert finder.find(str(tmp_path / "secret.png")) is None


def test_an_image_is_found_under_another_suffix(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert files.Images([tmp_path]).find("a.tif") == tmp_path / "a.png"


@pytest.mark.parametrize("place", ["images", "final_images_llava", "."])
def test_images_may_lie_elsewhere(tmp_path, read, place):
    name = _names("train", 1)[0]
    _write(tmp_path, [_record(name, ("<image>\nHow many?" + SHORT, "2"))], images=[name])
    (tmp_path / place).mkdir(exist_ok=True)
    shutil.move(tmp_path / data.OFFICIAL_IMAGES / name, tmp_path / place / name)
    assert read(tmp_path)[0][0].images == (tmp_path / place / name,)


def test_the_option_images_must_name_a_folder(tmp_path, read):
    _write(tmp_path, [])
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        read(tmp_path, images="nowhere")


def test_a_missing_file_is_named_with_the_way_out(tmp_path, read):
    with pytest.raises(DatasetNotFoundError, match="MBZUAI/GeoChat_Instruct"):
        read(tmp_path)


@pytest.mark.parametrize("text", ['[{"id": 1}, {"id"', '{"id": 1}', '[{"id": 1} oops]'])
def test_a_broken_file_is_named(tmp_path, read, text):
    (tmp_path / data.INSTRUCT).write_text(text)
    with pytest.raises(DataError, match=r"GeoChat_Instruct\.json"):
        read(tmp_path)


def _bench(root, name, rows):
    folder = root / "GeoChat-Bench"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


def test_bench_replaces_the_test_part_of_its_kinds(tmp_path, read):
    held, trained = _names("test", 1)[0], _names("train", 1)[0]
    refer = ("<image>\n[refer] Where is <p>1 ship</p>", "{<10><20><30><60>|<0>}")
    how_many = ("How many?" + SHORT, "2")
    records = [_record(held, refer, how_many), _record(trained, refer)]
    _write(tmp_path, records, images=[held, trained])
    polygon = [[20, 20], [60, 20], [60, 40], [20, 40]]
    row = {"question_id": "1", "image_id": trained.removesuffix(".png"), "type": "ref"}
    row |= {"question": "Where is <p>1 ship</p>", "ground_truth": [polygon], "size_group": "small"}
    _bench(tmp_path, "referring", [row])
    test, _ = read(tmp_path, "test")
    assert [sample.id for sample in test] == ["bench/referring/000000", "instruct/000000/1"]
    assert test[0].target["boxes"] == [[20, 20, 60, 40]]
    assert test[0].meta["size_group"] == "small"
    train, skipped = read(tmp_path, "train")
    assert train == []
    assert skipped == {"image that GeoChat-Bench tests on": 1}


def test_without_bench_the_test_part_is_a_share_of_instruct(tmp_path, read):
    held = _names("test", 1)[0]
    _write(tmp_path, [_record(held, ("How many?" + SHORT, "2"))], images=[held])
    _bench(tmp_path, "lrben", [{"question_id": 1, "image": held, "text": "How many?"}])
    assert [s.id for s in read(tmp_path, "test", held_out="hash")[0]] == ["instruct/000000/0"]


def test_bench_rows_without_a_truth_are_counted(tmp_path, read):
    name = _names("test", 1)[0]
    _write(tmp_path, [], images=[name, "AID/church/church_1.png"])
    _bench(tmp_path, "lrben", [{"question_id": 1, "image": name, "text": "How many?"}])
    _bench(tmp_path, "grounding_description", [{"image_id": "a", "description": "b"}])
    _bench(tmp_path, "referring", [{"image_id": "a", "question": "b", "ground_truth": "none"}])
    scene = {"question_id": "church/church_1.jpg", "image": "AID/church/church_1.jpg"}
    scene |= {"text": "Classes: harbor, Church. Answer in one word.", "ground_truth": "gt"}
    _bench(tmp_path, "aid", [scene])
    samples, skipped = read(tmp_path, "test", held_out="bench")
    assert [sample.target["labels"] for sample in samples] == [["Church"]]
    assert skipped["GeoChat-Bench has no answers for its VQA files"] == 1
    assert skipped["GeoChat-Bench publishes no boxes for grounding descriptions"] == 1
    assert skipped["truth without a polygon"] == 1


def test_bench_must_be_there_if_it_is_asked_for(tmp_path, read):
    _write(tmp_path, [])
    with pytest.raises(DatasetNotFoundError, match="held_out"):
        read(tmp_path, "test", held_out="bench")


def test_region_captions_of_bench_carry_their_box(tmp_path, read):
    _write(tmp_path, [], images=["P1.png"])
    row = {"image_id": "P1", "question": "[identify] what is {<10><20><30><60>|<0>}"}
    _bench(tmp_path, "region_captioning", [row | {"ground_truth": "1 ship at the left"}])
    sample = read(tmp_path, "test")[0][0]
    assert sample.target["captions"] == ["1 ship at the left"]
    assert Box(*sample.target["boxes"][0]) == pytest.approx(Box(20, 20, 60, 60))


@pytest.mark.parametrize("turn", [None, "noise", {"from": "gpt"}, {"from": "human", "value": None}])
def test_an_odd_turn_does_not_cost_the_conversation(tmp_path, read, turn):
    name = _names("train", 1)[0]
    record = _record(name, ("<image>\nHow many?" + SHORT, "2"))
    record["conversations"].insert(0, turn)
    _write(tmp_path, [record], images=[name])
    assert [sample.target["answer"] for sample in read(tmp_path)[0]] == ["2"]


def test_names_with_backslashes_a_list_or_the_folder_find_the_image(tmp_path, read):
    names = [f"sub/{name}" for name in _names("train", 200)]
    name = next(each for each in names if data.split_of(each) == "train")
    spellings = [name.replace("/", "\\"), [name], f"/data/final_images_llava/{name}"]
    records = [_record(each, ("<image>\nHow many?" + SHORT, "2")) for each in spellings]
    _write(tmp_path, records, images=[name])
    found, skipped = read(tmp_path)
    assert [sample.images[0] for sample in found] == [tmp_path / data.OFFICIAL_IMAGES / name] * 3
    assert skipped == {}


def test_a_line_of_bench_that_is_not_json_costs_one_line(tmp_path, read):
    _bench(tmp_path, "aid", [{"question_id": "Beach/1.png", "image": "1.png", "text": "?"}])
    path = tmp_path / "GeoChat-Bench" / "aid.jsonl"
    path.write_text('{"question_id"\n' + path.read_text())
    samples, skipped = read(tmp_path, "test")
    assert (samples, skipped["line is not JSON"]) == ([], 1)
    assert sum(skipped.values()) == 2
