"""Checks the rewards that a plugin declares, and those of the core that its tasks use."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

from geovlm import answers
from geovlm.api import RewardSpec, TaskSpec, Turn
from geovlm.plugins.metrics import function
from geovlm.plugins.references import resolve
from geovlm.testing.findings import Finding, PluginFault, attempt, fault, remark, source
from geovlm.testing.hostile import HOSTILE
from geovlm.testing.subject import Case, Subject, score

ROUNDING = 1e-5
"""Tolerance for arithmetic, as a share of a reward's range; float32 embeddings need most of it."""
WRONG = ("zzz", "[0, 0, 1, 1]")
"""Answers that are wrong nearly everywhere: no word of any vocabulary, a box of one unit."""
_OTHERS = 8
_BATCH = 8


def gold_scores_maximum(subject: Subject) -> Iterator[Finding]:
    """The correct completion earns the maximum of every reward, in every frame of boxes.

    It is the text on which fine-tuning trains; boxes in it are rounded to whole units. The
    tolerance is the loss of the worst box of the sample (1 - IoU with itself, written and read
    back), without boxes 1e-5 of the reward's range.
    """
    for task, reward in _pairs(subject):
        if not reward.gold_is_max:
            continue
        cases = subject.cases[task.name]
        values = score(reward, [each.gold for each in cases], cases)
        if all(value is None for value in values):
            yield fault(
                f"reward {reward.name!r} applies to no sample of task {task.name!r}, which lists "
                "it",
                file=_blame(subject, task, reward),
            )
        for each, value in zip(cases, values, strict=True):
            span = reward.high - reward.low
            least = reward.high - span * (each.tolerance + ROUNDING)
            if value is not None and value < least:
                yield fault(
                    f"reward {reward.name!r} of task {task.name!r} gives {value:.4g} to the "
                    f"correct answer {each.turn.answer[:60]!r} of sample {each.sample.id!r} "
                    f"with profile {each.context.profile.name!r}, should be at least {least:.4g}",
                    file=_blame(subject, task, reward),
                )
                break


def wrong_scores_less(subject: Subject) -> Iterator[Finding]:
    """For every sample some wrong answer earns less than the correct one.

    Wrong answers are nonsense and the correct answers of other samples.
    """
    for task, reward in _pairs(subject):
        if not reward.gold_is_max or reward.name.startswith("format/"):
            continue
        every = subject.cases[task.name]
        cases = [each for each in every if each.context.profile is every[0].context.profile]
        tried = [(each, text) for each in cases for text in _wrong(each, cases)]
        golds = score(reward, [each.gold for each in cases], cases)
        values = score(reward, [text for _, text in tried], [each for each, _ in tried])
        least: dict[str, float] = {}
        for (each, _), value in zip(tried, values, strict=True):
            if value is not None:
                least[each.sample.id] = min(value, least.get(each.sample.id, value))
        for each, gold in zip(cases, golds, strict=True):
            if gold is not None and least.get(each.sample.id, gold) > gold - ROUNDING:
                yield fault(
                    f"reward {reward.name!r} of task {task.name!r} gives {gold:.4g} to wrong "
                    f"answers of sample {each.sample.id!r} as to the correct answer "
                    f"{each.turn.answer[:60]!r}",
                    file=_blame(subject, task, reward),
                )
                break


def hostile_never_raises(subject: Subject) -> Iterator[Finding]:
    """No completion makes a reward or metric raise or leave its range, however broken it is."""
    for task, reward in _encoders_once(subject):
        few = _few(subject.cases[task.name])
        if reward.batched:
            ranked = sorted(HOSTILE, key=len)  # an encoder pads a batch to its longest text
            for start in range(0, len(ranked), _BATCH):
                batch = ranked[start : start + _BATCH]
                score(reward, batch, few[:1] * len(batch))
            continue
        for each in few:
            for text in HOSTILE:
                try:
                    score(reward, [text], [each])
                except PluginFault as caught:
                    yield fault(
                        f"{caught.finding.sentence}, completion {text[:60]!r}",
                        file=caught.finding.file,
                    )
                    break
    for task in subject.tasks:
        each = subject.cases[task.name][0]
        for name in task.metrics:
            metric = subject.registry.metric(name)
            attempt(
                function(metric),
                [each.prediction(text) for text in HOSTILE],
                doing=f"metric {name!r} of task {task.name!r} on broken completions",
                blame=resolve(metric.compute or metric.counts),
            )


def rewards_pure(subject: Subject) -> Iterator[Finding]:
    """A reward is deterministic and does not change its arguments."""
    for task, reward in _encoders_once(subject):
        few = _few(subject.cases[task.name])
        texts = [text for each in few for text in (each.gold, *_wrong(each, few))]
        cases = [each for each in few for _ in (each.gold, *_wrong(each, few))]
        before = copy.deepcopy([each.sample.target for each in few])
        first = score(reward, texts, cases)
        second = list(reversed(score(reward, texts[::-1], cases[::-1])))
        file = source(resolve(reward.score))
        if [each.sample.target for each in few] != before:
            yield fault(f"reward {reward.name!r} changes the target of its context", file=file)
        for text, one, other in zip(texts, first, second, strict=True):
            if one != other and (one is None or other is None or abs(one - other) > ROUNDING):
                yield fault(
                    f"reward {reward.name!r} gives {one} and then {other} to the same completion "
                    f"{text[:60]!r}",
                    file=file,
                )
                break
    used = {reward.name for _, reward in _pairs(subject)}
    for reward in subject.rewards:
        if reward.name not in used:
            yield remark(f"reward {reward.name!r} is not tested: no task of this plugin uses it")


def rewards_picklable(subject: Subject) -> Iterator[Finding]:
    """A reward can be sent to another process: it is a function of a module, not a lambda."""
    for reward in subject.rewards:
        function = resolve(reward.score)
        try:
            attempt(
                lambda function=function: pickle.loads(pickle.dumps(function)),
                doing=f"pickling reward {reward.name!r}",
                blame=function,
            )
        except PluginFault as caught:
            yield caught.finding


def _pairs(subject: Subject) -> list[tuple[TaskSpec, RewardSpec]]:
    return [(task, reward) for task in subject.tasks for reward in subject.rewards_of(task)]


def _encoders_once(subject: Subject) -> Iterator[tuple[TaskSpec, RewardSpec]]:
    """Yield tasks and their rewards, a batched reward with its first task only.

    An encoder takes seconds for what a reward by rule takes milliseconds, and does not know tasks.
    """
    seen = set()
    for task, reward in _pairs(subject):
        if not (reward.batched and reward.name in seen):
            yield task, reward
        seen.add(reward.name)


def _few(cases: list[Case]) -> list[Case]:
    """Return the first and the last case: two samples, two profiles."""
    return [cases[0], cases[-1]]


def _wrong(case: Case, cases: list[Case]) -> list[str]:
    """Return well-formed completions with nonsense and with correct answers of other samples."""
    own = answers.normalise(case.turn.answer)
    others = dict.fromkeys(
        each.turn.answer for each in cases if answers.normalise(each.turn.answer) != own
    )
    return [
        answers.frame(
            Turn(question="", answer=answer, reasoning=case.turn.reasoning),
            thinks=case.prompt.thinks,
        )
        for answer in (*WRONG, *list(others)[:_OTHERS])
    ]


def _blame(subject: Subject, task: TaskSpec, reward: RewardSpec) -> str:
    """Return the file to change: the reward's own, or the task's prompt if the core's reward."""
    own = any(reward.name == each.name for each in subject.rewards)
    return source(resolve(reward.score if own else task.prompt))
