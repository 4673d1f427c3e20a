"""vLLM in this process answers as transformers does."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.vllm


def test_greedy_answers_are_those_of_transformers(tmp_path: Path) -> None:
    from vllm import LLM, SamplingParams

    from geovlm import nano
    from geovlm.config.schema import RunConfig
    from geovlm.engine.generation.generate import complete, image_tokens
    from geovlm.engine.models import load
    from geovlm.engine.rows import rendering, tokens
    from geovlm.engine.rows.images import ImageCache
    from geovlm.engine.rows.rows import messages, pictures
    from geovlm.plugins import registry
    from tests.vllm.rows import mixed

    rows, cache = mixed(tmp_path, number=12), ImageCache()
    loaded = load.load(str(nano.path()), RunConfig(device="cpu"), registry=registry.load())
    processor = loaded.processor
    expected = [
        complete(loaded.model, processor, [row], cache=cache, max_new_tokens=32)[0] for row in rows
    ]
    control = tokens.control_tokens(processor)
    served = LLM(
        str(nano.path()), dtype="float32", enforce_eager=True, max_model_len=512, max_num_seqs=8
    )
    found = served.generate(
        [
            {
                "prompt": rendering.prompt(processor, messages(row, tokens=control)),
                "multi_modal_data": {"image": pictures(row, cache=cache)},
            }
            for row in rows
        ],
        SamplingParams(
            temperature=0.0,
            max_tokens=32,
            stop_token_ids=list(loaded.chat.stops),
            logit_bias=dict.fromkeys(image_tokens(processor) or [], -100.0),
        ),
        use_tqdm=False,
    )
    assert tokens.texts(processor, [each.outputs[0].token_ids for each in found]) == expected
    assert len(set(expected)) > 3
