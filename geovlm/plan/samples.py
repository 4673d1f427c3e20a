"""Draws one sample per task of a planned run: what is asked, before anything trains."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from geovlm.api import TaskSpec
from geovlm.config.tasks import configured
from geovlm.data import preview
from geovlm.data.prompts import Prompt, Prompter
from geovlm.errors import GeoVLMError
from geovlm.plan.checks import Context
from geovlm.plan.data import Reader

_READ = 4
"""Number of samples of which one is drawn."""

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
    """Draw a sample of each task as `folder/<task>.png`, with / in the name written as __.

    It is one of the first few, with boxes if there are such, so that little is read. A task without
    data is left out: the check of the data, which comes later, says why. So are all tasks if the
    model's family is not known before the model is fetched.
    """
    if context.model.profile is None:
        return []
    reader = Reader(context.config, context.registry, context.model, None)
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for task in context.specs:
        try:
            prompt = _prompt(task, context, reader)
        except GeoVLMError:
            continue
        file = folder / f"{task.name.replace('/', '__')}.png"
        preview.draw(prompt, profile=context.model.profile).save(file)
        made.append(Drawn(task.name, file, prompt.turn.question, prompt.turn.answer))
    return made


def _prompt(task: TaskSpec, context: Context, reader: Reader) -> Prompt:
    config, profile = context.config, context.model.profile
    assert profile is not None
    spec = context.registry.dataset(task.dataset)
    own = configured(task, config, profile=profile)
    found = preview.samples(
        own,
        spec,
        root=reader.root(spec, few=True).folder,
        split="train" if "train" in spec.splits else spec.splits[0],
        n=_READ,
        options=config.data_options(spec),
    )
    sample = next((each for each in found if each.target.get("boxes")), found[0])
    return Prompter(own, profile=profile, options=config.task_options(own)).prompt(sample)


def lines(drawn: Sequence[Drawn]) -> list[str]:
    """Return the lines that name the pictures, each with question and correct answer below it."""
    made = []
    for each in drawn:
        question = textwrap.shorten(each.question, _QUESTION_CHARS, placeholder=" …")
        answer = textwrap.shorten(each.answer, _ANSWER_CHARS, placeholder=" …")
        made += [f"sample  {each.file}", f"        {question}", f"        answer: {answer}"]
    return made
