"""The one that answers an evaluation: a model in this process, or one behind an endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from geovlm.api import ModelProfile
from geovlm.engine.generation.answering import PromptSet, Texts
from geovlm.engine.rows.rows import Row
from geovlm.engine.stage import Stage


class Answerer(Protocol):
    """Answers prompts; the evaluation scores them the same way, whoever answered."""

    @property
    def profile(self) -> ModelProfile:
        """Frame and order of boxes, and sizes of images."""

    @property
    def template(self) -> str:
        """The text that turns a question into a prompt, as far as it is known; part of its hash."""

    @property
    def decoding(self) -> str:
        """The decoding of the answers that metrics score: `greedy`, or what else is known."""

    def max_new_tokens(self, stage: Stage) -> int:
        """Return the longest answer, tokens."""

    def answer(
        self, stage: Stage, prompts: Sequence[PromptSet], *, folder: Path, name: str
    ) -> dict[str, Texts]:
        """Return name of a prompt set -> row key -> texts; on the main process those of all ranks.

        What was answered before an interruption is kept, in `folder` or elsewhere.

        Raises:
            StoppedError: the run is to stop; the answers so far are on the disk.
        """

    def cut(self, stage: Stage, rows: Sequence[Row], texts: Sequence[str]) -> list[bool]:
        """Return, for each row and its greedy text, if the text was cut at the longest length."""

    def facts(self, rows: Sequence[Row]) -> Mapping[str, Any]:
        """Return more entries of a task's scores, about the answers to its rows."""


def counted(prompts: Sequence[PromptSet]) -> str:
    """Return what the answers of an evaluation are, in words."""
    sampled = len(prompts[0].temperatures) - 1
    times = "" if sampled == 1 else f" {sampled} times"
    told = [f"{len(prompts[0].rows)} samples, each greedy and sampled{times}"]
    told += [f"{len(each.rows)} {each.name.replace('_', ' ')}" for each in prompts[1:] if each.rows]
    return ", ".join(told)
