"""Trains the matrices of nano by Muon, everything else by AdamW."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

_A, _B, _C = 3.4445, -4.7750, 2.0315  # Keller Jordan, Muon (f90a42b), muon.py line 16


class Muon(torch.optim.Optimizer):
    """Momentum whose update of a matrix is made orthogonal, in float32.

    As `torch.optim.Muon`, which computes in bfloat16: on a CPU without bfloat16 instructions it is
    25 times slower. The update has the root mean square of AdamW's, so that one learning rate fits
    both (Moonlight, arXiv 2502.16982, equation 4).
    """

    def __init__(self, matrices: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95):
        super().__init__(list(matrices), {"lr": lr, "momentum": momentum, "weight_decay": 0.01})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # returns no loss
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                mean = state.setdefault("momentum", torch.zeros_like(matrix))
                mean.lerp_(matrix.grad, 1 - group["momentum"])
                update = orthogonal(matrix.grad.lerp(mean, group["momentum"]))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update, alpha=-group["lr"] * 0.2 * max(matrix.shape) ** 0.5)


def orthogonal(matrix: torch.Tensor, *, steps: int = 5) -> torch.Tensor:
    """Return a matrix with the singular vectors of `matrix` and singular values near 1."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), wide, beta=_A)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


class Both:
    """Muon for the matrices inside the blocks of a model, AdamW for all other weights."""

    def __init__(self, model: nn.Module, others: nn.Module, *, lr: float) -> None:
        named = [*model.named_parameters(), *others.named_parameters()]
        inside = [
            w for name, w in named if w.ndim == 2 and (".layers." in name or ".blocks." in name)
        ]
        chosen = {id(weight) for weight in inside}
        rest = [weight for _, weight in named if id(weight) not in chosen]
        self.weights = [*inside, *rest]
        self.parts: tuple[torch.optim.Optimizer, ...] = (
            Muon(inside, lr=lr),
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.01),
        )

    def step(self, *, lr: float) -> None:
        """Clip the gradient to a norm of 1, update all weights at `lr`, drop the gradients."""
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict]:
        """Return the state of both."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, state: list[dict]) -> None:
        """Restore the state of both."""
        for part, own in zip(self.parts, state, strict=True):
            part.load_state_dict(own)
