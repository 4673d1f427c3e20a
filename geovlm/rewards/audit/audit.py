"""Measures how much reward image-blind policies earn, compared with the correct answer.

A reward that pays a blind policy well teaches the policy, not the task; one that pays the correct
answer in full with all other answers appended teaches to list everything. The audit finds both
before any GPU time is spent. Policies may be longer than the task's `max_answer_tokens`: the reward
is judged, not the limit. The format rewards are left out: every policy except tag stuffing is
well-formed and earns them in full.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geovlm import answers
from geovlm.api import Json, ModelProfile, RewardContext, RewardSpec, Sample, TaskSpec
from geovlm.data.prompts import Prompter, reward_context
from geovlm.errors import DataError, RewardError
from geovlm.plugins.profiles import QWEN2_5_VL
from geovlm.plugins.registry import Registry
from geovlm.rewards.audit.lessons import Exchange, exchange, learn
from geovlm.rewards.audit.policies import padded, policies
from geovlm.rewards.scoring import score

TOTAL = "total"
"""Name of the weighted sum of a set, next to its rewards."""
HALF = 0.5
"""Largest gap that passes where answers are open."""
_ROUNDING = 1e-9
_GOLD = "correct answer"
_PADDED = "correct answer, padded"


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardAudit:
    """One reward of a set: means over the audited samples; 0 where the reward does not apply."""

    gold: float
    """Mean reward of the correct answers."""
    policies: Mapping[str, float]
    """Blind policy -> its mean reward."""
    best: str
    """The policy that earns most; the first of equals."""
    gap: float
    """(best - low) / (gold - low), low being the smallest value of the reward; infinite if a policy
    earns more than that and the correct answer does not."""
    floor: float | None
    """Closed answers: the rate of the most frequent answer, in [0, 1], which a model must beat.
    Questions of different kinds (type, vocabulary) have their own most frequent answer. `None`:
    answers are open."""
    padded: float
    """Mean reward of the correct answers with a grid of boxes or all options appended. If it equals
    `gold`, listing more than was asked for costs nothing."""
    passes: bool
    """True if padding costs something and the gap is at most `floor`, or one half where answers are
    open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """One task: every reward of every set, and the set's weighted sum as `total`."""

    task: str
    n: int
    """Number of audited samples."""
    rewards: Mapping[str, Mapping[str, RewardAudit]]
    """Set -> reward -> result."""


def audit(
    task: TaskSpec,
    *,
    registry: Registry,
    samples: Sequence[Sample],
    train: Sequence[Sample],
    profile: ModelProfile = QWEN2_5_VL,
    options: Mapping[str, Json] = {},
    task_options: Any = None,
    sets: Sequence[str] = (),
) -> Audit:
    """Return the rewards of blind policies on a task's held-out samples.

    The policies learn majority answers, typical captions and boxes from `train`. Boxes in questions
    and answers are in the profile's frame; `options` are the run's `[reward_options]`,
    `task_options` an instance of the task's `options` class (`None`: its defaults). Without `sets`
    all sets of rewards are audited.

    Raises:
        DataError: `samples` or `train` is empty, or an image cannot be read.
        RewardError: a reward raised, left its range, or applies to none of the samples.
        GeoVLMError: a reward needs a sentence encoder and none is installed.
    """
    if not samples or not train:
        raise DataError(
            f"the audit of task {task.name!r} has no {'training' if samples else 'held-out'} "
            "samples",
            hint="choose other splits with --split and --learn",
        )
    prompter = Prompter(task, profile=profile, options=task_options)
    prompts = [prompter.prompt(sample) for sample in samples]
    contexts = [reward_context(each, profile=profile, options=options) for each in prompts]
    lessons = learn([exchange(prompter.prompt(sample), profile=profile) for sample in train])
    exchanges = [exchange(each, profile=profile) for each in prompts]
    texts = {
        _GOLD: [each.gold for each in prompts],
        _PADDED: [padded(e.question, answer=e.answer, lessons=lessons) for e in exchanges],
    } | {
        policy.name: [policy.write(each.question) for each in exchanges]
        for policy in policies(lessons)
    }
    floor = _floor(exchanges)
    audited: dict[str, dict[str, RewardAudit]] = {}
    values: dict[str, dict[str, float]] = {}
    for name in sets or tuple(task.rewards):
        weights = task.rewards[name]
        for reward in weights:
            if reward not in values:
                values[reward] = _means(registry.reward(reward), texts, contexts)
        specs = {reward: registry.reward(reward) for reward in weights}
        total = {
            policy: sum(weight * values[reward][policy] for reward, weight in weights.items())
            for policy in texts
        }
        least = sum(min(w * specs[r].low, w * specs[r].high) for r, w in weights.items())
        audited[name] = {
            reward: judge(values[reward], low=specs[reward].low, floor=floor) for reward in weights
        } | {TOTAL: judge(total, low=least, floor=floor)}
    return Audit(task=task.name, n=len(samples), rewards=audited)


def judge(means: Mapping[str, float], *, low: float, floor: float | None) -> RewardAudit:
    """Return the verdict on a reward whose smallest value is `low`.

    The means are of `correct answer`, `correct answer, padded` and at least one policy; `floor` is
    the rate of the most frequent answer, or `None` where answers are open.
    """
    earned = {name: value for name, value in means.items() if name not in (_GOLD, _PADDED)}
    gold, padding = means[_GOLD], means[_PADDED]
    best = max(earned, key=lambda policy: earned[policy])
    above, span = earned[best] - low, gold - low
    gap = above / span if span > 0 else float("inf") if above > 0 else 0.0
    return RewardAudit(
        gold=gold,
        policies=earned,
        best=best,
        gap=gap,
        floor=floor,
        padded=padding,
        passes=padding < gold - _ROUNDING and gap <= (HALF if floor is None else floor) + _ROUNDING,
    )


def _means(
    reward: RewardSpec, texts: Mapping[str, Sequence[str]], contexts: Sequence[RewardContext]
) -> dict[str, float]:
    """Return the mean of a reward per policy, all of them scored in one call."""
    everything = [text for many in texts.values() for text in many]
    values = score(reward, everything, list(contexts) * len(texts))
    if all(value is None for value in values):
        raise RewardError(
            f"reward {reward.name!r} applies to none of {len(contexts)} samples of task "
            f"{contexts[0].task!r}",
            hint="audit more samples, or remove it from the task's rewards",
        )
    n = len(contexts)
    return {
        policy: statistics.fmean(value or 0.0 for value in values[start : start + n])
        for policy, start in zip(texts, range(0, len(values), n), strict=True)
    }


def _floor(exchanges: Sequence[Exchange]) -> float | None:
    """Return the rate of the most frequent answer of each kind, or `None` if answers are open.

    Answers are closed if every target has an `answer`, and either a vocabulary, `choices`, or at
    most half as many different answers as samples.
    """
    if any("answer" not in each.target for each in exchanges):
        return None
    kinds: dict[str, Counter[str]] = {}
    for each in exchanges:
        gold = answers.normalise(str(each.target["answer"]))
        kinds.setdefault(each.question.kind, Counter())[gold] += 1
    different = sum(len(counts) for counts in kinds.values())
    listed = all(each.question.vocabulary or each.target.get("choices") for each in exchanges)
    if not listed and different > len(exchanges) / 2:
        return None
    return sum(max(counts.values()) for counts in kinds.values()) / len(exchanges)
