"""Answers an evaluation by what the run configures, batch by batch, on every rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object

from geovlm.api import ModelProfile
from geovlm.engine.evaluation.answerer import counted
from geovlm.engine.generation import answering, generate
from geovlm.engine.generation.answering import PromptSet
from geovlm.engine.rows import tokens
from geovlm.engine.rows.rows import Row
from geovlm.engine.stage import Stage
from geovlm.engine.writers.writer import Expected, Writer
from geovlm.errors import StoppedError


@dataclass(frozen=True)
class Local:
    """A writer as an `Answerer`."""

    writer: Writer

    @property
    def profile(self) -> ModelProfile:
        """The model's family."""
        return self.writer.profile

    @property
    def template(self) -> str:
        """The chat template of its processor."""
        return str(self.writer.processor.chat_template)

    @property
    def decoding(self) -> str:
        """Metrics score greedy answers."""
        return "greedy"

    def max_new_tokens(self, stage: Stage) -> int:
        """Return the longest answer of any task: one batch holds several."""
        return stage.max_new_tokens([stage.task(name) for name in stage.task_names])

    def answer(
        self, stage: Stage, prompts: Sequence[PromptSet], *, folder: Path, name: str
    ) -> dict[str, answering.Texts]:
        """See `Answerer.answer`; batches that are in `folder` are not answered again."""
        writer, longest = self.writer, self.max_new_tokens(stage)
        everything = [row for each in prompts for row in each.rows]
        writer.expect(Expected(everything, stage.cache, longest))

        def respond(rows: Sequence[Row], temperature: float, seed: int) -> list[str]:
            return writer.complete(
                rows,
                cache=stage.cache,
                max_new_tokens=longest,
                temperature=temperature,
                seed=seed,
            )

        place = {"rank": stage.rank, "world_size": stage.world_size}
        length = generate.lengths(writer.processor, profile=writer.profile)
        size = stage.config.eval.batch_size
        batches = {
            each.name: answering.batched(each.rows, size=size, length=length) for each in prompts
        }
        own = sum(answering.n_texts(each, batches=batches[each.name], **place) for each in prompts)
        total = sum(len(each.rows) * len(each.temperatures) for each in prompts)
        stage.meter.begin(
            f"evaluate {name}",
            unit="answer",
            total=total,
            scale=total / max(1, own),
            detail=counted(prompts),
        )
        found: dict[str, answering.Texts] = {}
        for each in prompts:
            mine = answering.answer(
                each,
                respond,
                folder=folder,
                batches=batches[each.name],
                seed=stage.config.seed,
                **place,
                advance=stage.meter.advance,
                stop=lambda: stage.stop.requested,
            )
            if stage.stop.agreed():
                raise StoppedError(f"evaluating {name}: the answers so far are kept")
            found[each.name] = dict(gather_object(list(mine.items())))
        return found

    def cut(self, stage: Stage, rows: Sequence[Row], texts: Sequence[str]) -> list[bool]:
        """See `Answerer.cut`: a text of the longest length has no end."""
        limit = self.max_new_tokens(stage)
        return [n >= limit for n in tokens.lengths(self.writer.processor, texts)]

    def facts(self, rows: Sequence[Row]) -> Mapping[str, Any]:
        """Nothing more is known about a text than the text."""
        return {}
