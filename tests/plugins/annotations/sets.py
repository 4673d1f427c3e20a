"""One small set of drawn images and boxes, written in several formats."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

LABELS = ("car", "truck")
SIZE = (200, 100)
BOXES: dict[str, list[tuple[str, tuple[float, float, float, float]]]] = {
    "a.png": [("car", (10.0, 20.0, 50.0, 60.0)), ("truck", (100.0, 10.0, 180.0, 90.0))],
    "b.png": [("car", (0.0, 0.0, 20.0, 20.0)), ("car", (150.5, 30.25, 190.5, 70.25))],
    "c.png": [],
}
"""Image -> label and box of each object, pixels."""


def images(folder: Path) -> Path:
    """Write the images into `folder`/images and return it."""
    made = folder / "images"
    made.mkdir(parents=True, exist_ok=True)
    for name in BOXES:
        Image.new("RGB", SIZE, (90, 120, 80)).save(made / name)
    return made


def coco(folder: Path, **changes: object) -> Path:
    """Write `instances.json` and return it; `changes` replace keys of the last annotation."""
    annotations = [
        {
            "id": number,
            "image_id": list(BOXES).index(name),
            "category_id": 1 + LABELS.index(label),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }
        for number, (name, label, (x0, y0, x1, y1)) in enumerate(_objects())
    ]
    annotations[-1].update(changes)
    table = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(BOXES)],
        "annotations": annotations,
        "categories": [{"id": i, "name": label} for i, label in enumerate(LABELS, 1)],
    }
    file = folder / "instances.json"
    file.write_text(json.dumps(table))
    return file


def yolo(folder: Path) -> Path:
    """Write `data.yaml` and `labels` and return the file."""
    (folder / "labels").mkdir(exist_ok=True)
    for name, objects in BOXES.items():
        lines = [
            f"{LABELS.index(label)} {(x0 + x1) / 2 / SIZE[0]:.6f} {(y0 + y1) / 2 / SIZE[1]:.6f} "
            f"{(x1 - x0) / SIZE[0]:.6f} {(y1 - y0) / SIZE[1]:.6f}"
            for label, (x0, y0, x1, y1) in objects
        ]
        (folder / "labels" / f"{Path(name).stem}.txt").write_text("\n".join(lines))
    file = folder / "data.yaml"
    file.write_text("path: .\ntrain: images\nnames: [car, truck]\n")
    return file


def voc(folder: Path) -> Path:
    """Write `Annotations` and return it."""
    made = folder / "Annotations"
    made.mkdir(exist_ok=True)
    for name, objects in BOXES.items():
        inside = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
            f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for label, (x0, y0, x1, y1) in objects
        )
        text = f"<annotation><filename>{name}</filename>{inside}</annotation>"
        (made / f"{Path(name).stem}.xml").write_text(text)
    return made


def _objects() -> list[tuple[str, str, tuple[float, float, float, float]]]:
    return [(name, label, box) for name, objects in BOXES.items() for label, box in objects]


def jsonl(folder: Path) -> Path:
    """Write `rows.jsonl`, a row per image, and return it."""
    file = folder / "rows.jsonl"
    rows = (
        {
            "image": name,
            "objects": {
                "bbox": [box for _, box in objects],
                "label": [each for each, _ in objects],
            },
        }
        for name, objects in BOXES.items()
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def csv(folder: Path) -> Path:
    """Write `rows.csv`, a row per box, and return it."""
    file = folder / "rows.csv"
    lines = [f"{name},{x0},{y0},{x1},{y1},{label}" for name, label, (x0, y0, x1, y1) in _objects()]
    file.write_text("\n".join(["image,xmin,ymin,xmax,ymax,label", *lines, "c.png,,,,,"]))
    return file
