"""Four sets as a new user brings them, drawn by chance from a seed.

`python -m tests.plugins.annotations.newcomer DIR` writes all of them: 800 JPEGs in COCO, 100 in
YOLO, a CSV of questions and answers, and six GeoTIFFs in UTM with a GeoJSON as QGIS saves it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

LABELS = ("car", "truck", "boat")
COLOURS = {"car": (200, 40, 40), "truck": (240, 240, 240), "boat": (250, 200, 60)}


class Drawn(NamedTuple):
    """One image: its name, and label and box of each object, pixels."""

    name: str
    objects: list[tuple[str, tuple[int, int, int, int]]]


def coco(folder: Path, *, n: int = 800, size_px: int = 512) -> Path:
    """Write `images` and `instances.json` and return the file."""
    drawn = list(_images(folder / "images", n=n, size_px=size_px, seed=0))
    boxes = [(i, label, box) for i, each in enumerate(drawn) for label, box in each.objects]
    table = {
        "images": [
            {"id": i, "file_name": each.name, "width": size_px, "height": size_px}
            for i, each in enumerate(drawn)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": 1 + LABELS.index(label),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
            }
            for number, (image, label, (x0, y0, x1, y1)) in enumerate(boxes, 1)
        ],
        "categories": [{"id": i, "name": label} for i, label in enumerate(LABELS, 1)],
    }
    return _write(folder / "instances.json", json.dumps(table))


def yolo(folder: Path, *, n: int = 100, size_px: int = 512) -> Path:
    """Write `images`, `labels` and `data.yaml` and return the file."""
    for each in _images(folder / "images", n=n, size_px=size_px, seed=1):
        lines = [
            f"{LABELS.index(label)} {(x0 + x1) / 2 / size_px:.6f} {(y0 + y1) / 2 / size_px:.6f} "
            f"{(x1 - x0) / size_px:.6f} {(y1 - y0) / size_px:.6f}"
            for label, (x0, y0, x1, y1) in each.objects
        ]
        _write(folder / "labels" / f"{Path(each.name).stem}.txt", "\n".join(lines))
    names = ", ".join(LABELS)
    return _write(folder / "data.yaml", f"path: .\ntrain: images\nnc: 3\nnames: [{names}]\n")


def table(folder: Path, *, rows: int = 200, size_px: int = 256) -> Path:
    """Write `images` and `questions.csv` with the columns image, question, answer; return it."""
    drawn = list(_images(folder / "images", n=rows, size_px=size_px, seed=2))
    file = folder / "questions.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("image", "question", "answer"))
        for number, each in enumerate(drawn):
            label = LABELS[number % len(LABELS)]
            n = sum(found == label for found, _ in each.objects)
            writer.writerow((f"images/{each.name}", f"How many {label}s are there?", n))
    return file


def scenes(folder: Path, *, n: int = 6, size_px: int = 1024) -> Path:
    """Write `n` scenes in EPSG:32615 and their objects as `objects.geojson`; return the file.

    QGIS saves GeoJSON in longitude and latitude, with a member `crs`, and rings that end where
    they began.
    """
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.warp import transform

    features: list[dict[str, Any]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(_drawn(n=n, size_px=size_px, seed=3)):
        place = from_origin(400_000 + 2_000 * number, 4_100_000, 0.5, 0.5)
        with rasterio.open(
            folder / f"scene_{number}.tif",
            "w",
            driver="GTiff",
            width=size_px,
            height=size_px,
            count=3,
            dtype="uint8",
            crs="EPSG:32615",
            transform=place,
            photometric="RGB",
            compress="deflate",
        ) as file:
            file.write(np.moveaxis(np.asarray(_picture(each, size_px)), -1, 0))
        for label, (x0, y0, x1, y1) in each.objects:
            corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
            xs, ys = zip(*(place * corner for corner in corners), strict=True)
            lon, lat = transform("EPSG:32615", "OGC:CRS84", xs, ys)
            ring = [[x, y] for x, y in zip(lon, lat, strict=True)]
            features.append(
                {
                    "type": "Feature",
                    "properties": {"fid": len(features) + 1, "class": label},
                    "geometry": {"type": "Polygon", "coordinates": [ring]},
                }
            )
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    whole = {"type": "FeatureCollection", "name": "objects", "crs": crs, "features": features}
    return _write(folder / "objects.geojson", json.dumps(whole))


def _images(folder: Path, *, n: int, size_px: int, seed: int) -> Iterator[Drawn]:
    """Write `n` JPEGs and yield each."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in _drawn(n=n, size_px=size_px, seed=seed):
        _picture(each, size_px).save(folder / each.name, quality=90)
        yield each


def _drawn(*, n: int, size_px: int, seed: int) -> Iterator[Drawn]:
    """Yield `n` images with up to four objects of 10 to 60 px, half of them in each quarter."""
    chance = np.random.default_rng(seed)
    half = size_px // 2
    for number in range(n):
        objects = []
        for quarter in range(4):
            if chance.random() < 0.5:
                continue
            width, height = map(int, chance.integers(10, 60, 2))
            x0 = quarter % 2 * half + int(chance.integers(0, half - width))
            y0 = quarter // 2 * half + int(chance.integers(0, half - height))
            objects.append((str(chance.choice(LABELS)), (x0, y0, x0 + width, y0 + height)))
        yield Drawn(f"tile_{number:04d}.jpg", objects)


def _picture(drawn: Drawn, size_px: int) -> Image.Image:
    chance = np.random.default_rng(int(drawn.name[5:9]))
    fields = chance.integers(60, 140, (16, 16, 3), dtype=np.uint8)  # like no other image's
    image = Image.fromarray(fields).resize((size_px, size_px), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(image)
    for label, (x0, y0, x1, y1) in drawn.objects:
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), COLOURS[label])
    return image


def _write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


if __name__ == "__main__":
    for name, write in {"coco": coco, "yolo": yolo, "table": table, "scenes": scenes}.items():
        print(write(Path(sys.argv[1]) / name))
