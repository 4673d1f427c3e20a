"""Class folders and exports of Label Studio: labels, boxes, texts, and what is left out."""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from geovlm.errors import DataError
from geovlm.plugins.annotations import readers
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.records import Record


def images(folder: Path, *names: str) -> None:
    """Write images of 200 x 100 px."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 100), (90, 120, 80)).save(folder / name)


def read(source: Path, left_out: Counter[str] | None = None, **changes: Any) -> list[Record]:
    """Read a source in the format that it is recognised as."""
    counted = Counter() if left_out is None else left_out
    fields = {"name": "own", "source": source.name, "format": readers.recognise(source)}
    description = Description(folder=source.parent, **{**fields, "task": "detect", **changes})

    def skip(reason: str, item: str) -> None:
        counted[reason] += 1

    return list(readers.READERS[description.format].read(source, description, skip))


# -- one folder per class -------------------------------------------------------------------------


def test_the_folder_of_an_image_is_its_label(tmp_path: Path) -> None:
    images(tmp_path / "set", "forest/a.jpg", "forest/b.png", "river/a.jpg", "lost.jpg")
    images(tmp_path / "set", "river/old/c.jpg", ".hidden/d.jpg")
    left_out: Counter[str] = Counter()
    found = read(tmp_path / "set", left_out)
    assert [(each.id, each.label, each.split) for each in found] == [
        ("forest/a.jpg", "forest", None),
        ("forest/b.png", "forest", None),
        ("river/a.jpg", "river", None),
    ]
    assert left_out == {
        "image that is in no folder of a class": 1,
        "folder in the folder of a class": 1,
    }


def test_folders_of_splits_give_the_split(tmp_path: Path) -> None:
    names = ["train/forest/a.jpg", "train/river/b.jpg", "validation/river/c.jpg"]
    images(tmp_path / "set" / "inner", *names, "Test/forest/d.jpg", "train/lost.jpg")
    left_out: Counter[str] = Counter()
    found = read(tmp_path / "set", left_out)
    assert [(each.label, each.split) for each in found] == [
        ("forest", "test"),
        ("forest", "train"),
        ("river", "train"),
        ("river", "val"),
    ]
    assert found[0].id == "inner/Test/forest/d.jpg"
    assert left_out == {"image that is in no folder of a class": 1}


def test_a_folder_of_images_alone_has_no_classes(tmp_path: Path) -> None:
    images(tmp_path / "set", "a.jpg", "b.jpg", "train/c.jpg", "train/d.jpg")
    with pytest.raises(DataError, match="is not known"):
        read(tmp_path / "set")


# -- Label Studio ---------------------------------------------------------------------------------

RECTANGLE = {"x": 10.0, "y": 20.0, "width": 30.0, "height": 40.0, "rotation": 0}
SIZES = {"original_width": 200, "original_height": 100, "image_rotation": 0}


def region(kind: str = "rectanglelabels", *, number: str = "r1", **value: Any) -> dict[str, Any]:
    """Return a result as Label Studio exports it."""
    names = {kind: ["car"]} if kind.endswith("labels") else {}
    own = {**RECTANGLE, **names, **value}
    head = {"id": number, "type": kind, "from_name": "label", "to_name": "image"}
    return {**head, **SIZES, "value": own}


def control(kind: str, name: str, texts: list[str]) -> dict[str, Any]:
    key = "text" if kind == "textarea" else "choices"
    return {"id": name, "type": kind, "from_name": name, "to_name": "image", "value": {key: texts}}


def task(*results: dict[str, Any], image: str = "a.png", **annotation: Any) -> dict[str, Any]:
    made = {"id": 1, "result": list(results), "was_cancelled": False, **annotation}
    return {"id": 1, "data": {"image": image}, "annotations": [made], "predictions": []}


def export(folder: Path, *tasks: dict[str, Any]) -> Path:
    images(folder, "images/a.png", "images/b c.png", "images/deep/d.png")
    file = folder / "export.json"
    file.write_text(json.dumps(tasks))
    return file


def test_percent_become_pixels_and_polygons_the_box_around_them(tmp_path: Path) -> None:
    points = [[50, 10], [60, 20], [55, 90]]
    polygon = {"id": "p", "type": "polygonlabels", "value": {"points": points}} | SIZES
    polygon["value"]["polygonlabels"] = ["big  ship"]
    source = export(tmp_path, task(region(), polygon))
    (record,) = read(source, images="images")
    assert record.id == "a.png"
    assert [tuple(each) for each in record.boxes or ()] == [
        ((20.0, 20.0, 80.0, 60.0), "car"),
        ((100.0, 10.0, 120.0, 90.0), "big ship"),
    ]


SIGNED = base64.urlsafe_b64encode(b"s3://bucket/set/images/deep/d.png").decode()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/local-files/?d=set/images/b%20c.png", "b c.png"),
        ("/data/local-files/?d=set/images/deep/d.png", "deep/d.png"),
        ("/data/upload/3/1a2b3c4d-b%20c.png", "b c.png"),
        ("upload/3/1a2b3c4d-a.png", "a.png"),
        ("/storage-data/uploaded/?filepath=upload/3/1a2b3c4d-a.png", "a.png"),
        ("https://host.example/x/a.png?token=9", "a.png"),
        ("s3://bucket/deep/d.png", "deep/d.png"),
        (f"/tasks/4/presign/?fileuri={SIGNED}", "deep/d.png"),
        ("C:\\set\\images\\a.png", "a.png"),
    ],
)
def test_the_image_of_every_kind_of_address_is_found(
    address: str, name: str, tmp_path: Path
) -> None:
    (record,) = read(export(tmp_path, task(region(), image=address)), images="images")
    assert record.id == name


def test_the_image_is_in_the_named_field_or_the_first_that_is_one(tmp_path: Path) -> None:
    made = task(region())
    made["data"] = {"text": "no image", "picture": "a.png", "other": "b c.png", "year": 2024}
    source = export(tmp_path, made)
    (record,) = read(source, images="images")
    assert record.id == "a.png"
    assert record.extra["year"] == 2024
    (record,) = read(source, images="images", columns={"image": "other"})
    assert record.id == "b c.png"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (region(rotation=12.5), "rotated region"),
        (region() | {"image_rotation": 90}, "rotated region"),
        (region("ellipselabels"), "region of the type ellipselabels"),
        (region("keypointlabels"), "region of the type keypointlabels"),
        ({"type": "brushlabels", "value": {"rle": [1, 2]}}, "region of the type brushlabels"),
        (region("rectangle"), "region without a label"),
        (region(rectanglelabels=[]), "region without a label"),
        (region(width=0), "region without area"),
        (region(width="wide"), "region without area"),
    ],
)
def test_a_region_that_is_no_box_is_counted(
    result: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    left_out: Counter[str] = Counter()
    source = export(tmp_path, task(region(number="r0"), result))
    (record,) = read(source, left_out, images="images")
    assert len(record.boxes or ()) == 1
    assert left_out == {reason: 1}


def test_the_label_of_a_plain_rectangle_is_in_another_result(tmp_path: Path) -> None:
    source = export(tmp_path, task(region("rectangle"), region("labels")))
    (record,) = read(source, images="images")
    assert [each.label for each in record.boxes or ()] == ["car"]


def test_choices_and_texts_are_label_and_caption(tmp_path: Path) -> None:
    results = (
        control("choices", "kind", ["harbour"]),
        control("choices", "season", ["summer", "autumn"]),
        control("textarea", "caption", ["Two ships."]),
        control("textarea", "answer", ["two"]),
    )
    source = export(tmp_path, task(*results))
    (record,) = read(source, images="images")
    assert (record.label, record.captions, record.boxes) == ("harbour", ("Two ships.",), None)
    left_out: Counter[str] = Counter()
    columns = {"label": "season", "answer": "answer"}
    (record,) = read(source, left_out, images="images", columns=columns)
    assert (record.label, record.answer) == (None, "two")
    assert left_out == {"image with several choices": 1}


def test_one_annotation_of_a_task_counts(tmp_path: Path) -> None:
    old = task(region(x=1.0), updated_at="2024-01-01T00:00:00Z")
    new = {"result": [region(x=2.0)], "updated_at": "2025-01-01T00:00:00Z"}
    truth = {"result": [region(x=3.0)], "updated_at": "2023-01-01T00:00:00Z", "ground_truth": True}
    cancelled = {"result": [region(x=4.0)], "updated_at": "2026-01-01", "was_cancelled": True}
    old["annotations"] += [new, cancelled]
    left_out: Counter[str] = Counter()
    (record,) = read(export(tmp_path, old), left_out, images="images")
    assert (record.boxes or ())[0].box[0] == 4.0  # 2 % of 200 px
    assert left_out == {"further annotation of a task": 1}
    old["annotations"].append(truth)
    (record,) = read(export(tmp_path, old), images="images")
    assert (record.boxes or ())[0].box[0] == 6.0


def test_tasks_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    empty = task()
    empty["annotations"] = []
    source = export(
        tmp_path, task(), task(region()), empty, task(was_cancelled=True), task(image="gone.png")
    )
    left_out: Counter[str] = Counter()
    (record,) = read(source, left_out, images="images")
    assert record.boxes == ()
    assert left_out == {
        "image of a task before": 1,
        "task without annotation": 2,
        "image file missing": 1,
    }
