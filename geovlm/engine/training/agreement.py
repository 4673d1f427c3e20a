"""Refuses completions that vLLM made of other prompts, or by other weights, than the trainer's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from geovlm.errors import RunFailedError

UNTESTED = "use generation='transformers', or the versions of constraints-vllm.txt"
"""Advice where vLLM or TRL does what no tested version does."""
TOLERANCES: Mapping[torch.dtype, float] = {
    torch.float32: 1e-3,
    torch.bfloat16: 0.1,
    torch.float16: 0.1,
}
"""Precision -> largest mean difference of log-probabilities of a batch, nats per token.

vLLM never writes tokens of images and reports log-probabilities of the other tokens; the trainer
leaves images a share, which is part of the difference: up to 1.3e-4 of the built-in model, more
where training goes wrong. Without it the two are within 1e-5 in float32; bfloat16 adds 0.02. Faults
begin at 0.01 and 0.17."""


def require_prompts(
    trainer: Sequence[Sequence[int]], vllm: Sequence[Sequence[int]], *, token: int | None
) -> None:
    """Refuse prompts of vLLM that are not those of the trainer; `token` stands for images.

    Raises:
        RunFailedError: names the first row, and the likely reason.
    """
    for row, (own, other) in enumerate(zip(trainer, vllm, strict=True)):
        if list(own) != list(other):
            raise _other_prompt(row, list(own), list(other), token=token)


def refuse_dropout(model: torch.nn.Module) -> None:
    """Refuse a model that would score completions with dropout, which vLLM never has.

    Raises:
        RunFailedError: names the first module.
    """
    if not model.training:
        return
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and module.p:
            raise RunFailedError(
                f"dropout is on while completions are scored: {name} drops {module.p:g}",
                hint="leave out trainer.disable_dropout, or use generation='transformers'",
            )


def require_logprobs(trainer: Tensor, vllm: Tensor, mask: Tensor, *, dtype: torch.dtype) -> None:
    """Refuse a batch whose log-probabilities (rows, tokens) differ; `mask` is 1 at their tokens.

    Tokens without a log-probability of vLLM, NaN, do not count.

    Raises:
        RunFailedError: their mean difference is above `TOLERANCES`; names the first such row.
    """
    counted = mask.bool() & ~vllm.isnan()
    apart = torch.where(counted, (trainer - vllm).abs(), 0.0).double()
    limit = TOLERANCES[dtype]
    mean = float(apart.sum() / counted.sum().clamp(min=1))
    if mean <= limit:
        return
    rows = apart.sum(dim=-1) / counted.sum(dim=-1).clamp(min=1)
    first = int((rows > limit).nonzero()[0])
    raise RunFailedError(
        f"row {first}: vLLM and the trainer give its completion other log-probabilities, "
        f"{float(rows[first]):.2g} apart per token; over all {len(rows)} rows {mean:.2g}, the "
        f"limit in {str(dtype).removeprefix('torch.')} is {limit:g}",
        hint="run geovlm doctor, or use generation='transformers'",
    )


def _other_prompt(
    row: int, own: list[int], other: list[int], *, token: int | None
) -> RunFailedError:
    mine, its = own.count(token), other.count(token)  # type: ignore[arg-type]  # None: 0
    images = sum(each == token and (not i or own[i - 1] != token) for i, each in enumerate(own))
    if its == 2 * mine - images != mine:
        why = "its image tokens were expanded twice"
    elif its != mine:
        why = "pixel limits differ"
    else:
        why = "the chat templates or tokenizers differ"
    return RunFailedError(
        f"row {row}: vLLM answered a prompt of {len(other)} tokens, {its} of images; the trainer "
        f"scores one of {len(own)}, {mine} of images: {why}",
        hint=UNTESTED,
    )
