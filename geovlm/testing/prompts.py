"""Checks the questions of a task and their perfect answers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from geovlm import answers
from geovlm.api import Turn
from geovlm.plugins import profiles
from geovlm.plugins.references import resolve
from geovlm.testing.findings import Finding, fault, source
from geovlm.testing.subject import Subject, ask

_TOKEN = re.compile(
    r"<\|[a-z0-9_]+\|>"  # Qwen's and Phi's: <|image_pad|>, <|vision_start|>, <|im_end|>
    r"|</?(?:image|img|video|vision)(?:[ _-]?[a-z0-9_]+)?>"  # <image>, <img>, <image_soft_token>
    r"|<img_context>|\[img\]|<start_of_image>",
    re.IGNORECASE,
)
_FILLER = frozenset(
    {"a", "an", "the", "so", "thus", "hence", "therefore", "because", "this", "that", "it", "is"}
    | {"was", "answer", "be"}
)


def prompts_clean(subject: Subject) -> Iterator[Finding]:
    """Every sample becomes a question and an answer without image or chat tokens and without tags.

    The chat template of the model puts the images in; the engine puts the tags in.
    """
    for task in subject.tasks:
        file = source(resolve(task.prompt))
        for profile in profiles.FRAMES:
            for sample in subject.chosen[task.name]:
                turn = ask(task, sample, profile=profile).turn
                for why in _unclean(turn):
                    yield fault(f"task {task.name!r}, sample {sample.id!r}: {why}", file=file)


def reasoning_present(subject: Subject) -> Iterator[Finding]:
    """Every perfect answer has a reasoning that adds something, unless its task asks for none."""
    for task in subject.tasks:
        if task.reasoning == "none":  # `ask` refuses one there
            continue
        for sample in subject.chosen[task.name]:
            turn = ask(task, sample, profile=profiles.QWEN2_5_VL).turn
            stated = set(answers.words(turn.reasoning))
            where = f"task {task.name!r}, sample {sample.id!r}"
            if not stated:
                why = (
                    "there is no reasoning: derive a short, true one from the annotation, or "
                    "declare the task with reasoning='none'"
                )
            elif not stated - set(answers.words(turn.answer)) - _FILLER:
                why = f"the reasoning {turn.reasoning!r} only repeats the answer"
            else:
                continue
            yield fault(f"{where}: {why}", file=source(resolve(task.prompt)))


def _unclean(turn: Turn) -> Iterator[str]:
    for part in ("question", "answer", "reasoning"):
        token = _TOKEN.search(getattr(turn, part))
        if token:
            yield f"its {part} holds the token {token.group()!r}"
    if not turn.answer.strip():
        yield "its answer is empty"
