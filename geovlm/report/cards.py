"""Sample cards: which samples a page shows, and what a card says of the answers to one.

A card compares named answers to one sample: those of the stages of a run, or those of several runs.
The score of an answer is the task's robust accuracy reward; an answer is right from `RIGHT` on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from geovlm import answers, boxes
from geovlm.api import PromptContext
from geovlm.plugins import profiles
from geovlm.report import figures

RIGHT = 0.5
"""Least score of a right answer: boxes are right from an IoU of one half on, as usual."""
TEXT_CHARS = 1_000
"""Longest reasoning or answer on a card; the rest is cut, and the card says so."""
COMPLETION_CHARS = 3_000
"""Longest completion in the details of a card."""
BOXES = 100
"""Largest number of boxes of one answer that a card draws."""

Record = Mapping[str, Any]
"""One line of `eval/<stage>/<task>.jsonl`."""


class Chosen(NamedTuple):
    """A sample to show, with the reason."""

    sample_id: str
    why: str
    """`most improved`, `now right`, `still wrong`, `worst`, `right`, `wrong` or `not scored`."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One named answer on a card."""

    name: str
    """The stage or the run that gave it."""
    answer: str
    """Text between the answer tags; empty if the completion has none."""
    think: str
    completion: str
    score: float | None
    """Robust accuracy reward; `None` if no such reward applies to the sample."""
    rewards: Mapping[str, float | None]
    outlines: tuple[str, ...]
    """Boxes of the answer, each as the points of an SVG polygon in pixels of the last image."""

    @property
    def right(self) -> bool | None:
        """True from a score of `RIGHT` on; `None` without a score."""
        return None if self.score is None else self.score >= RIGHT


@dataclass(frozen=True, kw_only=True)
class Card:
    """One sample with all its answers."""

    task: str
    sample_id: str
    why: str
    """The reason why the sample was chosen."""
    question: str
    gold: str
    """The correct answer."""
    pictures: tuple[figures.Picture | None, ...]
    """The images in order; `None` where the file is gone. Boxes belong to the last one."""
    truth: tuple[str, ...]
    """Correct boxes, as `Answer.outlines`."""
    answers: tuple[Answer, ...]

    @property
    def outcome(self) -> str:
        """Comparison of the last answer with the first; see `outcome`."""
        return outcome([each.score for each in self.answers])


def outcome(scores: Sequence[float | None]) -> str:
    """Return `now right`, `still wrong`, `now wrong` or `still right`, from first to last score.

    A single score is `right` or `wrong`; a score that is missing makes it `not scored`.
    """
    first, last = scores[0], scores[-1]
    if first is None or last is None:
        return "not scored"
    if len(scores) == 1:
        return "right" if last >= RIGHT else "wrong"
    then = "still" if (first >= RIGHT) == (last >= RIGHT) else "now"
    return f"{then} {'right' if last >= RIGHT else 'wrong'}"


def weights(task: str) -> dict[str, float]:
    """Return the robust accuracy rewards of a task by weight; none without its plugin."""
    from geovlm.plugins import registry

    spec = registry.load().tasks.get(task)
    return {} if spec is None else dict(spec.rewards["robust"])


def score(record: Record, *, weights: Mapping[str, float]) -> float | None:
    """Return the weighted mean of the accuracy rewards that apply to an answer, or `None`.

    If none of `weights` is in the record, its accuracy rewards count alike.
    """
    there = {name: value for name, value in record["rewards"].items() if value is not None}
    used = {name: weight for name, weight in weights.items() if name in there}
    used = used or {name: 1.0 for name in there if not name.startswith("format/")}
    total = sum(used.values())
    return sum(weight * there[name] for name, weight in used.items()) / total if total else None


def choose(scores: Mapping[str, Sequence[float | None]]) -> list[Chosen]:
    """Return at most six samples of a task, each once.

    They are the most improved, two that are now right, two that are still wrong, and the worst. If
    samples have one answer, they are a right one and the two worst. A task without scores gives two
    samples that are not scored.

    Args:
        scores: Sample -> scores of its answers in order. Of equals the first is taken, and as the
            worst the one that lost most.
    """
    known = {
        name: [value for value in own if value is not None]
        for name, own in scores.items()
        if own and None not in own
    }
    if not known:
        return [Chosen(name, "not scored") for name in list(scores)[:2]]
    gain = {name: own[-1] - own[0] for name, own in known.items()}
    by_gain = sorted(known, key=lambda name: -gain[name])
    by_score = sorted(known, key=lambda name: (known[name][-1], gain[name]))
    ended = {name: outcome(own) for name, own in known.items()}
    found: dict[str, Chosen] = {}

    def take(why: str, names: Sequence[str], most: int) -> None:
        free = [name for name in names if name not in found]
        found.update({name: Chosen(name, why) for name in free[:most]})

    take("most improved", [name for name in by_gain if gain[name] > 0], 1)
    take("now right", [name for name in by_gain if ended[name] == "now right"], 2)
    take("right", [name for name in known if ended[name] == "right"], 1)
    take("still wrong", [name for name in known if ended[name] == "still wrong"], 2)
    take("wrong", [name for name in by_score if ended[name] == "wrong"], 2)
    take("worst", by_score, 1)
    return list(found.values())


def mixed(by_task: Mapping[str, Sequence[Chosen]]) -> list[tuple[str, Chosen]]:
    """Return (task, sample) in the order of a page: tasks alternate, and so do the reasons."""
    found = []
    for turn in range(max(map(len, by_task.values()), default=0)):
        for shift, (task, own) in enumerate(by_task.items()):
            if turn < len(own):
                found.append((task, own[(turn + shift) % len(own)]))
    return found


def card(
    answered: Mapping[str, Record],
    *,
    why: str,
    weights: Mapping[str, float],
    longest_px: int = figures.CARD_PX,
) -> Card:
    """Return the card of one sample.

    Args:
        answered: Name -> record of the sample, in order; at least one. Question, images and correct
            answer are those of the last.
        why: The reason why the sample is shown.
        weights: As `weights` gives them for the task.
        longest_px: Longest side of a picture; smaller images keep their size.
    """
    record = list(answered.values())[-1]
    return Card(
        task=record["task"],
        sample_id=record["sample_id"],
        why=why,
        question=_cut(_asked(record["question"])),
        gold=_cut(record["answer"]),
        pictures=tuple(figures.picture(each, longest_px=longest_px) for each in record["images"]),
        truth=_outlines(boxes.target_boxes(record["target"])),
        answers=tuple(
            Answer(
                name=name,
                answer=_cut(answers.answer_text(each["completion"])),
                think=_cut(answers.think_text(each["completion"])),
                completion=_cut(each["completion"], COMPLETION_CHARS),
                score=score(each, weights=weights),
                rewards=each["rewards"],
                outlines=_outlines(predicted(each)),
            )
            for name, each in answered.items()
        ),
    )


def predicted(record: Record) -> tuple[boxes.Box, ...]:
    """Return the boxes of an answer in pixels of the last image.

    None where the task has no boxes, or their frame is not known.
    """
    if "boxes" not in record["target"] or "answer" in record["target"]:
        return ()
    profile = profiles.of_record(record)
    if profile is None or profile.box_frame is None:
        return ()
    context = PromptContext(
        image_sizes=tuple((w, h) for w, h in record["image_sizes"]),
        input_sizes=tuple((w, h) for w, h in record["input_sizes"]),
        profile=profile,
    )
    return boxes.parse(answers.answer_text(record["completion"]), context)


def _outlines(found: Sequence[boxes.Box]) -> tuple[str, ...]:
    corners = (boxes.corners(box) for box in found[:BOXES])
    return tuple(" ".join(f"{x:.1f},{y:.1f}" for x, y in four) for four in corners)


def _asked(question: str) -> str:
    """Return a question without the instruction that every question carries."""
    bare = question.removesuffix(answers.INSTRUCTION).removesuffix(answers.ANSWER_INSTRUCTION)
    return bare.rstrip() or question


def _cut(text: str, limit: int = TEXT_CHARS) -> str:
    left = len(text) - limit
    return text if left <= 0 else f"{text[:limit]} … {left:,} more characters"
