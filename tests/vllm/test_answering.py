"""Answers of evaluations, probes and predictions by vLLM, against those of transformers."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.vllm


def test_vllm_in_the_process_gives_the_answers_of_transformers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from geovlm import nano
    from geovlm.config.schema import RunConfig
    from geovlm.engine.rows.images import ImageCache
    from geovlm.engine.writers import opening
    from geovlm.engine.writers.writer import Expected
    from geovlm.plugins import registry
    from tests.vllm.rows import mixed

    rows, cache = mixed(tmp_path, number=96), ImageCache()
    plain = RunConfig(device="cpu")
    known, path = registry.load(), str(nano.path())
    with opening.writer(path, plain, registry=known) as ours:
        expected = ours.complete(rows, cache=cache, max_new_tokens=32)
    config = RunConfig.model_validate(plain.model_dump() | {"answering": {"generation": "vllm"}})
    with opening.writer(path, config, registry=known) as theirs:
        theirs.expect(Expected(rows, cache, 32))
        found = theirs.complete(rows, cache=cache, max_new_tokens=32)
        sampled = theirs.complete(rows[:8], cache=cache, max_new_tokens=32, temperature=0.9, seed=1)
        again = theirs.complete(rows[4:8], cache=cache, max_new_tokens=32, temperature=0.9, seed=1)
    assert found == expected
    assert len(set(expected)) > 3
    assert sampled[4:] == again
    assert sampled != expected[:8]
    assert "log-probabilities of 1 samples" in capfd.readouterr().err
