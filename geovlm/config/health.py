"""Rules that find failing GRPO training in its log, and `[health]`, the table that sets them.

Each rule reads the last `WINDOW` records of `log.jsonl` (dictionaries with `step` and what TRL
logs). A broken rule returns a sentence of figures, any other an empty text. A figure that is absent
or null, such as the KL term at beta 0, breaks no rule. All thresholds are ours.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from geovlm.answers import UNSPACED

WINDOW = 10
"""Number of records in a window: a rule reads the last one, some compare it with the first."""
REPETITION = "completions/repetitive_share"
"""Key in the log: share of completions that repeat themselves."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Action = Literal["off", "warn", "stop"]
RATIO = "sampling/importance_sampling_ratio/mean"
"""Key in the log: mean ratio of the trainer's probability of a completion to vLLM's; TRL's name."""
MASKED = "sampling/importance_sampling_ratio/masked"
"""Key in the log: share of completions that are not trained on, their ratio being too large."""
_GRAM = 4
_REPEATED = 0.5
_MIN_GRAMS = 12
_UNSPACED = re.compile(f"[{UNSPACED}]")

Log: TypeAlias = Sequence[Mapping[str, Any]]
RewardSets: TypeAlias = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Task -> `paper` or `robust` -> reward -> weight, as tasks declare them."""


class Rule(NamedTuple):
    """One rule."""

    limit: str
    """Key of its threshold in `HealthConfig`."""
    find: Callable[[Log, float, RewardSets], str]
    """(log, threshold, reward sets) -> figures; an empty text if the rule holds."""
    advice: str
    """Remedies, as a sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A broken rule."""

    rule: str
    step: int
    since: int
    """First step of the window that broke it."""
    figures: str
    advice: str

    def __str__(self) -> str:
        return f"{self.rule} at step {self.step}: {self.figures} ({self.advice})"


def check(log: Log, *, rewards: RewardSets, limits: Mapping[str, float]) -> list[Finding]:
    """Return the rules that the last window of a log breaks; none before the window is full.

    `limits` holds the thresholds of the rules that are checked.
    """
    if len(log) < WINDOW:
        return []
    step, since = int(log[-1]["step"]), int(log[-WINDOW]["step"])
    return [
        Finding(rule=name, step=step, since=since, figures=figures, advice=rule.advice)
        for name, rule in RULES.items()
        if name in limits and (figures := rule.find(log, limits[name], rewards))
    ]


def constant_reward(log: Log, threshold: float, rewards: RewardSets) -> str:
    """Find groups whose rewards are all equal: no advantage, so nothing to learn."""
    share = _mean(_values(log[-WINDOW:], "frac_reward_zero_std"))
    if share is None or share < threshold:
        return ""
    return (
        f"{share:.0%} of the groups have no spread in their rewards, the limit is {threshold:.0%}"
    )


def entropy_collapse(log: Log, threshold: float, rewards: RewardSets) -> str:
    """Find an entropy below a share of that in the first window."""
    first = _mean(_values(log[:WINDOW], "entropy"))
    last = _mean(_values(log[-WINDOW:], "entropy"))
    if first is None or last is None or last >= threshold * first:
        return ""
    return f"entropy {last:.4f}, at the start {first:.4f}, the limit is {threshold:.0%} of that"


def many_completions(key: str, what: str) -> Callable[[Log, float, RewardSets], str]:
    """Return a function that finds too large a share of completions under a key of the log."""

    def find(log: Log, threshold: float, rewards: RewardSets) -> str:
        share = _mean(_values(log[-WINDOW:], key))
        if share is None or share <= threshold:
            return ""
        return f"{share:.0%} of the completions {what}, the limit is {threshold:.0%}"

    return find


def kl_blowup(log: Log, threshold: float, rewards: RewardSets) -> str:
    """Find a median KL divergence from the reference model, nats per token, that is too large.

    The median, because the estimator has a heavy tail: a single large step is not a blow-up.
    """
    values = _values(log[-WINDOW:], "kl")
    if not values or statistics.median(values) <= threshold:
        return ""
    return f"median KL {statistics.median(values):.2f} nats per token, the limit is {threshold:g}"


def other_sampler(log: Log, threshold: float, rewards: RewardSets) -> str:
    """Find completions that the model would not have written: vLLM samples from another one."""
    ratio, masked = (_mean(_values(log[-WINDOW:], key)) for key in (RATIO, MASKED))
    if ratio is None or threshold <= ratio <= 1 / threshold:
        return ""
    left_out = "" if masked is None else f", {masked:.0%} of the completions are left out"
    return (
        f"mean importance ratio {ratio:.2f}{left_out}, the limits are {threshold:g} and "
        f"{1 / threshold:.2f}"
    )


def reward_divergence(log: Log, threshold: float, rewards: RewardSets) -> str:
    """Find a rise of the paper's rewards with a fall of the robust ones since the first window.

    Both by more than the threshold: the mean over the tasks of the weighted mean of each set.
    Rewards that are in both sets of a task count for neither.
    """
    moved = {}
    for kind, other in (("paper", "robust"), ("robust", "paper")):
        moves = [
            _move(log, task, {k: w for k, w in sets[kind].items() if k not in sets[other]})
            for task, sets in rewards.items()
        ]
        moved[kind] = _mean([move for move in moves if move is not None])
    paper, robust = moved["paper"], moved["robust"]
    if paper is None or robust is None or paper <= threshold or robust >= -threshold:
        return ""
    return (
        f"the paper's rewards rose by {paper:.3f} while the robust ones fell by {-robust:.3f}, "
        f"the limit is {threshold:g} each"
    )


def repeats(text: str) -> bool:
    """Return true if at least half of a text's word 4-grams repeat earlier ones.

    False for texts of fewer than 15 words. Boxes and lists of numbers are read as words too, and so
    is each character of a script without blanks.
    """
    words = _UNSPACED.sub(r" \g<0> ", text).split()
    grams = [tuple(words[i : i + _GRAM]) for i in range(len(words) - _GRAM + 1)]
    return len(grams) >= _MIN_GRAMS and 1 - len(set(grams)) / len(grams) >= _REPEATED


def _move(log: Log, task: str, weights: Mapping[str, float]) -> float | None:
    """Return the change of a task's weighted mean of some rewards, last window minus first."""
    moved = 0.0
    for reward, weight in weights.items():
        key = f"rewards/{task}/{reward}/mean"
        first, last = _mean(_values(log[:WINDOW], key)), _mean(_values(log[-WINDOW:], key))
        if first is None or last is None:
            return None
        moved += weight * (last - first)
    total = sum(weights.values())
    return moved / total if total else None


def _values(log: Log, key: str) -> list[float]:
    return [float(record[key]) for record in log if record.get(key) is not None]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


RULES: Mapping[str, Rule] = {
    "constant_reward": Rule(
        "constant_reward_share",
        constant_reward,
        "probe the prompts and drop those without signal, or sample at a higher temperature",
    ),
    "entropy_collapse": Rule(
        "entropy_collapse_share",
        entropy_collapse,
        "lower the learning rate, raise beta or the temperature, or stop earlier",
    ),
    "clipped_length": Rule(
        "clipped_length_share",
        many_completions("completions/clipped_ratio", "are cut off"),
        "raise max_new_tokens, or train SFT longer so that answers end",
    ),
    "repetition": Rule(
        "repetition_share",
        many_completions(REPETITION, "repeat themselves"),
        "lower the learning rate or raise beta, and look at completions.jsonl",
    ),
    "kl_blowup": Rule("kl_blowup_nats", kl_blowup, "lower the learning rate or raise beta"),
    "other_sampler": Rule(
        "other_sampler_ratio",
        other_sampler,
        "vLLM and the trainer differ: run geovlm doctor, or use generation='transformers'",
    ),
    "reward_divergence": Rule(
        "reward_divergence_least",
        reward_divergence,
        "the model games the published rewards: train with --rewards robust",
    ),
}
"""Key of the rule's action in `HealthConfig` -> rule."""


class HealthConfig(BaseModel):
    """Checks of GRPO's log while it trains: an action and a threshold for each rule."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    constant_reward: Action = "warn"
    """Action if the rewards within nearly every group are equal."""
    constant_reward_share: Share = 0.95
    """Smallest share of such groups that breaks the rule."""
    entropy_collapse: Action = "warn"
    """Action if the completions hardly vary any more."""
    entropy_collapse_share: Share = 0.1
    """Smallest entropy that keeps the rule, as a share of that of the first steps."""
    clipped_length: Action = "warn"
    """Action if completions are cut off at the longest length."""
    clipped_length_share: Share = 0.5
    """Largest share of such completions that keeps the rule."""
    repetition: Action = "warn"
    """Action if completions repeat themselves."""
    repetition_share: Share = 0.3
    """Largest share of such completions that keeps the rule."""
    kl_blowup: Action = "warn"
    """Action if the model has moved far from the one that it started from."""
    kl_blowup_nats: PositiveFloat = 1.0
    """Largest median KL divergence that keeps the rule, nats per token."""
    other_sampler: Action = "warn"
    """Action if vLLM samples from another distribution than the one that is trained."""
    other_sampler_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.7
    """Smallest mean importance ratio that keeps the rule; its inverse is the largest one."""
    reward_divergence: Action = "warn"
    """Action if the robust rewards fall while the paper's rise."""
    reward_divergence_least: PositiveFloat = 0.05
    """Rise of the one and fall of the other above which the rule is broken."""

    def actions(self) -> dict[str, str]:
        """Return rule -> `off`, `warn` or `stop`."""
        return {name: getattr(self, name) for name in RULES}

    def thresholds(self) -> dict[str, float]:
        """Return rule -> threshold, of the rules that are not off."""
        actions = self.actions()
        return {
            name: getattr(self, rule.limit)
            for name, rule in RULES.items()
            if actions[name] != "off"
        }
