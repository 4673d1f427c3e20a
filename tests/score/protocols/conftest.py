"""Prediction files of a few lines, and their scores."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geovlm.score.protocols import catalogue, records, scoring
from geovlm.score.protocols.contract import Score


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write rows, objects or raw text, as a prediction file."""

    def make(*rows: dict[str, Any] | str) -> Path:
        path = tmp_path / "predictions.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return make


@pytest.fixture
def score(write: Callable[..., Path]) -> Callable[..., Score]:
    """Score rows by a protocol."""

    def make(protocol: str, *rows: dict[str, Any] | str) -> Score:
        found = catalogue.find(protocol)
        return scoring.score(records.read(write(*rows)), found, resamples=100)

    return make


@pytest.fixture
def own() -> Callable[..., dict[str, Any]]:
    """Build a line of GeoVLM's own evaluation; images of 100 x 100 px seen as they are."""
    numbers = itertools.count()

    def make(task: str, said: str, *, answer: str = "", **target: Any) -> dict[str, Any]:
        return {
            "task": task,
            "sample_id": f"s{next(numbers)}",
            "images": [{"path": "a.png"}],
            "question": "",
            "completion": f"<think> because </think><answer> {said} </answer>",
            "answer": answer,
            "target": target,
            "image_sizes": [[100, 100]],
            "input_sizes": [[100, 100]],
            "profile": "qwen2.5-vl",
            "meta": {},
        }

    return make
