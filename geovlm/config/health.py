"""Rules that read GRPO's log and say when training has gone wrong, and what to do about it.

Each rule looks at the last `WINDOW` records of `log.jsonl` (dictionaries with `step` and what TRL
logs) and answers with a sentence of figures where it is broken, else with nothing. A figure that
is absent or null, such as the KL term at beta 0, breaks no rule. All thresholds are ours.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

WINDOW = 10
"""Records that a rule looks at, and with how many a run begins."""
REPETITION = "completions/repetitive_share"
"""Key in the log: share of completions that repeat themselves."""
_GRAM = 4
_REPEATED = 0.5
_MIN_GRAMS = 12

Log: TypeAlias = Sequence[Mapping[str, Any]]
RewardSets: TypeAlias = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Task -> `paper` or `robust` -> reward -> weight, as tasks declare them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule, its threshold unless configured, and what to do when it is broken."""

    name: str
    threshold: float
    find: Callable[[Log, float, RewardSets], str]
    """(log, threshold, reward sets) -> figures, or nothing."""
    advice: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A broken rule."""

    rule: str
    step: int
    since: int
    """The first step of the window that broke it."""
    figures: str
    advice: str

    def __str__(self) -> str:
        return f"{self.rule} at step {self.step}: {self.figures} ({self.advice})"


def check(log: Log, *, rewards: RewardSets, limits: Mapping[str, float]) -> list[Finding]:
    """Return the rules that the end of a log breaks.

    Args:
        log: records in the order of their steps.
        rewards: of the tasks that are trained.
        limits: rule -> threshold; the rules that are checked.
    """
    if len(log) < WINDOW:
        return []
    found = []
    for rule in RULES:
        figures = rule.find(log, limits[rule.name], rewards) if rule.name in limits else ""
        if figures:
            step, since = int(log[-1]["step"]), int(log[-WINDOW]["step"])
            found.append(
                Finding(rule=rule.name, step=step, since=since, figures=figures, advice=rule.advice)
            )
    return found


def thresholds() -> dict[str, float]:
    """Return the threshold of every rule."""
    return {rule.name: rule.threshold for rule in RULES}


def constant_reward(log: Log, threshold: float, rewards: RewardSets) -> str:
    """Whether the rewards within nearly every group are equal: no advantage, nothing to learn."""
    share = _mean(_values(log[-WINDOW:], "frac_reward_zero_std"))
    if share is None or share < threshold:
        return ""
    return (
        f"{share:.0%} of the groups have no spread in their rewards, the limit is {threshold:.0%}"
    )


def entropy_collapse(log: Log, threshold: float, rewards: RewardSets) -> str:
    """Whether the entropy of the answers fell below a share of that of the first window."""
    first = _mean(_values(log[:WINDOW], "entropy"))
    last = _mean(_values(log[-WINDOW:], "entropy"))
    if first is None or last is None or last >= threshold * first:
        return ""
    return f"entropy {last:.4f}, at the start {first:.4f}, the limit is {threshold:.0%} of that"


def clipped_length(log: Log, threshold: float, rewards: RewardSets) -> str:
    """Whether too many completions are cut off at the longest length."""
    share = _mean(_values(log[-WINDOW:], "completions/clipped_ratio"))
    if share is None or share <= threshold:
        return ""
    return f"{share:.0%} of the completions are cut off, the limit is {threshold:.0%}"


def repetition(log: Log, threshold: float, rewards: RewardSets) -> str:
    """Whether too many completions repeat themselves; see `repeats`."""
    share = _mean(_values(log[-WINDOW:], REPETITION))
    if share is None or share <= threshold:
        return ""
    return f"{share:.0%} of the completions repeat themselves, the limit is {threshold:.0%}"


def kl_blowup(log: Log, threshold: float, rewards: RewardSets) -> str:
    """Whether the median KL divergence from the reference model is too large, nats per token.

    The median: the estimator has a heavy tail, and a single large step is no blow-up.
    """
    values = _values(log[-WINDOW:], "kl")
    if not values or statistics.median(values) <= threshold:
        return ""
    return f"median KL {statistics.median(values):.2f} nats per token, the limit is {threshold:g}"


def reward_divergence(log: Log, threshold: float, rewards: RewardSets) -> str:
    """Whether the paper's rewards rose and the robust ones fell since the first window.

    Both by more than the threshold, means over the tasks of the weighted mean of each set; rewards
    that are in both sets of a task count for neither.
    """
    moved = {}
    for kind, other in (("paper", "robust"), ("robust", "paper")):
        moves = [
            move
            for task, sets in rewards.items()
            if (move := _move(log, task, _only(sets[kind], sets[other]))) is not None
        ]
        moved[kind] = _mean(moves)
    paper, robust = moved["paper"], moved["robust"]
    if paper is None or robust is None or paper <= threshold or robust >= -threshold:
        return ""
    return (
        f"the paper's rewards rose by {paper:.3f} while the robust ones fell by {-robust:.3f}, "
        f"the limit is {threshold:g} each"
    )


def repeats(text: str) -> bool:
    """Whether at least half of a text's word 4-grams are repetitions of earlier ones.

    Texts of fewer than 15 words do not; boxes and lists of numbers count by their words too.
    """
    words = text.split()
    grams = [tuple(words[i : i + _GRAM]) for i in range(len(words) - _GRAM + 1)]
    return len(grams) >= _MIN_GRAMS and 1 - len(set(grams)) / len(grams) >= _REPEATED


def _only(rewards: Mapping[str, float], others: Mapping[str, float]) -> dict[str, float]:
    return {name: weight for name, weight in rewards.items() if name not in others}


def _move(log: Log, task: str, weights: Mapping[str, float]) -> float | None:
    """Return how far the weighted mean of some rewards of a task moved, last window minus first."""
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


RULES: tuple[Rule, ...] = (
    Rule(
        name="constant_reward",
        threshold=0.95,
        find=constant_reward,
        advice="probe the prompts and drop those without signal, or sample at a higher temperature",
    ),
    Rule(
        name="entropy_collapse",
        threshold=0.1,
        find=entropy_collapse,
        advice="lower the learning rate, raise beta or the temperature, or stop earlier",
    ),
    Rule(
        name="clipped_length",
        threshold=0.5,
        find=clipped_length,
        advice="raise max_new_tokens, or train SFT longer so that answers end",
    ),
    Rule(
        name="repetition",
        threshold=0.3,
        find=repetition,
        advice="lower the learning rate or raise beta, and look at completions.jsonl",
    ),
    Rule(
        name="kl_blowup",
        threshold=1.0,
        find=kl_blowup,
        advice="lower the learning rate or raise beta",
    ),
    Rule(
        name="reward_divergence",
        threshold=0.05,
        find=reward_divergence,
        advice="the model games the published rewards: train with --rewards robust",
    ),
)
