"""Asks EarthDial's questions; the reasoning states only what the row holds."""

from __future__ import annotations

from collections import Counter
from typing import Any

from geovlm import answers, boxes
from geovlm.api import PromptContext, Sample, Turn
from geovlm_earthdial import EarthDialTaskOptions, grammar

_MIN_WORDS = 3
_MIN_LETTERS = 4


def classify(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the class of one image."""
    number, answer = len(_listed(sample, "vocabulary")), str(sample.target["answer"])
    among = f"One of {number} answers fits. " if number else ""
    return _turn(sample, ctx, answer, f"{among}The images show: {answer}.")


series = classify


def vqa(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for a word."""
    answer = str(sample.target["answer"])
    return _turn(sample, ctx, answer, f"I look for what the question names. It fits {answer}.")


def refer(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the objects of a phrase; the answer is boxes."""
    held = boxes.target_boxes(sample.target)
    fit = "One object fits" if len(held) == 1 else f"{len(held)} objects fit"
    return _turn(
        sample, ctx, boxes.write(held, ctx), f"I look for {sample.target['label']}. {fit}."
    )


locate = refer


def region(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the object in a box."""
    captions, facts = _listed(sample, "captions"), sample.target.get("facts")
    words: Any = facts.values() if isinstance(facts, dict) else ()
    return _turn(sample, ctx, captions[0], f"Inside I see: {', '.join(words) or captions[0]}.")


damage = region


def caption(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for a sentence about an image; the answer is the first reference of three words."""
    captions = _listed(sample, "captions")
    usable = [each for each in captions if len(answers.words(each)) >= _MIN_WORDS]
    best = _tidy(usable[0] if usable else max(captions, key=len))
    return _turn(sample, ctx, best, f"I see: {', '.join(_shared(captions))}.")


def change(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask what changed; the answer is the first reference that states so, or that nothing did."""
    captions, changed = _listed(sample, "captions"), bool(sample.target["changed"])
    usable = [each for each in captions if len(answers.words(each)) >= _MIN_WORDS]
    fitting = [each for each in usable if answers.says_unchanged(each) != changed]
    best = _tidy((fitting or usable or [max(captions, key=len)])[0])
    differing = f"What differs: {', '.join(_shared(captions))}."
    return _turn(sample, ctx, best, differing if changed else "The images show the same.")


def ground(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for a description with boxes after its phrases."""
    held = list(boxes.target_boxes(sample.target))
    total, said, pieces = len(held), [], _listed(sample, "pieces")
    for words, number in pieces:
        said += [words, *(boxes.write([box], ctx) for box in held[:number])]
        held = held[number:]
    answer = " ".join(part for part in said if part)
    objects = "1 object" if total == 1 else f"{total} objects"
    return _turn(sample, ctx, answer, f"I mark {objects}.")


def _turn(sample: Sample, ctx: PromptContext, answer: str, reasoning: str) -> Turn:
    own: EarthDialTaskOptions = ctx.options or EarthDialTaskOptions()
    asked = sample.question if own.wording == "earthdial" else grammar.plain(sample.question, ctx)
    return Turn(question=asked, answer=answer, reasoning=reasoning)


def _listed(sample: Sample, name: str) -> list[Any]:
    found: Any = sample.target.get(name)
    return list(found) if found else []


def _shared(captions: list[str]) -> list[str]:
    """Return the words of four letters and more that most captions have, at most eight."""
    number: Counter[str] = Counter()
    for each in captions:
        words = [word for word in answers.words(each) if len(word) >= _MIN_LETTERS]
        number.update(list(dict.fromkeys(words)))
    least = min(len(captions) // 2 + 1, max(number.values(), default=0))
    return [word for word, count in number.items() if count >= least][:8] or [_tidy(captions[0])]


def _tidy(sentence: str) -> str:
    return " ".join(sentence.split()).replace(" .", ".").replace(" ,", ",")
