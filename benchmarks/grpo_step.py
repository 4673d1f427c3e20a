"""Compares the time of a GRPO step with that of a plain script with TRL.

    python benchmarks/grpo_step.py --pixels 84 224 448 --rounds 3

Both sides train the same model (nano, or one of 50 M random weights) on the same images, with the
same rewards, seed and arguments; they take turns, every other round in the opposite order, each in
a trainer of its own. `trl` is `GRPOTrainer` with the stock image processor; `geovlm` is the
engine's trainer and image processor: prompts computed once per group, images once per batch; `off`
is the engine's trainer with all of this switched off. Prints the median seconds of a step,
the ratio by round, that of each side's fastest step (what other work of the machine disturbs
least), and how far the norms of gradients are apart, relatively. On a machine that does other work
too, take `--cpu-time` and one thread.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from PIL import Image
from transformers import AutoModelForImageTextToText, PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.gpu import configuration
from geovlm import nano
from geovlm.engine.models.processor import load_processor
from geovlm.engine.speedups import trial
from geovlm.engine.speedups.grpo_trainer import GroupTrainer


class Clock(TrainerCallback):
    """Notes the seconds of every step and the norm of its gradient."""

    def __init__(self, *, cpu_time: bool) -> None:
        self._now = time.process_time if cpu_time else time.perf_counter
        self.seconds: list[float] = []
        self.gradients: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self._began = self._now()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.seconds.append(self._now() - self._began)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "grad_norm" in logs:
            self.gradients.append(logs["grad_norm"])


def rows(side: int, *, n: int) -> list[dict[str, Any]]:
    """Return prompts with one image of `side` x `side` pixels each, kept as pictures in memory."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(n):
        tile = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        found.append(
            {"image": tile, "prompt": [{"role": "user", "content": "How many buildings?"}]}
        )
    return found


def reward(completions: list[Any], **_: Any) -> list[float]:
    """Reward the letters of an answer: something that differs within a group."""
    return [sum(map(ord, one[0]["content"])) % 97 / 97 for one in completions]


def train(side: str, args: argparse.Namespace, *, pixels: int) -> Clock:
    """Train for some steps and return their times; the first one is warm-up."""
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_pretrained(args.weights, dtype=torch.float32)
    processor = load_processor(
        str(nano.path()),
        min_pixels=pixels * pixels,
        max_pixels=pixels * pixels,
        cache_patches=side == "geovlm",
    )
    clock = Clock(cpu_time=args.cpu_time)
    data = rows(pixels, n=args.prompts * (args.steps + 1))
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            max_steps=args.steps + 1,
            per_device_train_batch_size=args.prompts * args.generations,
            num_generations=args.generations,
            max_completion_length=args.tokens,
            generation_kwargs={"min_new_tokens": args.tokens},
            beta=args.beta,
            learning_rate=1e-5,
            gradient_checkpointing=False,
            temperature=0.9,
            use_cpu=args.device == "cpu",
            bf16=False,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            seed=0,
            disable_tqdm=True,
        )
        if side == "geovlm":
            trial.find(model, processor, tower=model.base_model.visual, side=28, share_images=True)
        own = {} if side == "trl" else {"share_prompt": side == "geovlm"}
        trainer = (GRPOTrainer if side == "trl" else GroupTrainer)(
            **own,
            model=model,
            reward_funcs=[reward],
            args=config,
            train_dataset=Dataset.from_list([{"i": i} for i in range(len(data))]).with_transform(
                lambda batch: {
                    name: [data[i][name] for i in batch["i"]] for name in ("image", "prompt")
                }
            ),
            processing_class=processor,
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    clock.seconds = clock.seconds[1:]
    return clock


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, nargs="+", default=[84, 224, 448], help="image side")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--size", choices=["nano", "50m"], default="nano", help="of the model")
    parser.add_argument("--prompts", type=int, default=4, help="per step")
    parser.add_argument("--generations", type=int, default=8, help="per prompt")
    parser.add_argument("--tokens", type=int, default=24, help="of a completion")
    parser.add_argument("--beta", type=float, default=0.04, help="weight of the KL term")
    parser.add_argument("--steps", type=int, default=2, help="per turn, after one of warm-up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=["geovlm", "off"], default="geovlm", help="beside trl")
    parser.add_argument("--cpu-time", action="store_true", help="seconds of CPU, not of the clock")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        args.weights = nano.path()
        if args.size != "nano":  # a file, from which TRL reads its reference too
            torch.manual_seed(0)
            args.weights = folder
            AutoModelForImageTextToText.from_config(configuration(args.size)).save_pretrained(
                folder
            )
        compare(args)
    return 0


def compare(args: argparse.Namespace) -> None:
    """Train both sides in turns, and print a line for every size of image."""
    for pixels in args.pixels:
        ratios, medians, apart = [], {"trl": [], args.side: []}, 0.0
        fastest = dict.fromkeys(medians, math.inf)
        for number in range(args.rounds):
            turn = list(medians)[:: -1 if number % 2 else 1]
            clocks = {side: train(side, args, pixels=pixels) for side in turn}
            for side, clock in clocks.items():
                medians[side].append(statistics.median(clock.seconds))
                fastest[side] = min(fastest[side], *clock.seconds)
            ratios.append(medians["trl"][-1] / medians[args.side][-1])
            pairs = zip(clocks["trl"].gradients, clocks[args.side].gradients, strict=True)
            apart = max(apart, *(abs(a - b) / a for a, b in pairs))
        between = f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"
        print(
            f"{pixels} px, {args.prompts} prompts x {args.generations}, beta {args.beta:g}: "
            f"trl {statistics.median(medians['trl']):.2f} s, "
            f"{args.side} {statistics.median(medians[args.side]):.2f} s, {between}, fastest steps "
            f"{fastest['trl'] / fastest[args.side]:.3f}x; gradient norms within {apart:.1e}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
