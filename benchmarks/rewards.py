"""Measures the share of a GRPO step that rewards take.

    python benchmarks/rewards.py

Prints, in CPU seconds of one core: completions per second of the lexical rewards (answers of 25
words); milliseconds for 1,000 completions of 20 boxes against 20 true ones; how often the sentence
encoder is called for two batches with the same references; and the share of a GRPO step of `nano`
that all rewards of `--tasks` take, as the engine calls them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from functools import partial
from typing import Any

from transformers import AutoModelForImageTextToText, PrinterCallback
from trl import GRPOConfig

from geovlm import boxes, nano
from geovlm.api import RewardContext
from geovlm.boxes import reading
from geovlm.data import loading
from geovlm.data.prompts import Prompter
from geovlm.engine import rewards
from geovlm.engine.models.processor import load_processor
from geovlm.engine.rows import tokens
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row, Rows, dataset
from geovlm.engine.speedups import trial
from geovlm.engine.speedups.grpo_trainer import GroupTrainer
from geovlm.errors import GeoVLMError
from geovlm.plugins import registry
from geovlm.rewards import encoder
from geovlm.rewards.scoring import score

LEXICAL = ("format/think", "format/answer", "levenshtein", "jaccard", "exact", "caption_f1")
LABELS = ("recall", "label_f1")
BOXES = ("detection", "matched_iou")
TEXT = (
    "dense residential area with many small grey roofs beside a wide river two bridges some trees "
    "and a harbour full of white boats near long piers in the sun"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", default=["xbd", "rsvqa"], help="plugins of the step")
    parser.add_argument("--generations", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=100, help="of a completion")
    parser.add_argument("--steps", type=int, default=2, help="after one of warm-up")
    args = parser.parse_args()
    known = registry.load()
    rng = random.Random(0)
    for name in (*LEXICAL, *LABELS):
        texts, contexts = captions(rng, n=5000)
        seconds = timed(known.reward(name), texts, contexts, rounds=args.rounds)
        print(f"{name}: {5000 / seconds:,.0f} completions/s", flush=True)
    for name in BOXES:
        texts, contexts = crowded(rng, n=1000)
        seconds = timed(known.reward(name), texts, contexts, rounds=args.rounds)
        print(f"{name}: {1000 * seconds:.0f} ms for 1,000 completions of 20 boxes", flush=True)
    encoder_calls(rng)
    shares = step_shares(args, known)
    print(
        f"{args.generations * 4} completions of {args.tokens} tokens, {' and '.join(args.tasks)}: "
        f"rewards take {100 * statistics.median(shares):.1f} % of a step at 84 px "
        f"({100 * min(shares):.1f} to {100 * max(shares):.1f})"
    )
    return 0


def timed(reward: Any, texts: list[str], contexts: list[RewardContext], *, rounds: int) -> float:
    """Return the median CPU seconds of a batch."""
    seconds = []
    for _ in range(rounds):
        reading.read.cache_clear()  # a step's completions are new
        began = time.process_time()
        score(reward, texts, contexts)
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)


def context(known: Any, *, answer: str = "", **target: Any) -> RewardContext:
    return RewardContext(
        task="t",
        sample_id="s",
        question="?",
        answer=answer,
        target=target,
        image_sizes=((1024, 1024),),
        input_sizes=((1024, 1024),),
        profile=known.profile("qwen2_5_vl"),
    )


def captions(rng: random.Random, *, n: int) -> tuple[list[str], list[RewardContext]]:
    """Return answers of 25 words, no two alike, each about one of 50 images."""
    known = registry.load()
    labels = ["river", "harbour", "bridges", "trees", "piers", "forest", "road"]

    def sentence() -> str:
        return " ".join(rng.choices(TEXT.split(), k=25))

    asked = [
        context(
            known,
            answer=(gold := sentence()),
            captions=[gold],
            labels=rng.sample(labels, 2),
            vocabulary=labels,
        )
        for _ in range(50)
    ]
    texts = [f"<think>I see {i}.</think><answer>{sentence()}</answer>" for i in range(n)]
    return texts, [asked[i % 50] for i in range(n)]


def crowded(rng: random.Random, *, n: int) -> tuple[list[str], list[RewardContext]]:
    """Return answers of 20 boxes in images with 20."""
    known = registry.load()

    def twenty() -> list[list[float]]:
        corners = [(rng.randrange(900), rng.randrange(900)) for _ in range(20)]
        return [[x, y, x + rng.randrange(8, 100), y + rng.randrange(8, 100)] for x, y in corners]

    contexts = [context(known, boxes=twenty()) for _ in range(n)]
    texts = [
        f"<think>Many.</think><answer>{boxes.write(twenty(), each)}</answer>" for each in contexts
    ]
    return texts, contexts


def encoder_calls(rng: random.Random) -> None:
    """Print how often the sentence encoder is asked, and about how many texts."""
    try:
        model = encoder._load(encoder.find(None))
    except GeoVLMError as error:
        print(f"sbert: not measured, {error}")
        return
    asked: list[int] = []
    encode = model.encode
    model.encode = lambda texts, **kwargs: asked.append(len(texts)) or encode(texts, **kwargs)
    texts, contexts = captions(rng, n=64)
    known = registry.load()
    seconds = [timed(known.reward("sbert"), texts, contexts, rounds=1) for _ in range(2)]
    model.encode = encode
    print(
        f"sbert: 2 batches of 64 with the same 50 references, {len(asked)} encode calls "
        f"of {asked} texts, {seconds[0]:.2f} and {seconds[1]:.2f} s",
        flush=True,
    )


class Clocked(GroupTrainer):
    """Notes the share of CPU time that rewards take in a step."""

    shares: list[float]

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        self._rewards_s = 0.0
        began = time.process_time()
        loss = super().training_step(*args, **kwargs)
        self.shares.append(self._rewards_s / (time.process_time() - began))
        return loss

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        found = super()._calculate_rewards(*args, **kwargs)
        self._rewards_s += time.process_time() - began
        return found


def step_shares(args: argparse.Namespace, known: Any) -> list[float]:
    """Return the shares of steps on miniatures of the tasks' data."""
    profile = known.profile("qwen2_5_vl")
    tasks = [t for t in map(known.task, known.tasks) if t.name.split("/")[0] in args.tasks]
    rows: list[Row] = []
    for task in tasks:
        spec = known.dataset(task.dataset)
        root = loading.sample_root(spec, n=8, seed=0)
        records = loading.load_records(spec, root=root, split="train").records
        samples = loading.task_samples(task, records)[:4]
        rows += Rows(
            samples=samples, prompter=Prompter(task, profile=profile), instruction="Answer."
        )
    random.Random(0).shuffle(rows)
    columns = rewards.columns(tasks, registry=known, active="paper")
    processor = load_processor(str(nano.path()), min_pixels=84 * 84, max_pixels=84 * 84)
    model = AutoModelForImageTextToText.from_pretrained(nano.path())
    trial.find(model, processor, tower=model.base_model.visual, side=28, share_images=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Clocked(
            model=model,
            reward_funcs=rewards.trl_functions(
                columns,
                rows=rows,
                decode=partial(tokens.texts, processor),
                profile=profile,
                options={},
                log=rewards.CompletionLog(columns, write=lambda records: None),
            ),
            args=GRPOConfig(
                output_dir=folder,
                max_steps=args.steps + 1,
                per_device_train_batch_size=4 * args.generations,
                num_generations=args.generations,
                max_completion_length=args.tokens,
                generation_kwargs={"min_new_tokens": args.tokens},
                reward_weights=[column.weight for column in columns],
                gradient_checkpointing=False,
                remove_unused_columns=False,
                use_cpu=True,
                bf16=False,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
            ),
            train_dataset=dataset(
                rows,
                cache=ImageCache(),
                tokens=tokens.control_tokens(processor),
            ),
            processing_class=processor,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.shares = []
        trainer.train()
    return trainer.shares[1:]


if __name__ == "__main__":
    sys.exit(main())
