"""Compares vLLM with transformers on real rows, before the long work begins.

Two ways that share no code but the tokenizer must see the same prompt and give the same chances to
the same tokens. What fails it: another chat template, other pixel limits, other weights (a base
model in place of the policy), images that are expanded twice.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from geovlm.engine.generation import generate
from geovlm.engine.models.load import Loaded
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row
from geovlm.errors import RunFailedError

ROWS = 4
"""Rows that are compared, of as many tasks as possible."""
TOKENS = 16
"""Longest answer that is compared."""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.05}
"""Largest mean difference of log-probabilities: float32 is measured at 4e-5, bfloat16 at 6e-3."""
_FAULT_HINT = "use generation transformers, or the versions of constraints.txt"


class Answer(NamedTuple):
    """A greedy answer with the chances of its tokens, before temperature and bias."""

    prompt_ids: list[int]
    """Tokens of the prompt, those of its images included."""
    ids: list[int]
    """Tokens of the answer, the one that ends it included."""
    logprobs: list[float]


class Reference(NamedTuple):
    """The answer of transformers to one row."""

    row: Row
    answer: Answer
    chances: torch.Tensor
    """Log-probabilities of all tokens at each place of the answer: (tokens, vocabulary)."""


def choose(rows: Sequence[Row]) -> list[Row]:
    """Return the rows to compare: of each task the first with most images, at most `ROWS`."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.task not in best or len(row.images) > len(best[row.task].images):
            best[row.task] = row
    return list(best.values())[:ROWS]


def answer(loaded: Loaded, rows: Sequence[Row], *, cache: ImageCache) -> list[Reference]:
    """Return the greedy answers of transformers, each asked alone."""
    found = []
    model: Any = loaded.model
    model.eval()
    for row in rows:
        inputs = generate.encode(loaded.processor, [row], cache=cache).to(model.device)
        with torch.no_grad():
            output = model.generate(
                **inputs,
                max_new_tokens=TOKENS,
                do_sample=False,
                temperature=None,
                repetition_penalty=1.0,
                suppress_tokens=generate.image_tokens(loaded.processor),
                output_logits=True,
                return_dict_in_generate=True,
            )
        asked = inputs["input_ids"][0].tolist()
        ids = output.sequences[0, len(asked) :].tolist()
        chances = torch.stack([each[0].float().cpu() for each in output.logits]).log_softmax(-1)
        logprobs = chances.gather(1, torch.tensor(ids)[:, None])[:, 0].tolist()
        found.append(Reference(row, Answer(asked, ids, logprobs), chances))
    return found


def compare(
    references: Sequence[Reference], answers: Sequence[Answer], *, tolerance: float, who: str
) -> float:
    """Return the mean difference of log-probabilities of the answers of `who`.

    Tokens are compared up to the first one that differs, and this one with transformers' chance of
    it: where two tokens are about as likely, either may be taken.

    Raises:
        RunFailedError: prompts or log-probabilities differ; names the row, and what differs.
    """
    means = []
    for reference, own in zip(references, answers, strict=True):
        where = f"sample {reference.row.sample_id!r} of task {reference.row.task!r}"
        _same_prompt(reference.answer, own, where=where, who=who)
        differences = []
        for place, (token, logprob) in enumerate(zip(own.ids, own.logprobs, strict=True)):
            if place >= len(reference.chances):
                break
            differences.append(abs(float(reference.chances[place, token]) - logprob))
            if token != reference.answer.ids[place]:
                break
        mean = statistics.fmean(differences) if differences else float("inf")
        if not mean <= tolerance:
            raise RunFailedError(
                f"{who} and transformers differ: the log-probabilities of {where} are {mean:.2g} "
                f"apart per token, {tolerance:g} are allowed; another model, or other images?",
                hint=f"give the model that the server has; or {_FAULT_HINT}; "
                "answering.tolerance allows more",
            )
        means.append(mean)
    return statistics.fmean(means)


def _same_prompt(reference: Answer, own: Answer, *, where: str, who: str) -> None:
    if reference.prompt_ids == own.prompt_ids:
        return
    ours, theirs = reference.prompt_ids, own.prompt_ids
    place = next(
        (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
        min(len(ours), len(theirs)),
    )
    raise RunFailedError(
        f"{who} reads another prompt than transformers: {where} has {len(theirs)} tokens in place "
        f"of {len(ours)}, and differs from token {place} on; other pixel limits or chat template?",
        hint=f"start the server by geovlm serve with the same settings; or {_FAULT_HINT}",
    )
