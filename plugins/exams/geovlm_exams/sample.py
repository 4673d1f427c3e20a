"""Generates images and questions in the layouts of the benchmarks.

The place of the right choice goes round, so that no letter is right more often than another.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from geovlm import scenes
from geovlm_exams import generated, questions, vrsbench

_DIMENSIONS = {
    "scene_classification": "perception/image_level_comprehension",
    "object_counting": "perception/single_instance_identification",
    "object_localization": "perception/single_instance_identification",
    "object_presence": "perception/single_instance_identification",
    "attribute_recognition": "perception/single_instance_identification",
    "visual_grounding": "perception/single_instance_identification",
}
_GROUNDING = (
    "Please output the coordinates of the {} in the image in the format (x1, y1, x2, y2). Do not "
    "include any additional text."
)


def make_choice(root: Path, n: int, seed: int) -> None:
    """Write n images per split with about five questions each, in the layout of CHOICE."""
    rng = np.random.default_rng(seed)
    for base in (root / "train", root):
        _choice(base, n, rng)


def _choice(base: Path, n: int, rng: np.random.Generator) -> None:
    rows: dict[str, list[dict[str, Any]]] = {}
    for number in range(n):
        scene = questions.compose(rng)
        picture = Image.fromarray(scenes.render(scene, when="pre"))
        for each in questions.about(scene, rng):
            choices, at = questions.arranged(each, rng, at=number + len(rows.get(each.kind, ())))
            listed = (f"{letter}.{text}" for letter, text in zip("ABCD", choices, strict=False))
            made = {"question": "\n".join([each.text, *listed]), "answer": "ABCD"[at]}
            kept = {"id": _uuid(rng), "image_path": _place(picture, base, each.kind, number)}
            rows.setdefault(each.kind, []).append(kept | made)
        for item in questions.alone(scene)[:1]:
            x0, y0, x1, y1 = (round(float(v) / scene.size_px[0], 3) for v in item.box)
            kind = "visual_grounding"
            row = {"id": _uuid(rng), "image_path": _place(picture, base, kind, number)}
            corners = [[x0, y1], [x1, y1], [x1, y0], [x0, y0]]
            asked = _GROUNDING.format(item.kind)
            rows.setdefault(kind, []).append({**row, "question": asked, "answer": corners})
    for kind, many in rows.items():
        _json(base / _DIMENSIONS[kind] / kind / f"{kind}.json", many)


def _place(picture: Image.Image, base: Path, kind: str, number: int) -> str:
    """Write the image of a question, and return its path as a row has it."""
    folder = f"{_DIMENSIONS[kind]}/{kind}/images"
    (base / folder).mkdir(parents=True, exist_ok=True)
    picture.save(base / folder / f"{number + 1}.png", compress_level=1)
    return f"{folder}/{number + 1}.png"


def _uuid(rng: np.random.Generator) -> str:
    text = "".join(f"{int(each):02x}" for each in rng.integers(256, size=16))
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def make_single(root: Path, n: int, seed: int) -> None:
    """Write n images per split in the layout of the part `Single` of GEOBench-VLM."""
    rng = np.random.default_rng(seed)
    for base in (root / "train", root):
        rows: list[dict[str, Any]] = []
        for number in range(n):
            scene = questions.compose(rng)
            path = f"Single/images/{number}.png"
            _save(scenes.render(scene, when="pre"), base / path)
            for each in questions.about(scene, rng):
                if len(each.wrong) < 3:
                    continue
                choices, at = questions.arranged(each, rng, at=len(rows))
                rows.append(generated.geobench_row(each, choices, at, path, len(rows)))
        _json(base / "Single" / "qa.json", rows)


def make_temporal(root: Path, n: int, seed: int) -> None:
    """Write n pairs per split in the layout of the part `Temporal`: which disaster happened."""
    rng = np.random.default_rng(seed)
    for base in (root / "train", root):
        rows: list[dict[str, Any]] = []
        for number in range(n):
            scene = scenes.compose(rng, count=(2, 4), disaster=None)
            paths = [f"Temporal/images/{number}_{when}.png" for when in ("pre", "mid", "post")]
            for path, when in zip(paths, ("pre", "post", "post"), strict=True):
                _save(scenes.render(scene, when=when), base / path)  # type: ignore[arg-type]
            others = [each for each in scenes.DISASTERS if each != scene.disaster]
            wrong = tuple(others[i] for i in rng.permutation(len(others))[:4])
            asked = questions.Question("Disaster Type Classification", "", scene.disaster, wrong)
            choices, at = questions.arranged(asked, rng, at=number)
            row = generated.geobench_row(asked, choices, at, "", number)
            row |= {
                "image_path": paths,
                "prompts": [
                    "What type of disaster happened between the images?",
                    "Which disaster do the pre and the post image show?",
                ],
            }
            rows.append(row)
        _json(base / "Temporal" / "qa.json", rows)


def make_refdet(root: Path, n: int, seed: int) -> None:
    """Write n images per split in the layout of the part `Ref-Det`, polygons in pixels."""
    rng = np.random.default_rng(seed)
    for base in (root / "train", root):
        rows: list[dict[str, Any]] = []
        for number in range(n):
            scene = questions.compose(rng)
            path = f"Ref-Det/images/ref_det_{number}.png"
            _save(scenes.render(scene, when="pre"), base / path)
            item = scene.items[int(rng.integers(len(scene.items)))]
            same = [each for each in scene.items if each.kind == item.kind]
            words = f"{item.kind}" if len(same) == 1 else f"all {item.kind}s"
            polygons = [_corners(each.box) for each in same]
            rows.append(
                {
                    "image_path": path,
                    "ground_truth": polygons,
                    "prompts": [f"Detect {words} in the image.", f"Where: {words}?"],
                    "task": "Referring Expression Detection",
                    "image_name": Path(path).name,
                    "question_id": number,
                }
            )
        _json(base / "Ref-Det" / "qa.json", rows)


def make_xlrs(root: Path, n: int, seed: int) -> None:
    """Write n images per split in the layout of XLRS-Bench-lite; some answers have two letters."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("index", "question")),
            ("multi-choice options", pa.list_(pa.string())),
            *((name, pa.string()) for name in ("answer", "category", "l2-category")),
            ("image", pa.list_(image)),
        ]
    )
    for base in (root / "train", root):
        rows: list[dict[str, Any]] = []
        for number in range(n):
            scene = questions.compose(rng, side_px=512)
            picture = {"bytes": _png(scenes.render(scene, when="pre")), "path": f"{number}.png"}
            for category, text, choices, right in generated.xlrs_questions(scene, rng, at=number):
                rows.append(
                    {
                        "index": str(len(rows)),
                        "question": f"{text}\n",
                        "multi-choice options": [
                            f"({letter}) {choice}"
                            for letter, choice in zip("ABCD", choices, strict=True)
                        ],
                        "answer": "".join("ABCD"[at] for at in sorted(right)),
                        "category": category,
                        "l2-category": category.partition("/")[0],
                        "image": [picture],
                    }
                )
        (base / "data").mkdir(parents=True, exist_ok=True)
        path = base / "data" / "train-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=4)


def make_vrsbench(root: Path, n: int, seed: int) -> None:
    """Write n images of 512 px per split, with all files of VRSBench."""
    rng = np.random.default_rng(seed)
    training: list[dict[str, Any]] = []
    truths: dict[str, list[dict[str, Any]]] = {"vqa": [], "referring": [], "Cap": []}
    for number in range(2 * n):
        train = number < n
        scene = questions.compose(rng, side_px=512)
        name = f"P{number:04d}_0000.png"
        folder = "Images_train" if train else "Images_val"
        _save(scenes.render(scene, when="pre"), root / folder / folder / name)
        found = {
            "vqa": generated.vrsbench_vqa(scene, rng),
            "referring": generated.vrsbench_refs(scene),
            "Cap": [{"question": vrsbench.CAPTION, "ground_truth": generated.described(scene)}],
        }
        for part, rows in found.items():
            for row in rows:
                if train:
                    training.append(generated.exchange(part, name, row, len(training)))
                    continue
                kept = {"image_id": name, "dataset": "RSBench", "question_id": len(truths[part])}
                truths[part].append({**kept, "type": "caption", **row})
    for part, rows in truths.items():
        _json(root / f"VRSBench_EVAL_{part}.json", rows)
    _json(root / "VRSBench_train.json", training)


def _corners(box: tuple[float, float, float, float]) -> list[list[float]]:
    x0, y0, x1, y1 = (float(v) for v in box)
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
