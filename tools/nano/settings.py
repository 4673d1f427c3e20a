"""Says how nano is trained."""

from __future__ import annotations

from dataclasses import dataclass

_DECAY = 0.4
"""Share of the steps over which the learning rate falls to zero, at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings of a training; the batch of a step is a function of them and of the step."""

    steps: int
    seeing_steps: int
    seed: int
    places: int
    """Places per step."""
    learning_rate: float
    maps: float
    """Weight of the maps beside the questions."""
    focus: str = ""
    """Families asked four times as often, separated by commas."""
    start: str = ""
    """Folder of this recipe whose weights and tokenizer are used, with a new optimizer and new
    heads; another seed gives other scenes. Empty: from scratch."""

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 1."""
        warm = min(1.0, step / 100)
        left = (self.steps - step + 1) / (_DECAY * self.steps)
        return self.learning_rate * warm * min(1.0, left)
