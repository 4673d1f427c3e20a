"""Compares the speed of an evaluation with that of one sample after the other.

    python benchmarks/evaluation.py --tasks xbd rsvqa captions --rows 96

Both sides answer the same rows of the plugins' miniatures with `nano`, greedily in float32, in
turns. `one by one` is a loop of `generate` over single samples; `batched` is the engine's way:
sorted by length, images and patches cached. Prints samples per second, the ratio, the share of
equal answers, and the share of padding among the prompts' tokens, in batches as the engine makes
them and in the order of the data set.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from geovlm import nano
from geovlm.api import ModelProfile
from geovlm.config.schema import RunConfig
from geovlm.data import loading
from geovlm.data.prompts import Prompter
from geovlm.engine.generation import answering, generate
from geovlm.engine.models import load as engine_model
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row, Rows
from geovlm.plugins import registry
from geovlm.plugins.registry import Registry


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["xbd", "rsvqa", "captions", "bigearthnet"])
    parser.add_argument("--rows", type=int, default=96, help="over all tasks")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=96, help="longest answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true", help="seconds of CPU, not of the clock")
    args = parser.parse_args()
    now = time.process_time if args.cpu_time else time.perf_counter
    known = registry.load()
    loaded = engine_model.load(str(nano.path()), RunConfig(device="cpu"), registry=known)
    model, processor = loaded.model, loaded.processor
    by_task = load(args.tasks, n=args.rows, known=known, profile=loaded.profile)
    rows = [row for many in by_task.values() for row in many]
    random.Random(0).shuffle(rows)

    def ask(batches: Sequence[Sequence[Row]]) -> dict[str, str]:
        cache, answers = ImageCache(), {}
        for batch in batches:
            texts = generate.complete(
                model,
                processor,
                batch,
                cache=cache,
                max_new_tokens=args.tokens,
            )
            answers.update(zip((row.key for row in batch), texts, strict=True))
        return answers

    length = generate.lengths(processor, profile=loaded.profile)
    singles = [[row] for row in rows]
    together = answering.batched(rows, size=args.batch, length=length)
    seconds: dict[str, list[float]] = {"one by one": [], "batched": []}
    answers: dict[str, dict[str, str]] = {}
    for _ in range(args.rounds):
        for side, batches in (("one by one", singles), ("batched", together)):
            processor.image_processor.made = type(processor.image_processor.made)()
            began = now()
            answers[side] = ask(batches)
            seconds[side].append(now() - began)
    ratios = [one / many for one, many in zip(*seconds.values(), strict=True)]
    for side, took in seconds.items():
        print(f"{side}: {len(rows) / statistics.median(took):.1f} samples/s")
    one, many = answers.values()
    same = sum(one[key] == many[key] for key in one)
    print(
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
        f"{same} of {len(rows)} answers are equal"
    )
    for key in [key for key in one if one[key] != many[key]][:3]:
        print(f"  {key!r}: {one[key]!r} and {many[key]!r}")
    for name, own in {**by_task, "all": rows}.items():
        shares = [
            padding(processor, order)
            for order in (
                answering.batched(own, size=args.batch, length=length),
                [own[i : i + args.batch] for i in range(0, len(own), args.batch)],
            )
        ]
        print(f"padding, {name}: {100 * shares[0]:.1f} % sorted, {100 * shares[1]:.1f} % unsorted")
    return 0


def load(
    tasks: Sequence[str], *, n: int, known: Registry, profile: ModelProfile
) -> dict[str, list[Row]]:
    """Return rows of the miniatures' test splits by plugin, about as many of each."""
    found: dict[str, list[Row]] = {}
    for plugin in tasks:
        own: list[Row] = []
        for task in (t for t in map(known.task, known.tasks) if t.name.split("/")[0] == plugin):
            spec = known.dataset(task.dataset)
            root = loading.sample_root(spec, n=32, seed=0)
            records = loading.load_records(spec, root=root, split="test").records
            samples = loading.task_samples(task, records)
            own += Rows(samples=samples, prompter=Prompter(task, profile=profile), instruction="")
        random.Random(0).shuffle(own)
        found[plugin] = own[: n // len(tasks)]
    return found


def padding(processor: Any, batches: Sequence[Sequence[Row]]) -> float:
    """Return the share of padding among the tokens of the batches' prompts."""
    cache, padded, total = ImageCache(), 0, 0
    for batch in batches:
        mask = generate.encode(processor, batch, cache=cache)["attention_mask"]
        padded += int((mask == 0).sum())
        total += mask.numel()
    return padded / total


if __name__ == "__main__":
    sys.exit(main())
