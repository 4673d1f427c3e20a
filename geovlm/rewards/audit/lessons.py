"""What a blind policy may know: the question, and what the training split's gold teaches."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from geovlm import answers, boxes
from geovlm.api import Json, ModelProfile, Size
from geovlm.boxes import Box
from geovlm.data.prompts import Prompt

COMPARED = 200
"""Training answers among which the most typical one is sought, spread over the split."""
OPTIONS = 32
"""Answers of the training split that count as the options of a question without a vocabulary."""

Place: TypeAlias = tuple[int, int, int]
"""Thirds of the image across and down, and how large, of the first box that a question names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A sample without its pixels and without its gold."""

    question: str
    kind: str
    """Questions of one kind share their answers: same `type`, else same vocabulary."""
    vocabulary: tuple[str, ...]
    """The answers or labels that the task publishes; empty if it has no list."""
    place: Place | None
    """Where the box lies that the question names; `None` if it names none."""
    profile: ModelProfile
    image_sizes: tuple[Size, ...]
    input_sizes: tuple[Size, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """A question with its gold: what a policy learns from."""

    asked: Asked
    answer: str
    target: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxHabits:
    """The boxes of gold answers, in shares of their image."""

    mean: tuple[float, float, float, float]
    """Mean of x0, y0, x1, y1."""
    size: tuple[float, float]
    """Mean width and height."""
    count: int
    """Median number per answer that has any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lessons:
    """What the training split teaches; an empty field does not apply to the task."""

    answers: Mapping[str, tuple[str, ...]]
    """Kind -> gold answers, most frequent first. Only of closed or listed answers."""
    frequent_labels: tuple[str, ...]
    """Several labels per answer: the set of most frequent ones of highest mean F1."""
    facts: tuple[str, ...]
    """Every value that a fact of a caption may have."""
    usual_facts: Mapping[Place | None, str]
    """Place (`None`: any) -> most frequent value of every fact."""
    captions: Mapping[Place | None, str]
    """Place (`None`: any) -> most typical answer, its boxes included."""
    words: str
    """As many of the most frequent words of captions as a caption has."""
    boxes: BoxHabits | None

    def options(self, asked: Asked) -> tuple[str, ...]:
        """Return what the question may be answered with, most frequent first as far as known."""
        seen = self.answers.get(asked.kind, ())[:OPTIONS]
        if not asked.vocabulary:
            return seen
        known = [entry for entry in seen if entry in asked.vocabulary]
        return tuple(dict.fromkeys([*known, *asked.vocabulary]))


def exchange(prompt: Prompt, *, profile: ModelProfile) -> Exchange:
    """Return question and gold of a sample as policies and their training see it."""
    target: Mapping[str, Any] = prompt.target
    vocabulary = tuple(map(str, target.get("vocabulary") or ()))
    bare = Asked(
        question=prompt.question,
        kind=str(target.get("type") or json.dumps(sorted(vocabulary))),
        vocabulary=vocabulary,
        place=None,
        profile=profile,
        image_sizes=prompt.image_sizes,
        input_sizes=prompt.input_sizes,
    )
    named = boxes.parse(bare.question, bare, limit=1)
    asked = replace(bare, place=_place(named[0], bare.image_sizes[-1])) if named else bare
    return Exchange(asked=asked, answer=prompt.answer, target=target)


def learn(exchanges: Sequence[Exchange]) -> Lessons:
    """Return what the exchanges teach; at least one is needed."""
    captioned = [each for each in exchanges if _is_caption(each)]
    listed = [each for each in exchanges if "answer" in each.target or each.asked.vocabulary]
    by_kind: dict[str, Counter[str]] = {}
    for each in listed:
        by_kind.setdefault(each.asked.kind, Counter())[each.answer] += 1
    stated = [each for each in captioned if each.target.get("facts")]
    return Lessons(
        answers={kind: tuple(_by_number(counts)) for kind, counts in by_kind.items()},
        frequent_labels=_frequent_labels(listed),
        facts=tuple(dict.fromkeys(value for each in stated for value in _fact_values(each.target))),
        usual_facts={place: _usual_facts(group) for place, group in _by_place(stated).items()},
        captions={
            place: _typical([each.answer for each in group])
            for place, group in _by_place(captioned).items()
        },
        words=_frequent_words([each.answer for each in captioned]),
        boxes=_box_habits(exchanges),
    )


def _is_caption(each: Exchange) -> bool:
    if each.target.get("captions") or each.target.get("text"):
        return True
    closed = "answer" in each.target or each.asked.vocabulary
    spoken = [word for word in answers.words(boxes.strip(each.answer)) if word != "none"]
    return not closed and bool(spoken)


def _by_place(exchanges: Sequence[Exchange]) -> dict[Place | None, list[Exchange]]:
    groups: dict[Place | None, list[Exchange]] = {None: list(exchanges)} if exchanges else {}
    for each in exchanges:
        if each.asked.place is not None:
            groups.setdefault(each.asked.place, []).append(each)
    return groups


def _place(box: Box, size: Size) -> Place:
    x, y = (box.x0 + box.x1) / 2 / size[0], (box.y0 + box.y1) / 2 / size[1]
    share = (box.x1 - box.x0) * (box.y1 - box.y0) / (size[0] * size[1])
    return min(2, int(3 * x)), min(2, int(3 * y)), (share > 0.01) + (share > 0.1)


def _by_number(counts: Counter[str]) -> list[str]:
    """Return the keys, most frequent first, equally frequent ones in the order of the alphabet."""
    return sorted(counts, key=lambda key: (-counts[key], key))


def _frequent_labels(listed: Sequence[Exchange]) -> tuple[str, ...]:
    sets = [
        frozenset(answers.labels(each.answer, each.asked.vocabulary))
        for each in listed
        if each.asked.vocabulary
    ]
    if not any(len(labels) > 1 for labels in sets):
        return ()
    order = _by_number(Counter(label for labels in sets for label in labels))

    def mean_f1(k: int) -> float:
        chosen = set(order[:k])
        return sum(2 * len(chosen & truth) / (k + len(truth)) for truth in sets)

    return tuple(order[: max(range(1, len(order) + 1), key=mean_f1)])


def _fact_values(target: Mapping[str, Any]) -> Iterable[str]:
    vocabularies = target.get("fact_vocabularies") or {}
    for name, value in target["facts"].items():
        yield from map(str, vocabularies.get(name) or [value])


def _usual_facts(group: Sequence[Exchange]) -> str:
    counts: dict[str, Counter[str]] = {}
    for each in group:
        facts: Any = each.target["facts"]
        for name, value in facts.items():
            counts.setdefault(name, Counter())[str(value)] += 1
    return " ".join(_by_number(values)[0] for values in counts.values())


def _typical(texts: Sequence[str]) -> str:
    """Return the text whose words are most like the others' (Jaccard of sets), first of equals."""
    chosen = list(dict.fromkeys(texts[:: max(1, len(texts) // COMPARED)][:COMPARED]))
    sets = {text: frozenset(answers.words(boxes.strip(text))) for text in chosen}
    numbers = Counter(texts)

    def likeness(text: str) -> float:
        mine = sets[text]
        return sum(
            numbers[other] * len(mine & words) / max(1, len(mine | words))
            for other, words in sets.items()
        )

    return max(chosen, key=likeness)


def _frequent_words(texts: Sequence[str]) -> str:
    sets = [frozenset(answers.words(boxes.strip(text))) for text in texts]
    if not sets:
        return ""
    order = _by_number(Counter(word for words in sets for word in words))
    return " ".join(order[: round(statistics.median(map(len, sets)))])


def _box_habits(exchanges: Sequence[Exchange]) -> BoxHabits | None:
    shares: list[tuple[float, float, float, float]] = []
    counts = []
    for each in exchanges:
        width, height = each.asked.image_sizes[-1]
        found = [boxes.enclosing(box) for box in boxes.parse(each.answer, each.asked)]
        shares += [
            (box.x0 / width, box.y0 / height, box.x1 / width, box.y1 / height) for box in found
        ]
        counts += [len(found)] if found else []
    if not shares:
        return None
    x0, y0, x1, y1 = (statistics.fmean(values) for values in zip(*shares, strict=True))
    return BoxHabits(
        mean=(x0, y0, x1, y1), size=(x1 - x0, y1 - y0), count=round(statistics.median(counts))
    )
