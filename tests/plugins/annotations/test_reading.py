"""Readers of annotations: the same set in every format, and files with faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geovlm.api import LoadContext, Sample
from geovlm.errors import ConfigError, DataError, DatasetNotFoundError
from geovlm.plugins.annotations import splits
from geovlm.plugins.annotations.description import Description, parse
from geovlm.plugins.annotations.loading import Loader
from tests.plugins.annotations import sets

FORMATS = {
    "coco": sets.coco,
    "yolo": sets.yolo,
    "voc": sets.voc,
    "jsonl": sets.jsonl,
    "csv": sets.csv,
}


def described(source: Path, *, form: str = "coco", **changes: object) -> Description:
    fields = {"name": "own", "source": source.name, "format": form, "task": "detect"}
    fields |= {"labels": sets.LABELS, "images": "images", "split": "1/0/0", **changes}
    return Description(folder=source.parent, **fields)


def load(description: Description, left_out: list[str] | None = None) -> list[Sample]:
    skipped = [] if left_out is None else left_out
    context = LoadContext(
        root=description.folder, split="train", skip=lambda reason, item: skipped.append(reason)
    )
    return list(Loader(description)(context))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_samples(form: str, tmp_path: Path) -> None:
    sets.images(tmp_path)
    found = load(described(FORMATS[form](tmp_path), form=form))
    assert [sample.id for sample in found] == ["a.png", "b.png", "c.png"]
    assert [sample.target["box_labels"] for sample in found] == [["car", "truck"], ["car"] * 2, []]
    assert found[1].target["boxes"] == [[0.0, 0.0, 20.0, 20.0], [150.5, 30.25, 190.5, 70.25]]
    assert [image.name for sample in found for image in sample.images] == list(sets.BOXES)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bbox": None}, "annotation without a box"),
        ({"bbox": [1, 2, 0, 5]}, "annotation without a box"),
        ({"bbox": [1, 2, float("nan"), 5]}, "annotation without a box"),
        (
            {"bbox": None, "segmentation": {"counts": "abc", "size": [1, 2]}},
            "annotation without a box",
        ),
        ({"bbox": [5, 5, 2, 2, 0.3]}, "rotated box of five numbers"),
        ({"iscrowd": 1}, "crowd"),
        ({"category_id": 9}, "annotation of a category that is not listed"),
        ({"image_id": 99}, "annotation of an image that is not listed"),
        ({"bbox": [-50, 10, 40, 5]}, "box outside of its image"),
    ],
)
def test_an_object_of_coco_that_cannot_be_used_is_left_out(
    changes: dict[str, object], reason: str, tmp_path: Path
) -> None:
    sets.images(tmp_path)
    left_out: list[str] = []
    found = load(described(sets.coco(tmp_path, **changes)), left_out)
    assert left_out == [reason]
    assert found[1].target["boxes"] == [[0.0, 0.0, 20.0, 20.0]]


@pytest.mark.parametrize("form", ["coco", "yolo", "voc", "jsonl"])
@pytest.mark.parametrize(
    ("box", "part", "said"),
    [
        (
            (-30.0, 30.25, 40.0, 70.25),
            [0.0, 30.25, 40.0, 70.25],
            ["part of a box beyond its image"],
        ),
        (
            (150.5, 30.25, 240.0, 70.25),
            [150.5, 30.25, 200.0, 70.25],
            ["part of a box beyond its image"],
        ),
        ((-0.5, 30.25, 40.0, 70.25), [0.0, 30.25, 40.0, 70.25], []),
    ],
    ids=["left", "right", "rounded"],
)
def test_of_a_box_beyond_its_image_the_part_inside_is_taken(
    box: Any, part: list[float], said: list[str], form: str, tmp_path: Path, monkeypatch: Any
) -> None:
    first, _ = sets.BOXES["b.png"]
    monkeypatch.setitem(sets.BOXES, "b.png", [first, ("car", box)])
    sets.images(tmp_path)
    source, left_out = FORMATS[form](tmp_path), []  # type: ignore[var-annotated]
    declare(source, form)
    assert load(described(source, form=form), left_out)[1].target["boxes"][1] == part
    assert left_out == said


def declare(source: Path, form: str) -> None:
    """Write the size of the images into a set that may hold it."""
    if form == "coco":
        table = json.loads(source.read_text())
        for image in table["images"]:
            image |= {"width": 200, "height": 100}
        source.write_text(json.dumps(table))
    if form == "voc":
        size = "<size><width>200</width><height>100</height></size>"
        for file in source.iterdir():
            file.write_text(file.read_text().replace("<filename>", f"{size}<filename>"))


@pytest.mark.parametrize("form", FORMATS)
def test_byte_order_marks_and_line_ends_of_windows_change_nothing(
    form: str, tmp_path: Path
) -> None:
    sets.images(tmp_path)
    source = FORMATS[form](tmp_path)
    before = load(described(source, form=form))
    for file in tmp_path.rglob("*"):
        if file.suffix in (".json", ".jsonl", ".csv", ".yaml", ".txt", ".xml"):
            text = file.read_text().replace("\n", "\r\n")
            file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load(described(source, form=form)) == before


@pytest.mark.parametrize("first", [1, 90_000])
def test_ids_of_coco_may_begin_anywhere(first: int, tmp_path: Path) -> None:
    sets.images(tmp_path)
    file = sets.coco(tmp_path)
    before = load(described(file))
    table = json.loads(file.read_text())
    for image in table["images"]:
        image["id"] += first
    for each in table["annotations"]:
        each["image_id"] += first
        each["category_id"] += first
    for category in table["categories"]:
        category["id"] += first
    file.write_text(json.dumps(table))
    assert load(described(file)) == before


def test_captions_of_coco_are_those_of_their_image(tmp_path: Path) -> None:
    sets.images(tmp_path)
    said = [{"image_id": 1, "caption": text} for text in ("A pier.", "A long pier.")]
    table = {"annotations": said, "images": [{"id": 1, "file_name": "a.png"}]}
    file = tmp_path / "captions.json"
    file.write_text(json.dumps(table))
    (sample,) = load(described(file, task="caption", labels=()))
    assert sample.target["captions"] == ["A pier.", "A long pier."]


def test_an_object_of_voc_outside_of_the_declared_size_is_left_out(tmp_path: Path) -> None:
    sets.images(tmp_path)
    file = sets.voc(tmp_path) / "b.xml"
    size = "<size><width>100</width><height>100</height></size>"
    file.write_text(file.read_text().replace("<object>", f"{size}<object>", 1))
    left_out: list[str] = []
    assert len(load(described(file.parent, form="voc"), left_out)[1].target["boxes"]) == 1
    assert left_out == ["box outside of its image"]


def test_polygons_of_coco_give_the_box_around_them(tmp_path: Path) -> None:
    sets.images(tmp_path)
    rings = [[30, 10, 40, 12, 35, 50], [60, 20, 61, 30, 59, 25]]
    found = load(described(sets.coco(tmp_path, bbox=None, segmentation=rings)))
    assert found[1].target["boxes"][1] == [30.0, 10.0, 61.0, 50.0]


def test_the_names_of_lists_and_files_in_hit_uav_are_read(tmp_path: Path) -> None:
    sets.images(tmp_path)
    file = sets.coco(tmp_path)
    text = file.read_text().replace("file_name", "filename").replace("annotations", "annotation")
    file.write_text(text)
    assert [len(sample.target["boxes"]) for sample in load(described(file))] == [2, 2, 0]


def test_a_path_of_windows_is_found(tmp_path: Path) -> None:
    sets.images(tmp_path)
    file = sets.coco(tmp_path)
    file.write_text(file.read_text().replace('"a.png"', json.dumps("C:\\data\\images\\a.png")))
    assert {sample.id for sample in load(described(file))} == set(sets.BOXES)


def test_images_that_are_missing_or_listed_twice_are_counted(tmp_path: Path) -> None:
    sets.images(tmp_path)
    file = sets.coco(tmp_path)
    table = json.loads(file.read_text())
    table["images"] += [{"id": 7, "file_name": "gone.png"}, {"id": 8, "file_name": "a.png"}]
    file.write_text(json.dumps(table))
    left_out: list[str] = []
    assert len(load(described(file), left_out)) == 3
    assert sorted(left_out) == ["image file listed twice", "image file missing"]


def test_a_polygon_of_yolo_gives_the_box_around_it(tmp_path: Path) -> None:
    sets.images(tmp_path)
    file = sets.yolo(tmp_path)
    (tmp_path / "labels" / "c.txt").write_text("1 0.1 0.1 0.5 0.2 0.3 0.9\n")
    found = load(described(file, form="yolo"))
    # shares of 200 x 100 px
    assert found[2].target["boxes"] == [[20.0, 10.0, 100.0, 90.0]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.5 0.5", "line that is neither a box nor a polygon"),
        ("car 0.5 0.5 0.1 0.1", "line that is neither a box nor a polygon"),
        ("7 0.5 0.5 0.1 0.1", "number of a class that has no name"),
        ("0 0.5 0.5 0 0.1", "box without area"),
        ("0 1.5 0.5 0.1 0.1", "box outside of its image"),
    ],
)
def test_a_line_of_yolo_that_cannot_be_used_is_left_out(
    line: str, reason: str, tmp_path: Path
) -> None:
    sets.images(tmp_path)
    file = sets.yolo(tmp_path)
    (tmp_path / "labels" / "c.txt").write_text(f"{line}\n\n")
    left_out: list[str] = []
    assert load(described(file, form="yolo"), left_out)[2].target["boxes"] == []
    assert left_out == [reason]


def test_an_object_of_voc_marked_difficult_is_left_out(tmp_path: Path) -> None:
    sets.images(tmp_path)
    folder = sets.voc(tmp_path)
    file = folder / "b.xml"
    file.write_text(file.read_text().replace("<object>", "<object><difficult>1</difficult>", 1))
    left_out: list[str] = []
    assert len(load(described(folder, form="voc"), left_out)[1].target["boxes"]) == 1
    assert left_out == ["object marked difficult"]


def test_a_source_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"gone\.json"):
        load(described(tmp_path / "gone.json"))


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        ("coco", "{}", "no lists 'images' and 'annotations'"),
        ("coco", '{"images": [], "annotations": []}', "has no categories"),
        ("yolo", "- a", "holds no table"),
        ("yolo", "train: images", "has no names of classes"),
        ("yolo", "names: [a]\ntrain: nowhere", "names nowhere"),
        ("yolo", "a: [", "is not YAML"),
    ],
)
def test_a_source_of_another_kind_is_refused(
    read: str, text: str, message: str, tmp_path: Path
) -> None:
    source = tmp_path / ("data.yaml" if read == "yolo" else "a.json")
    source.write_text(text)
    with pytest.raises(DataError, match=message):
        load(described(source, form=read))


def test_a_group_keeps_its_split_when_others_are_added() -> None:
    names = [f"{number}.jpg" for number in range(2000)]
    found = [splits.of_group(name, shares=(80, 10, 10), seed=0) for name in names]
    # 2,000 draws: 3 standard deviations of a share of 0.8 are 54, of 0.1 are 40
    assert abs(found.count("train") - 1600) < 54
    assert abs(found.count("val") - 200) < 40
    assert found != [splits.of_group(name, shares=(80, 10, 10), seed=1) for name in names]


TEXT = '[dataset]\nname = "own"\nsource = "a"\nformat = "coco"\ntask = "detect"\nlabels = ["x"]\n'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("[dataset]", "[data]"), "has no table"),
        (lambda text: text + 'lables = ["x"]\n', "did you mean 'labels'"),
        (lambda text: text.replace('"coco"', '"cocoa"'), "format must be one of coco, yolo, voc"),
        (lambda text: text + 'columns = {image = "a"}\n', "columns is for csv, .*, not for coco"),
        (lambda text: text + 'choices = "shuffled"\n', "choices is for mcq only, not for detect"),
        (lambda text: text + 'group_by = "scene"\n', "group_by is for csv, .*, not for coco"),
        (lambda text: text + 'reasoning = "why"\n', "reasoning names a column"),
        (lambda text: text + "columns = {image = 3}\n", "columns must be a table of texts"),
        (lambda text: text.replace('name = "own"\n', ""), "dataset.name is missing"),
        (lambda text: text.replace('["x"]', "[]"), "labels is missing or empty"),
        (lambda text: text.replace('["x"]', '"x"'), "labels must be a list of texts"),
        (lambda text: text + 'split = "0/0/0"\n', "split must be like 80/10/10"),
        (lambda text: text + "seed = -1\n", "seed must be a whole number"),
        (lambda text: text + "seed =\n", "is not TOML"),
    ],
)
def test_a_wrong_description_is_refused_by_its_key(
    change: Callable[[str], str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(change(TEXT), tmp_path / "own.toml")
    assert parse(TEXT, tmp_path / "own.toml").shares == (80, 10, 10)
