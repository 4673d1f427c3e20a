"""What blind policies earn on real exchanges: those that EarthDial's prediction files hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from geovlm_geochat import GeoChatOptions, data
from PIL import Image

from geovlm.api import LoadContext, Sample
from geovlm.data.loading import task_samples
from geovlm.plugins import registry
from geovlm.rewards.audit.audit import audit

ROWS = 600
FILES = {"caption": ("rs_region_captioning", "annotation"), "refer": ("rs_detection", "gt_bbox")}
"""Kind -> folder of its file, and the field with the truth."""


def spoken(text: str) -> str:
    """EarthDial's boxes and phrases as GeoChat writes them."""
    boxes = re.sub(r"\[*\[(\d+), (\d+), (\d+), (\d+), (\d+)\]\]*", r"{<\1><\2><\3><\4>|<\5>}", text)
    return boxes.replace("ref>", "p>").replace("<box>", "").replace("</box>", "")


def image_of(split: str) -> str:
    return next(f"{n}.png" for n in range(1000) if data.split_of(f"{n}.png") == split)


def write(root: Path, source: Path, *, gold: str) -> None:
    """Write the rows in the layout of GeoChat-Instruct, by turns for training and test."""
    images = root / "images"
    images.mkdir()
    names = [image_of("train"), image_of("test")]
    for name in names:
        Image.new("RGB", (504, 504)).save(images / name)
    rows = [json.loads(line) for line in source.read_text().splitlines()[:ROWS]]
    records = [
        {
            "image": names[number % 2],
            "conversations": [
                {"from": "human", "value": spoken(row["question"])},
                {"from": "gpt", "value": spoken(row[gold])},
            ],
        }
        for number, row in enumerate(rows)
    ]
    (root / data.INSTRUCT).write_text(json.dumps(records))


@pytest.mark.parametrize("kind", ["caption", "refer"])
def test_the_robust_set_passes_on_real_exchanges(realdata: Path, tmp_path: Path, kind: str) -> None:
    folder, gold = FILES[kind]
    write(tmp_path, realdata / "EarthDial_eval_results" / folder / "GeoChat.jsonl", gold=gold)
    loaded = registry.load()
    task = loaded.task(f"geochat/{kind}")

    def read(split: Any) -> list[Sample]:
        options = GeoChatOptions(images=str(tmp_path / "images"))
        ctx = LoadContext(root=tmp_path, split=split, options=options)
        return task_samples(task, data.load(ctx))

    found = audit(task, registry=loaded, samples=read("test"), train=read("train"), sets=["robust"])
    assert found.n > ROWS / 4
    assert found.rewards["robust"]["total"].passes, found
