"""The doctor's comparison of vLLM with transformers, sound and with planted faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.vllm

SOUND = [
    "text",
    "one image",
    "two images",
    "changed norms",
    "changed embeddings and the tied head",
    "changed attention",
    "changed feed-forward layers",
    "changed vision tower",
    "changed projection of images",
    "LoRA adapter",
]


def test_a_sound_vllm_answers_as_transformers(one_engine: None, tmp_path: Path) -> None:
    from geovlm.engine.programs import vllm_sync

    parts = vllm_sync.check(tmp_path, on_cpu=True)
    assert [each.name for each in parts] == SOUND
    assert [each.problem for each in parts] == [""] * len(SOUND)
    assert max(each.apart or 1.0 for each in parts) < 1e-5
    assert min(each.from_old for each in parts[3:] if each.from_old is not None) > 0.01


def test_faults_are_named(one_engine: list[Any], tmp_path: Path, monkeypatch: Any) -> None:
    from geovlm.engine.programs import vllm_sync
    from geovlm.engine.training.trl_vllm import Generation

    for engine in one_engine:  # what an earlier test asked
        engine.llm_engine.engine_core.reset_encoder_cache()
    monkeypatch.setattr(Generation, "asked", lambda self, prompts: prompts)
    monkeypatch.setattr(Generation, "forget_images", lambda self: None)
    parts = {each.name: each.problem for each in vllm_sync.check(tmp_path, on_cpu=True)}
    assert parts["text"] == ""
    assert "expanded twice" in parts["one image"]
    assert "still holds features" in parts["two images"]
