"""Answers by vLLM in the process against those of transformers in batches; seconds of CPU.

    .venv-vllm/bin/python -m benchmarks.answering [--shape 50m] [--rows 96] [--rounds 3]

Both answer the same generated rows of one image and of two, greedy, in float32 on one thread, in
turns within each round; prompts are written and images read on both sides. Seconds are those of the
processor, so that other programs on the machine count little. The start of vLLM is counted once,
the comparison with transformers included. `--shape 50m` is a Qwen2.5-VL of random weights with the
vocabulary and processor of `nano`. It prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=("nano", "50m"), default="nano")
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(measure(Path(scratch), args)))


def measure(scratch: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return seconds per pass, ratios and the rows after which vLLM's start is won back."""
    from geovlm import nano
    from geovlm.config.schema import RunConfig
    from geovlm.engine.rows.images import ImageCache
    from geovlm.engine.writers import opening
    from geovlm.engine.writers.writer import Expected
    from geovlm.plugins import registry
    from tests.vllm.rows import mixed

    path = str(nano.path()) if args.shape == "nano" else str(larger(scratch / "model"))
    known, rows = registry.load(), mixed(scratch, number=args.rows)
    plain = RunConfig(device="cpu")
    by_vllm = RunConfig.model_validate(plain.model_dump() | {"answering": {"generation": "vllm"}})
    seconds: dict[str, list[float]] = {"transformers": [], "vllm": []}
    answers: dict[str, list[str]] = {}
    with (
        opening.writer(path, plain, registry=known) as ours,
        opening.writer(path, by_vllm, registry=known) as theirs,
    ):
        theirs.expect(Expected(rows, ImageCache(), args.tokens))
        began = time.process_time()
        theirs.complete(rows[:1], cache=ImageCache(), max_new_tokens=1)
        start = time.process_time() - began
        for number in range(args.rounds):
            sides = [("transformers", ours), ("vllm", theirs)]
            for name, writer in sides[:: 1 if number % 2 else -1]:
                if name == "vllm":
                    theirs._engine.reset_mm_cache()  # type: ignore[attr-defined]
                    theirs._engine.reset_prefix_cache()  # type: ignore[attr-defined]
                began, found, cache = time.process_time(), [], ImageCache()
                for at in range(0, len(rows), args.batch):
                    part = rows[at : at + args.batch]
                    found += writer.complete(part, cache=cache, max_new_tokens=args.tokens)
                seconds[name].append(time.process_time() - began)
                answers[name] = found
    ratios = [a / b for a, b in zip(seconds["transformers"], seconds["vllm"], strict=True)]
    spared = (
        statistics.median(seconds["transformers"]) - statistics.median(seconds["vllm"])
    ) / len(rows)
    return {
        "shape": args.shape,
        "rows": len(rows),
        "equal": sum(a == b for a, b in zip(*answers.values(), strict=True)),
        "seconds": {name: [round(each, 2) for each in many] for name, many in seconds.items()},
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(each, 2) for each in ratios],
        "start": round(start, 1),
        "rows_to_win_the_start_back": round(start / spared) if spared > 0 else None,
    }


def larger(folder: Path) -> Path:
    """Write a Qwen2.5-VL of 50 M parameters with random weights; returns its folder."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    from geovlm import nano
    from geovlm.config.schema import RunConfig
    from geovlm.engine.models import load
    from geovlm.plugins import registry

    config = AutoConfig.from_pretrained(nano.path())
    text, tower = config.text_config, config.vision_config
    text.hidden_size, text.intermediate_size = 512, 2048
    text.num_hidden_layers, text.num_attention_heads, text.num_key_value_heads = 10, 8, 4
    text.head_dim = 64
    text.layer_types = ["full_attention"] * text.num_hidden_layers
    text.rope_parameters = {**text.rope_parameters, "mrope_section": [8, 12, 12]}
    tower.hidden_size, tower.intermediate_size, tower.depth, tower.num_heads = 384, 1024, 6, 6
    tower.out_hidden_size = text.hidden_size
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    processor, _ = load.load_reader(str(nano.path()), RunConfig(), registry=registry.load())
    load.save(model, processor, folder)
    return folder


if __name__ == "__main__":
    main()
