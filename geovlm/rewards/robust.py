"""Computes the rewards that resist gaming: a blind policy earns at most half of a correct answer.

Values are in [0, 1].
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from geovlm import answers, boxes
from geovlm.api import RewardContext
from geovlm.rewards.boxes import matched_iou
from geovlm.rewards.reading import label_sets, references
from geovlm.rewards.text import same


def label_f1(completion: str, ctx: RewardContext) -> float:
    """F1 of the named and the true label sets, squared; both empty: 1.

    It is squared because the few most frequent labels, named without looking at the image, have a
    mean F1 of 0.35 to 0.55 on small samples of BigEarthNet's kind: more than half of a correct
    answer.

    >>> from types import SimpleNamespace
    >>> target = {"labels": ["sea"], "vocabulary": ["sea", "beach", "forest"]}
    >>> label_f1("<answer>sea, beach, forest</answer>", SimpleNamespace(target=target))
    0.25
    """
    truth, named = label_sets(completion, ctx)
    if not truth and not named:
        return 1.0
    return (2 * len(truth & named) / (len(truth) + len(named))) ** 2


def exact(completion: str, ctx: RewardContext) -> float:
    """1 if the answer is the correct answer and nothing else, else 0.

    Text is compared after normalisation, numbers by value. With `target["vocabulary"]` the answer
    must name exactly one entry, the correct one. With `target["choices"]` it is read by
    `geovlm.answers.named_choices` and must name the right choice or choices and no other. Choices
    with the same text count as one.

    >>> from types import SimpleNamespace
    >>> ctx = SimpleNamespace(target={"answer": "yes", "vocabulary": ["yes", "no"]}, answer="yes")
    >>> exact("<answer>Yes.</answer>", ctx), exact("<answer>yes or no</answer>", ctx)
    (1.0, 0.0)
    >>> ctx = SimpleNamespace(target={"answer": "B", "choices": ["a river", "a road"]}, answer="B")
    >>> exact("<answer>The answer is B.</answer>", ctx), exact("<answer>A, B</answer>", ctx)
    (1.0, 0.0)
    """
    text = answers.answer_text(completion)
    if not text:
        return 0.0
    gold = str(ctx.target.get("answer", ctx.answer))
    choices = ctx.target.get("choices")
    if choices:
        listed = [str(each) for each in choices]  # type: ignore[union-attr]
        right = _choice_texts(gold, listed)
        return float(bool(right) and _choice_texts(text, listed) == right)
    vocabulary = ctx.target.get("vocabulary")
    if vocabulary:
        named = answers.labels(text, [str(entry) for entry in vocabulary])  # type: ignore[union-attr]
        if named:
            same = answers.normalise(named[0]) == answers.normalise(gold)
            return float(len(named) == 1 and same)
    if answers.normalise(text) == answers.normalise(gold):
        return 1.0
    return float(_as_number(text) is not None and _as_number(text) == _as_number(gold))


def caption_f1(completion: str, ctx: RewardContext) -> float:
    """Squared share of facts that the caption states, or squared F1 of its content words.

    With `target["facts"]` (name -> value): a fact is stated if the text names its value and no
    other entry of `target["fact_vocabularies"][name]`. Otherwise: F1 of the content words (no stop
    words) against the nearest reference. Both are squared so that a template with one lucky value
    earns less than half.

    >>> from types import SimpleNamespace
    >>> ctx = SimpleNamespace(target={
    ...     "facts": {"kind": "flood", "count": "many"},
    ...     "fact_vocabularies": {"kind": ["fire", "flood"], "count": ["one", "many"]},
    ... })
    >>> caption_f1("<answer>A flood damaged one building.</answer>", ctx)
    0.25
    """
    text = boxes.strip(answers.answer_text(completion))
    facts = ctx.target.get("facts")
    if isinstance(facts, Mapping) and facts:
        vocabularies: Any = ctx.target.get("fact_vocabularies") or {}
        stated = 0
        for name, value in facts.items():
            entries = [str(v) for v in vocabularies.get(name) or [value]]
            named = {answers.normalise(n) for n in answers.labels(text, entries)}
            stated += named == {answers.normalise(str(value))}
        return (stated / len(facts)) ** 2
    said = _content(text)
    best = 0.0
    for reference in references(ctx.target):
        wanted = _content(reference)
        if wanted and said:
            best = max(best, 2 * len(said & wanted) / (len(said) + len(wanted)))
        elif not wanted and not said:
            best = max(best, float(same(text, reference)))
    return best**2


def change_f1(completion: str, ctx: RewardContext) -> float:
    """`caption_f1` where something changed; one half for stating so where nothing did.

    On a changed sample (`target["changed"]`) an answer that states that nothing changed earns 0, on
    an unchanged one an answer that states a change. In half of some data sets nothing changes:
    stating so always would earn half of the correct answers' reward if it paid in full.

    >>> from types import SimpleNamespace
    >>> ctx = SimpleNamespace(target={"changed": False, "captions": ["there is no difference"]})
    >>> change_f1("<answer>Nothing has changed.</answer>", ctx)
    0.5
    >>> ctx = SimpleNamespace(target={"changed": True, "captions": ["a road was built"]})
    >>> change_f1("<answer>Nothing has changed.</answer>", ctx)
    0.0
    """
    text = answers.answer_text(completion)
    known = answers.says_unchanged(text)
    if ctx.target.get("changed"):
        return 0.0 if known else caption_f1(completion, ctx)
    return 0.5 * (known or any(same(text, each) for each in references(ctx.target)))


def grounded_f1(completions: Sequence[str], contexts: Sequence[RewardContext]) -> list[float]:
    """Geometric mean of `caption_f1` (text) and `matched_iou` (boxes); 0 if either is 0."""
    return [
        (caption_f1(completion, ctx) * paired) ** 0.5
        for completion, ctx, paired in zip(
            completions, contexts, matched_iou(completions, contexts), strict=True
        )
    ]


def _choice_texts(text: str, choices: Sequence[str]) -> set[str]:
    return {answers.normalise(choices[at]) for at in answers.named_choices(text, choices)}


def _as_number(text: str) -> float | None:
    """Return the number if the text is one; `None` if it only contains one."""
    stripped = answers.normalise(text).removesuffix("m2").strip()
    return answers.number(stripped) if len(stripped.split()) == 1 else None


def _content(text: str) -> set[str]:
    return {word for word in answers.words(text) if word not in _STOP_WORDS}


_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be been by can do does for from has have in into is it its near of on "
        "or some that the their there these they this those to was were which with image picture "
        "see seen many several",
    )
)
