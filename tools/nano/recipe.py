"""Pretrains nano from scratch: ``python -m tools.nano.recipe --out DIR --steps N --seed 0``.

The first `--seeing-steps` show images alone: the vision tower and the first layers of the language
model learn maps of them (`tools.nano.dense`). Then questions are asked beside the maps, several
about each place. Each scene is used once. A run that was interrupted goes on when the same command
is given again. The folder can be loaded after a tenth of the steps, and holds the model card with
the final scores at the end. All arithmetic is float32: a CPU without bfloat16 instructions emulates
them, 23 times slower.
"""

from __future__ import annotations

import argparse
import copy
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

from geovlm.engine.models.processor import save_processor
from tools.nano import architecture, corpus, dense, processor, scoring, tokenizer
from tools.nano.batch import Pack, pack
from tools.nano.card import Provenance, card
from tools.nano.optimizer import Both
from tools.nano.questions import FAMILIES, SEEING, draw_pack
from tools.nano.settings import Settings

_STATE = "training.pt"
_SHOWN_EVERY, _SAVED_EVERY = 25, 200
_EASY = 0.1
"""Share of the steps with questions that ask for short, untagged answers about one image."""


class _Batches(Dataset):
    """Batch number `i` of a run, a function of (seed, i), in parts of similar length."""

    def __init__(self, words: PreTrainedTokenizerBase, settings: Settings, *, first: int) -> None:
        self.words, self.settings, self.first = words, settings, first

    def __len__(self) -> int:
        return self.settings.steps - self.first

    def __getitem__(self, index: int) -> list[tuple[Pack, dict[str, torch.Tensor]]]:
        own, step = self.settings, index + self.first
        rng = np.random.default_rng((own.seed, step))
        if step < own.seeing_steps:
            packs = [draw_pack(rng, questions=0) for _ in range(own.places)]
        elif step < own.seeing_steps + _EASY * (own.steps - own.seeing_steps):
            packs = [draw_pack(rng, families=SEEING, tagged=0.0) for _ in range(own.places)]
        else:
            focus = tuple(filter(None, own.focus.split(",")))
            packs = [draw_pack(rng, focus=focus) for _ in range(own.places)]
        packs.sort(key=lambda each: len(each[0].images))
        half = (len(packs) + 1) // 2
        return [self._part(part) for part in (packs[:half], packs[half:]) if part]

    def _part(self, packs: list[Any]) -> tuple[Pack, dict[str, torch.Tensor]]:
        targets = [
            dense.maps(scene, before=before) for place, _ in packs for scene, before in place.states
        ]
        images = [place.images for place, _ in packs]
        return pack(images, [own for _, own in packs], self.words), dense.stack(targets)


def train(out: Path, settings: Settings, *, threads: int) -> None:
    """Train a model and write its folder `out`; go on where an interrupted run left it."""
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    stored = out / _STATE
    state = torch.load(stored) if stored.is_file() else None
    begun = out if state is not None else settings.start
    if begun:
        words = AutoTokenizer.from_pretrained(begun)
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(begun)
    else:
        words = tokenizer.train(corpus.text(seed=settings.seed))
        model = architecture.build(words, seed=settings.seed)
    model.train()
    heads = dense.Heads(model.lm_head.in_features)
    optimizer = Both(model.model, heads, lr=settings.learning_rate)
    step, seconds = 0, 0.0
    if state is not None:
        model.load_state_dict(state["model"])
        heads.load_state_dict(state["heads"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    _attend_together(model)
    size = sum(weight.numel() for weight in model.parameters())
    print(f"{size / 1e6:.2f} M parameters, {len(words)} tokens, from step {step}", flush=True)
    batches = DataLoader(
        _Batches(words, settings, first=step), batch_size=None, num_workers=1, prefetch_factor=4
    )
    started, first, seen = time.monotonic(), step, []
    for parts in batches:
        step += 1
        n = sum(int((part.labels != -100).sum()) for part, _ in parts)
        losses: dict[str, float] = {}
        for part, targets in parts:
            found = _losses(model, heads, part, targets, n=n)
            weight = (settings.maps if n else 1.0) * len(part.ids) / settings.places
            loss = weight * torch.stack([v for k, v in found.items() if k != "answers"]).sum()
            (loss + found["answers"] if n else loss).backward()
            for name, value in found.items():
                share = 1.0 if name == "answers" else 1 / len(parts)
                losses[name] = losses.get(name, 0.0) + share * value.item()
        optimizer.step(lr=settings.rate(step))
        seen.append(losses)
        if step % _SHOWN_EVERY == 0 or step == settings.steps:
            rate = (step - first) / (time.monotonic() - started)
            print(_progress(step, seen[-_SHOWN_EVERY:], rate=rate, settings=settings), flush=True)
        if step % _SAVED_EVERY == 0 and step < settings.steps:
            now = {"step": step, "seconds": seconds + time.monotonic() - started}
            _save(model, words, out)
            parts_of_state = {
                "model": model.state_dict(),
                "heads": heads.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            torch.save(now | parts_of_state, stored)
        if step > settings.seeing_steps and step % 500 == 0:
            print(_line(_measure(model, words, n=16, tagged=0.5)), flush=True)
    _save(model, words, out)
    final = measure(model, words, n=100)
    for name, values in final.items():
        print(name, _line(values), flush=True)
    seconds += time.monotonic() - started
    text = card(final, made=Provenance(settings=settings, size=size, seconds=seconds))
    (out / "README.md").write_text(text, encoding="utf-8")
    stored.unlink(missing_ok=True)


def _losses(
    model: Qwen2_5_VLForConditionalGeneration,
    heads: dense.Heads,
    part: Pack,
    targets: dict[str, torch.Tensor],
    *,
    n: int,
) -> dict[str, torch.Tensor]:
    """Return the losses of the maps, and the cross-entropy of the answers divided by `n`."""
    language = model.model.language_model
    images = model.model.visual(part.pixel_values, grid_thw=part.image_grid_thw).pooler_output
    hidden = language.embed_tokens(part.ids)
    hidden = hidden.masked_scatter(part.is_image[..., None], images)
    rotary = language.rotary_emb(hidden, part.positions)
    found: dict[str, torch.Tensor] = {}
    for number, layer in enumerate(language.layers, 1):
        hidden = layer(hidden, attention_mask=part.mask, position_embeddings=rotary)
        if number == dense.LAYER:
            tokens = hidden[part.is_image].reshape(-1, architecture.VISUAL_TOKENS, hidden.shape[-1])
            found = heads.losses(images.reshape(tokens.shape), tokens, targets)
            if not n:
                return found
    asked = part.labels != -100
    logits = model.lm_head(language.norm(hidden[asked]))
    total = functional.cross_entropy(logits, part.labels[asked], reduction="sum")
    return found | {"answers": total / n}


def _attend_together(model: Qwen2_5_VLForConditionalGeneration) -> None:
    """Let the vision tower attend in all images at once; the stock code takes image by image.

    Correct only because every image has the same number of patches; saves a fifth of a step.
    """

    def forward(
        self: Any,
        hidden_states: torch.Tensor,
        cu_seqlens: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        **_: object,
    ) -> torch.Tensor:
        patches = hidden_states.shape[0]
        shape = (patches, 3, self.num_heads, -1)
        q, k, v = self.qkv(hidden_states).reshape(shape).permute(1, 0, 2, 3).unbind(0)
        q, k = apply_rotary_pos_emb_vision(q, k, *position_embeddings)
        by_image = (len(cu_seqlens) - 1, -1, self.num_heads, v.shape[-1])
        q, k, v = (x.to(v.dtype).reshape(by_image).transpose(1, 2) for x in (q, k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(patches, -1))

    for block in model.model.visual.blocks:
        block.attn.forward = types.MethodType(forward, block.attn)


def _measure(
    model: Qwen2_5_VLForConditionalGeneration,
    words: PreTrainedTokenizerBase,
    *,
    n: int,
    tagged: float,
) -> dict[str, float]:
    examples = scoring.held_out(n=n, tagged=tagged)
    model.eval()
    texts = scoring.answer(model, words, examples)
    model.train()
    return scoring.scores(examples, texts)


def _progress(step: int, recent: list[dict[str, float]], *, rate: float, settings: Settings) -> str:
    means = {name: float(np.mean([s[name] for s in recent if name in s])) for name in recent[-1]}
    losses = " ".join(f"{name} {value:.3f}" for name, value in means.items())
    left = (settings.steps - step) / rate / 60
    return f"step {step} {losses} {rate:.2f}/s, {left:.1f} min left"


def measure(
    model: Qwen2_5_VLForConditionalGeneration, words: PreTrainedTokenizerBase, *, n: int
) -> dict[str, dict[str, float]]:
    """Return the scores of the card per family, of `n` held-out examples each.

    They are those of plain and of tagged questions, of plain questions with the images of others,
    and of the most frequent answer.
    """
    model.eval()
    plain, tagged = (scoring.held_out(n=n, tagged=share) for share in (0.0, 1.0))
    columns = {"plain": plain, "tagged": tagged, "other images": scoring.shuffled(plain)}
    found = {
        name: scoring.scores(examples, scoring.answer(model, words, examples))
        for name, examples in columns.items()
    }
    return found | {"most frequent answer": scoring.most_frequent(plain)}


def _line(values: dict[str, float]) -> str:
    return ", ".join(f"{family} {value:.2f}" for family, value in values.items())


def _save(
    model: Qwen2_5_VLForConditionalGeneration, words: PreTrainedTokenizerBase, out: Path
) -> None:
    """Write weights as float16 under a configuration that loads them as float32."""
    copy.deepcopy(model).half().save_pretrained(out)
    config = out / "config.json"
    config.write_text(config.read_text().replace('"float16"', '"float32"'), encoding="utf-8")
    save_processor(processor.build(words), out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.nano.recipe", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=4000, help="of all training")
    parser.add_argument("--seeing-steps", type=int, default=800, help="of these, without questions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--places", type=int, default=24, help="scenes per step")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="highest")
    parser.add_argument("--maps", type=float, default=0.1, help="weight of maps beside questions")
    parser.add_argument(
        "--focus", default="", help="families asked four times as often, separated by commas"
    )
    parser.add_argument("--start", default="", help="folder of this recipe to go on from")
    given = vars(parser.parse_args(arguments))
    if unknown := set(filter(None, given["focus"].split(","))) - set(FAMILIES):
        parser.error(f"--focus: no family {sorted(unknown)[0]!r}; there are {', '.join(FAMILIES)}")
    out, threads = given.pop("out"), given.pop("threads")
    train(out, Settings(**given), threads=threads)


if __name__ == "__main__":
    main()
