from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from geovlm.api import LoadContext, Sample
from geovlm.data.prompts import Prompt, Prompter
from geovlm.plugins import registry
from geovlm.plugins.profiles import QWEN2_5_VL
from geovlm.plugins.references import resolve


@pytest.fixture
def read() -> Callable[..., tuple[list[Sample], Counter[str]]]:
    """Load a split of a data set; returns the samples and the reasons of what is absent."""

    def load(
        name: str, root: Path, split: Any = "test", *, limit: int | None = None, own: Any = None
    ) -> tuple[list[Sample], Counter[str]]:
        skipped: Counter[str] = Counter()
        spec = registry.load().dataset(name)
        context = LoadContext(
            root=root,
            split=split,
            limit=limit,
            options=own or (spec.options() if spec.options else None),
            skip=lambda reason, item: skipped.update([reason]),
        )
        return list(resolve(spec.load)(context)), skipped

    return load


@pytest.fixture
def ask() -> Callable[..., Prompt]:
    """Write the prompt of a task about a sample."""

    def prompt(task: str, sample: Sample, own: Any = None) -> Prompt:
        spec = registry.load().task(task)
        return Prompter(spec, profile=QWEN2_5_VL, options=own).prompt(sample)

    return prompt


@pytest.fixture
def choice_rows(tmp_path: Path) -> Callable[..., Path]:
    """Write rows of one task of CHOICE, with an image of 100 x 50 px for each."""

    def write(task: str, *rows: dict[str, Any], below: str = "") -> Path:
        folder = tmp_path / below / "perception" / "single_instance_identification" / task
        (folder / "images").mkdir(parents=True)
        made = []
        for number, row in enumerate(rows):
            Image.new("RGB", (100, 50)).save(folder / "images" / f"{number}.png")
            made.append({"id": f"id{number}", "image_path": f"images/{number}.png", **row})
        (folder / f"{task}.json").write_text(json.dumps(made), encoding="utf-8")
        return tmp_path

    return write
