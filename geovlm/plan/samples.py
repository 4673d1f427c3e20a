"""Draws one sample per task of a planned run: what is asked, before anything trains."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from geovlm.config.tasks import configured
from geovlm.data import preview
from geovlm.data.prompts import Prompter
from geovlm.plan.checks import Context

_QUESTION_CHARS = 160
_ANSWER_CHARS = 100


class Drawn(NamedTuple):
    """The picture of one sample, and its words."""

    task: str
    file: Path
    question: str
    answer: str
    """The correct answer."""


def draw(context: Context, folder: Path) -> list[Drawn]:
    """Draw the sample that the plan chose of each task, as `folder/<task>.png`, / written as __.

    None if the model's family is not known before the model is fetched.
    """
    profile, config = context.model.profile, context.config
    if profile is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, sample in context.reader.chosen.items():
        task = configured(context.registry.task(name), config, profile=profile)
        prompt = Prompter(task, profile=profile, options=config.task_options(task)).prompt(sample)
        file = folder / f"{name.replace('/', '__')}.png"
        preview.draw(prompt, profile=profile).save(file)
        made.append(Drawn(name, file, prompt.turn.question, prompt.turn.answer))
    return made


def lines(drawn: Sequence[Drawn]) -> list[str]:
    """Return the lines that name the pictures, each with question and correct answer below it."""
    made = []
    for each in drawn:
        question = textwrap.shorten(each.question, _QUESTION_CHARS, placeholder=" …")
        answer = textwrap.shorten(each.answer, _ANSWER_CHARS, placeholder=" …")
        made += [f"sample  {each.file}", f"        {question}", f"        answer: {answer}"]
    return made
