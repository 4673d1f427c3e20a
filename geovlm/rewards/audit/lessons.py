"""Learns what a blind policy may know: the question, and statistics of the training answers."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from geovlm import answers, boxes
from geovlm.api import Json, ModelProfile, Size
from geovlm.boxes import Box
from geovlm.data.prompts import Prompt

COMPARED = 200
"""Largest number of training answers among which the most typical is sought, evenly spread."""
OPTIONS = 32
"""Largest number of training answers that are options of a question without a vocabulary."""


class Place(NamedTuple):
    """Place and size of the first box that a question names; each from 0 to 2."""

    across: int
    """Third of the image that holds the centre, from the left."""
    down: int
    """The same from the top."""
    size: int
    """Number of thresholds (1 % and 10 % of the image) that its area exceeds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A sample without its pixels and without its correct answer."""

    text: str
    kind: str
    """Kind of the question: its `type`, else its vocabulary. Questions of a kind share answers."""
    vocabulary: tuple[str, ...]
    """The answers or labels that the task publishes; empty if it has no list."""
    place: Place | None
    """Place of the box that the question names; `None` if it names none."""
    profile: ModelProfile
    image_sizes: tuple[Size, ...]
    input_sizes: tuple[Size, ...]
    thinks: bool = True
    """True if the task asks for reasoning, see `TaskSpec.reasoning`."""

    def boxes(self, text: str, *, limit: int = 256) -> tuple[Box, ...]:
        """Return the boxes of the question or its answer; none if the frame is not known.

        A task that writes a box in an unknown frame has stopped before.
        """
        known = self.profile.box_frame is not None
        return boxes.parse(text, self, limit=limit) if known else ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """A question with its correct answer, from which policies learn."""

    question: Question
    answer: str
    target: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxHabits:
    """Statistics of the boxes of correct answers, in shares of the image's width and height."""

    mean: tuple[float, float, float, float]
    """Mean of x0, y0, x1, y1."""
    size: tuple[float, float]
    """Mean width and height."""
    count: int
    """Median number of boxes per answer that has any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lessons:
    """Statistics of the training split; an empty field does not apply to the task."""

    answers: Mapping[str, tuple[str, ...]]
    """Kind -> correct answers, most frequent first; only for closed answers and label lists."""
    frequent_labels: tuple[str, ...]
    """With several labels per answer: those most frequent labels whose set has the best mean F1."""
    facts: tuple[str, ...]
    """Every value that a fact of a caption may have."""
    usual_facts: Mapping[Place | None, str]
    """Place (`None`: any) -> the most frequent value of every fact, as text."""
    captions: Mapping[Place | None, str]
    """Place (`None`: any) -> most typical answer, its boxes included."""
    words: str
    """The most frequent words of captions, as many as a caption has (median)."""
    boxes: BoxHabits | None
    box_labels: tuple[str, ...] = ()
    """Labels of true boxes, most frequent first; empty where boxes have none of their own."""

    def options(self, question: Question) -> tuple[str, ...]:
        """Return the possible answers of a question; frequent ones of the training split first."""
        seen = self.answers.get(question.kind, ())[:OPTIONS]
        if not question.vocabulary:
            return seen
        known = [entry for entry in seen if entry in question.vocabulary]
        return tuple(dict.fromkeys([*known, *question.vocabulary]))


def exchange(prompt: Prompt, *, profile: ModelProfile) -> Exchange:
    """Return question and correct answer of a sample, as policies and their training use them."""
    target: Mapping[str, Any] = prompt.target
    vocabulary = tuple(map(str, target.get("vocabulary") or ()))
    bare = Question(
        text=prompt.question,
        kind=str(target.get("type") or json.dumps(sorted(vocabulary))),
        vocabulary=vocabulary,
        place=None,
        profile=profile,
        image_sizes=prompt.image_sizes,
        input_sizes=prompt.input_sizes,
        thinks=prompt.thinks,
    )
    named = bare.boxes(bare.text, limit=1)
    question = replace(bare, place=_place(named[0], bare.image_sizes[-1])) if named else bare
    return Exchange(question=question, answer=prompt.answer, target=target)


def learn(exchanges: Sequence[Exchange]) -> Lessons:
    """Return the statistics of the exchanges; at least one is needed."""
    captioned = [each for each in exchanges if _is_caption(each)]
    listed = [each for each in exchanges if "answer" in each.target or each.question.vocabulary]
    by_kind: dict[str, Counter[str]] = {}
    for each in listed:
        by_kind.setdefault(each.question.kind, Counter())[each.answer] += 1
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
        box_labels=_box_labels(exchanges),
    )


def _is_caption(each: Exchange) -> bool:
    if each.target.get("captions") or each.target.get("text"):
        return True
    closed = "answer" in each.target or each.question.vocabulary
    words = [word for word in answers.words(boxes.strip(each.answer)) if word != "none"]
    return not closed and bool(words)


def _by_place(exchanges: Sequence[Exchange]) -> dict[Place | None, list[Exchange]]:
    groups: dict[Place | None, list[Exchange]] = {None: list(exchanges)} if exchanges else {}
    for each in exchanges:
        if each.question.place is not None:
            groups.setdefault(each.question.place, []).append(each)
    return groups


def _place(box: Box, size: Size) -> Place:
    x, y = (box.x0 + box.x1) / 2 / size[0], (box.y0 + box.y1) / 2 / size[1]
    share = (box.x1 - box.x0) * (box.y1 - box.y0) / (size[0] * size[1])
    return Place(min(2, int(3 * x)), min(2, int(3 * y)), (share > 0.01) + (share > 0.1))


def _by_number(counts: Counter[str]) -> list[str]:
    """Return the keys, most frequent first; equally frequent ones in alphabetical order."""
    return sorted(counts, key=lambda key: (-counts[key], key))


def _frequent_labels(listed: Sequence[Exchange]) -> tuple[str, ...]:
    sets = [
        frozenset(answers.labels(each.answer, each.question.vocabulary))
        for each in listed
        if each.question.vocabulary
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
    """Return the text most similar to the others (Jaccard of word sets); the first of equals."""
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


def _box_labels(exchanges: Sequence[Exchange]) -> tuple[str, ...]:
    targets: list[Mapping[str, Any]] = [each.target for each in exchanges]
    named = (str(label) for target in targets for label in target.get("box_labels") or ())
    return tuple(_by_number(Counter(named)))


def _box_habits(exchanges: Sequence[Exchange]) -> BoxHabits | None:
    shares: list[tuple[float, float, float, float]] = []
    counts = []
    for each in exchanges:
        width, height = each.question.image_sizes[-1]
        found = [boxes.enclosing(box) for box in each.question.boxes(each.answer)]
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
