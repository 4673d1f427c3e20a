"""The table `[health]` of the configuration: what is watched while GRPO trains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from geovlm.config import health

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Action = Literal["off", "warn", "stop"]
_DEFAULT = health.thresholds()


class HealthConfig(BaseModel):
    """What becomes of the run when GRPO's log breaks a rule; see `geovlm.config.health`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    constant_reward: Action = "warn"
    """The rewards within nearly every group are equal."""
    constant_reward_share: Share = _DEFAULT["constant_reward"]
    """Least share of such groups."""
    entropy_collapse: Action = "warn"
    """The answers hardly vary any more."""
    entropy_collapse_share: Share = _DEFAULT["entropy_collapse"]
    """Least entropy, as a share of that of the first steps."""
    clipped_length: Action = "warn"
    """Completions are cut off at the longest length."""
    clipped_length_share: Share = _DEFAULT["clipped_length"]
    """Largest share of such completions."""
    repetition: Action = "warn"
    """Completions repeat themselves."""
    repetition_share: Share = _DEFAULT["repetition"]
    """Largest share of such completions."""
    kl_blowup: Action = "warn"
    """The model is far from the one that it started from."""
    kl_blowup_nats: PositiveFloat = _DEFAULT["kl_blowup"]
    """Largest median KL divergence, nats per token."""
    reward_divergence: Action = "warn"
    """The robust rewards fall while the paper's rise."""
    reward_divergence_least: PositiveFloat = _DEFAULT["reward_divergence"]
    """Least rise of the one and fall of the other."""

    def actions(self) -> dict[str, str]:
        """Return rule -> `off`, `warn` or `stop`."""
        return {rule.name: str(self.model_dump()[rule.name]) for rule in health.RULES}

    def thresholds(self) -> dict[str, float]:
        """Return the thresholds of the rules that are not off."""
        every = {
            "constant_reward": self.constant_reward_share,
            "entropy_collapse": self.entropy_collapse_share,
            "clipped_length": self.clipped_length_share,
            "repetition": self.repetition_share,
            "kl_blowup": self.kl_blowup_nats,
            "reward_divergence": self.reward_divergence_least,
        }
        return {rule: every[rule] for rule, action in self.actions().items() if action != "off"}
