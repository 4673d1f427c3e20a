"""Checks that metrics are perfect on correct answers, and that blind policies earn little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from geovlm import answers
from geovlm.api import Turn
from geovlm.plugins.metrics import function, higher_is_better
from geovlm.plugins.references import resolve
from geovlm.rewards.audit.audit import TOTAL, Audit, audit
from geovlm.testing.findings import Finding, attempt, fault, remark, source
from geovlm.testing.rewards import ROUNDING
from geovlm.testing.subject import Case, Subject

_NONSENSE = Turn(question="", answer="zzz", reasoning="zzz")


def metrics_perfect_on_gold(subject: Subject) -> Iterator[Finding]:
    """The primary metric is 1 on correct answers, in every frame of boxes, and less on nonsense.

    Where smaller is better it is 0 on correct answers, and more on nonsense.
    The tolerance is that of `gold_scores_maximum`: the loss of the worst box by rounding.
    """
    for task in subject.tasks:
        cases = subject.cases[task.name]
        for profile in dict.fromkeys(each.context.profile.name for each in cases):
            own = [each for each in cases if each.context.profile.name == profile]
            gold = _measured(subject, task.metrics, own, [each.gold for each in own])
            wrong_text = answers.frame(_NONSENSE, thinks=task.reasoning == "think")
            nonsense = _measured(subject, task.metrics, own, [wrong_text] * len(own))
            metric = subject.registry.metric(task.metrics[0])
            file = source(resolve(metric.compute or metric.counts))
            if task.primary_metric not in gold:
                yield fault(
                    f"task {task.name!r}: primary metric {task.primary_metric!r} is none of "
                    f"{', '.join(sorted(gold))}",
                    file=subject.declarations,
                )
                break
            value, tolerance = gold[task.primary_metric], max(each.tolerance for each in own)
            other = nonsense.get(task.primary_metric, value)
            specs = [subject.registry.metric(name) for name in task.metrics]
            answered = [each.prediction(each.gold) for each in own]
            rising = higher_is_better(specs, task.primary_metric, answered)
            wrong, worse = (1 - value, other < value) if rising else (value, other > value)
            where = f"{task.primary_metric!r} of task {task.name!r} with profile {profile!r}"
            if not wrong <= tolerance + ROUNDING:
                bound = f"at least {1 - tolerance:.4g}" if rising else f"at most {tolerance:.4g}"
                yield fault(
                    f"{where} is {value:.4g} on correct answers, should be {bound}",
                    file=file,
                )
                break
            if not worse:
                yield fault(f"{where} is {value:.4g} on nonsense as on correct answers", file=file)
                break


def blindness_earns_little(subject: Subject) -> Iterator[Finding]:
    """Blind policies earn at most half of the correct answer on the robust set.

    If answers are closed: at most the rate of the most frequent answer, which is a remark. A few
    real records are too few to judge by.
    """
    for task in subject.tasks:
        if subject.registry.dataset(task.dataset).make_sample is None:
            yield remark(
                f"task {task.name!r}: not judged by so few real records, see 'geovlm audit "
                f"{task.name}'"
            )
            continue
        splits = subject.samples[task.name]
        train = splits.get("train") or next(iter(splits.values()))
        held_out = [sample for split, many in splits.items() if split != "train" for sample in many]
        done: Audit = attempt(
            partial(
                audit,
                task,
                registry=subject.registry,
                samples=held_out or train,
                train=train,
                sets=("robust",),
            ),
            doing=f"the audit of task {task.name!r}",
            blame=resolve(task.prompt),
        )
        found = done.rewards["robust"][TOTAL]
        allowed = "half of it"
        if found.floor is not None:
            allowed = f"the rate of the most frequent answer, {found.floor:.0%}"
            yield remark(
                f"task {task.name!r}: the most frequent answer is right {found.floor:.0%} of the "
                f"time, n = {done.n}"
            )
        if not found.passes:
            yield fault(
                f"task {task.name!r}: the blind policy {found.best!r} earns {found.gap:.0%} of "
                f"what correct answers earn from the robust set, allowed is {allowed}",
                file=subject.declarations,
            )


def _measured(
    subject: Subject, metrics: Sequence[str], cases: Sequence[Case], completions: Sequence[str]
) -> dict[str, float]:
    """Return all numbers of the metrics of a task for some completions."""
    predictions = [each.prediction(text) for each, text in zip(cases, completions, strict=True)]
    values: dict[str, float] = {}
    for name in metrics:
        metric = subject.registry.metric(name)
        values.update(
            attempt(
                function(metric),
                predictions,
                doing=f"metric {name!r}",
                blame=resolve(metric.compute or metric.counts),
            )
        )
    return values
