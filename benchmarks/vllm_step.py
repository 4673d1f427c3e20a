"""A GRPO step with completions of transformers, of vLLM in the process and of a vLLM server.

    .venv-vllm/bin/python -m benchmarks.vllm_step [--steps 6] [--rounds 3] [--tokens 32]

All train the built-in model in float32 on the same generated rows of one image and of two, on one
thread, in turns within each round, every other round in the opposite order. Seconds are those of
the processor, the server's included, so that other programs on the machine count little. The first
step of each turn is left out. The start of vLLM is counted once. It prints one line of JSON.
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

import psutil

WAYS = ("transformers", "vllm-colocate", "vllm-server")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=32)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    from tests.vllm import conftest

    for name, value in conftest.SETTINGS.items():
        os.environ.setdefault(name, value)
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(measure(Path(scratch), args)))


def measure(scratch: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return seconds per step, their ratios, and the seconds of both starts."""
    from geovlm.engine.training import trl_vllm
    from tests.vllm import conftest
    from tests.vllm.rows import mixed

    rows = mixed(scratch, number=2 * args.steps)
    build, engines, starts = trl_vllm._llm, [], {}

    def once(**given: Any) -> Any:
        if not engines:
            began = spent()
            engines.append(build(**given))
            starts["vllm-colocate"] = spent() - began
        return engines[0]

    trl_vllm._llm = once  # type: ignore[assignment]
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    began = spent()
    with conftest.serving(scratch) as server:
        starts["vllm-server"] = spent() - began
        for number in range(args.rounds):
            for way in WAYS[:: 1 if number % 2 else -1]:
                folder = scratch / f"{way}-{number}"
                chosen = [f"max_new_tokens={args.tokens}"]
                if way == "vllm-server":
                    chosen.append(f"stages.2.vllm.url={server.url}")
                seconds[way].append(step(folder, rows, chosen, way=way, steps=args.steps))
    found = {way: statistics.median(each) for way, each in seconds.items()}
    return {
        "seconds": {way: [round(one, 2) for one in each] for way, each in seconds.items()},
        "ratio": {way: round(found["transformers"] / each, 2) for way, each in found.items()},
        "start": {way: round(each, 1) for way, each in starts.items()},
    }


def step(folder: Path, rows: list[Any], chosen: list[str], *, way: str, steps: int) -> float:
    """Return the mean seconds of a step after the first."""
    from transformers import PrinterCallback, TrainerCallback

    from tests.vllm import stages

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(spent())

    trainer = stages.trainer(folder, rows, *chosen, generation=way, steps=steps)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Clock())
    trainer.train()
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def spent() -> float:
    """Return the seconds of the processor of this process and of all below it."""
    children = psutil.Process().children(recursive=True)
    return time.process_time() + sum(sum(each.cpu_times()[:2]) for each in children)


if __name__ == "__main__":
    main()
