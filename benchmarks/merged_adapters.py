"""Completions with LoRA adapters merged, not merged, and of the model without adapters.

    python -m benchmarks.merged_adapters [--rows 32] [--rounds 5] [--tokens 48]

`nano` with the default adapters (rank 64, all linear layers of the text decoder), sampled, in
float32 on one thread, in turns within each round. Merging and putting the weights back are counted.
Seconds are those of the processor. It prints one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=48)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(measure(Path(scratch), args)))


def measure(scratch: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return seconds of every way and round, and medians relative to the bare model."""
    import torch
    from peft import get_peft_model

    from geovlm import nano
    from geovlm.config.schema import RunConfig
    from geovlm.engine.generation import generate
    from geovlm.engine.models import adapters, load
    from geovlm.engine.rows.images import ImageCache
    from geovlm.engine.speedups import merged
    from geovlm.plugins import registry
    from tests.vllm.rows import mixed

    config = RunConfig.model_validate({"device": "cpu", "lora": {}})
    loaded = load.load(str(nano.path()), config, registry=registry.load())
    chosen = adapters.of_run(config, loaded.profile, model=loaded.model)
    model: Any = get_peft_model(loaded.model, chosen)
    for name, weight in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(weight, std=0.01)
    rows, cache = mixed(scratch, number=args.rows), ImageCache()
    ways: dict[str, Any] = {
        "bare": model.disable_adapter,
        "adapters": contextlib.nullcontext,
        "merged": lambda: merged.merged(model),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    texts: dict[str, list[str]] = {}
    inputs = generate.encode(loaded.processor, rows, cache=cache)
    model.eval()
    for number in range(args.rounds + 1):  # the first one is not counted
        for name in list(ways)[:: 1 if number % 2 else -1]:
            began = time.process_time()
            with ways[name](), torch.no_grad():
                ids = model.generate(
                    **inputs,
                    do_sample=False,
                    max_new_tokens=args.tokens,
                    min_new_tokens=args.tokens,
                )
            if number:
                seconds[name].append(time.process_time() - began)
            texts[name] = loaded.processor.batch_decode(ids)
    medians = {name: statistics.median(many) for name, many in seconds.items()}
    return {
        "rows": args.rows,
        "tokens": args.tokens,
        "seconds": {name: [round(each, 2) for each in many] for name, many in seconds.items()},
        "relative": {name: round(each / medians["bare"], 2) for name, each in medians.items()},
        "equal": sum(a == b for a, b in zip(texts["adapters"], texts["merged"], strict=True)),
    }


if __name__ == "__main__":
    main()
