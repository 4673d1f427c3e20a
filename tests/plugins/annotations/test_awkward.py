"""Files that are large or at fault: little memory, and a place for each item that is left out."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geovlm.api import LoadContext, Sample
from geovlm.files import streams
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.loading import Loader
from tests.inside import geovlm
from tests.plugins.annotations import sets


def load(source: Path, form: str, left_out: list[str] | None = None, **more: Any) -> list[Sample]:
    fields: dict[str, Any] = {"task": "detect", "labels": sets.LABELS, "split": "1/0/0", **more}
    own = Description(
        name="own",
        source=source.name,
        format=form,
        folder=source.parent,
        images="images",
        **fields,
    )
    places = [] if left_out is None else left_out
    context = LoadContext(
        root=own.folder, split="train", skip=lambda reason, item: places.append(item)
    )
    return list(Loader(own)(context))


@pytest.mark.parametrize(
    ("write", "form", "file", "old", "new", "place"),
    [
        (sets.coco, "coco", "instances.json", "40.0, 40.0]}]", "0, 40.0]}]", "annotation 3"),
        (sets.yolo, "yolo", "labels/b.txt", "0 0.852500", "0 9.852500", "b.txt:2"),
        (sets.voc, "voc", "Annotations/b.xml", "<xmin>150.5</xmin>", "", "object 1"),
        (sets.csv, "csv", "rows.csv", "b.png", "gone.png", "rows.csv:4"),
        (sets.jsonl, "jsonl", "rows.jsonl", '"b.png"', '"gone.png"', "rows.jsonl:2"),
    ],
    ids=["coco", "yolo", "voc", "csv", "jsonl"],
)
def test_what_is_left_out_is_named_with_its_file_and_place(
    write: Callable[[Path], Path],
    form: str,
    file: str,
    old: str,
    new: str,
    place: str,
    tmp_path: Path,
) -> None:
    sets.images(tmp_path)
    source = write(tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    left_out: list[str] = []
    load(source, form, left_out)
    assert left_out
    assert all(Path(file).name in item for item in left_out)
    assert any(place in item for item in left_out)


@pytest.mark.parametrize("form", ["coco", "json", "jsonl"])
def test_json_of_any_length_is_read_in_little_memory(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of the file is masks and notes, which nothing asks for, as in many sets."""
    sets.images(tmp_path)
    ballast = "x" * 4000
    source = tmp_path / ("a.jsonl" if form == "jsonl" else "a.json")
    if form == "coco":
        box = {"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0}
        table = {
            "info": {"note": ballast},
            "annotations": [{"id": n, **box, "note": ballast} for n in range(1000)],
            "images": [{"id": 0, "file_name": "a.png"}],
            "categories": [{"id": 1, "name": "car"}],
        }
        source.write_text(json.dumps(table))
    else:
        rows = [{"image": "a.png", "label": "car", "bbox": [1, 2, 3, 4], "note": ballast}] * 1000
        lines = "\n".join(map(json.dumps, rows))
        source.write_text(lines if form == "jsonl" else json.dumps(rows))
    monkeypatch.setattr(streams, "_CHUNK", 1 << 16)
    tracemalloc.start()
    try:
        (sample,) = load(source, form)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    boxes = sample.target["boxes"]
    assert isinstance(boxes, list)
    assert len(boxes) == 1000
    assert peak < source.stat().st_size / 2


@pytest.mark.parametrize(
    ("write", "place"),
    [
        (sets.coco, "instances.json image 0"),
        (sets.voc, "a.xml"),
        (sets.csv, "rows.csv:2"),
        (sets.jsonl, "rows.jsonl:1"),
    ],
    ids=["coco", "voc", "csv", "jsonl"],
)
def test_a_set_whose_images_are_not_found_says_where_they_were_looked_for(
    write: Callable[[Path], Path], place: str, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    source = write(tmp_path / "notes")
    done = geovlm("data", "add", "own", source, "--out", tmp_path / "own.toml")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "left out: image file missing" in line
    assert place in line
    assert "a.png" in line
    assert "--images DIR" in line
