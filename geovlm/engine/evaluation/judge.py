"""Rewards, metrics, intervals and paired changes of answers to one task."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from geovlm import answers
from geovlm.api import Json, ModelProfile, Prediction, TaskSpec, Turn
from geovlm.data.prompts import prediction, reward_context
from geovlm.engine import rewards
from geovlm.engine.rows.rows import Row
from geovlm.engine.stopping import RewardWatch
from geovlm.files.jsontext import dumps
from geovlm.plugins import metrics
from geovlm.plugins.registry import Registry
from geovlm.score import bootstrap

CHECKED = 32
"""Correct answers on which the metrics are tried."""
MIN_EVENTS = 8
"""With fewer events among the samples, the images are the groups: no interval of so few holds."""


class Clusters(NamedTuple):
    """The groups of answers that the bootstrap draws."""

    by: str
    """`event` or `image`."""
    names: tuple[Hashable, ...]
    """Group of each row."""

    def described(self) -> dict[str, Any]:
        """Return the entry of `metrics.json` about them."""
        return {"by": self.by, "n": len(set(self.names))}


def clusters(rows: Sequence[Row]) -> Clusters:
    """Return the groups of the rows: `meta["event"]` where there are enough, else the images.

    An interval over images holds for new images of the same events only.
    """
    events = [row.meta.get("event") for row in rows]
    if all(event is not None for event in events) and len(set(events)) >= MIN_EVENTS:
        return Clusters("event", tuple(events))
    return Clusters("image", tuple(row.images for row in rows))


def prompt_hash(rows: Sequence[Row], *, template: str) -> str:
    """Return the SHA-256 of the chat template and of every sample's question, in order."""
    questions = [[row.key, row.question] for row in rows]
    return hashlib.sha256(dumps([template, questions]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Scores answers to one task."""

    task: TaskSpec
    profile: ModelProfile
    """Model family: its frame of boxes."""
    registry: Registry
    resamples: int
    """Number of draws of the bootstrap and of the permutation test."""
    seed: int
    columns: Sequence[rewards.Column] = ()
    reward_options: Mapping[str, Json] = field(default_factory=dict)
    watch: RewardWatch | None = None

    def rewards(
        self, rows: Sequence[Row], texts: Sequence[str]
    ) -> list[tuple[float, dict[str, float | None]]]:
        """Return the weighted total and every reward of each row's completion."""
        contexts = [
            reward_context(row, profile=self.profile, options=self.reward_options) for row in rows
        ]
        return rewards.totals(self.columns, texts, contexts, watch=self.watch)

    def predictions(self, rows: Sequence[Row], texts: Sequence[str]) -> list[Prediction]:
        """Return the rows with one completion each, as metrics receive them."""
        pairs = zip(rows, texts, strict=True)
        return [prediction(row, text, profile=self.profile) for row, text in pairs]

    def metrics(self, answered: Sequence[Prediction]) -> dict[str, float]:
        """Return every number of every metric of the task."""
        values: dict[str, float] = {}
        for metric in self.task.metrics:
            values.update(metrics.function(self.registry.metric(metric))(answered))
        return values

    def higher_is_better(self, answered: Sequence[Prediction]) -> bool:
        """Return False if a metric of which smaller is better gives the task's primary number."""
        specs = [self.registry.metric(name) for name in self.task.metrics]
        return metrics.higher_is_better(specs, self.task.primary_metric, answered)

    def check(self, rows: Sequence[Row]) -> None:
        """Compute the metrics of a few correct answers, before a model has answered.

        Raises:
            MetricError: a metric raises; names it.
        """
        chosen = rows[:CHECKED]
        texts = [
            answers.frame(
                Turn(question=each.question, answer=each.answer, reasoning=each.reasoning)
            )
            for each in chosen
        ]
        self.metrics(self.predictions(chosen, texts))

    def intervals(
        self, rows: Sequence[Row], answered: Sequence[Prediction]
    ) -> dict[str, list[float]]:
        """Return the 95 % interval of every number; see `geovlm.score.bootstrap`."""
        statistic = self._statistic(answered, clusters(rows).names)
        found = bootstrap.intervals(statistic, resamples=self.resamples, seed=self.seed)
        return {name: list(bounds) for name, bounds in found.items()}

    def changes(
        self, rows: Sequence[Row], before: Sequence[Prediction], after: Sequence[Prediction]
    ) -> dict[str, dict[str, Any]]:
        """Return how every number differs between two sets of answers to the same rows.

        Each is `{"difference", "ci95", "p"}`; see `geovlm.score.bootstrap.changes`.
        """
        names = [(side, name) for side in (0, 1) for name in clusters(rows).names]
        pair = self._statistic([*before, *after], names)
        found = bootstrap.changes(pair, resamples=self.resamples, seed=self.seed)
        return {
            name: {
                "difference": change.difference,
                "ci95": [change.low, change.high],
                "p": change.p,
            }
            for name, change in found.items()
        }

    def _statistic(
        self, answered: Sequence[Prediction], names: Sequence[Hashable]
    ) -> bootstrap.Statistic:
        """Return all metrics of the task as one statistic of groups."""
        found = []
        for name in self.task.metrics:
            spec = self.registry.metric(name)
            if spec.counts is not None:
                counts = list(map(metrics.counts(spec), answered))
                found.append(bootstrap.of_sums(counts, metrics.finish(spec), clusters=names))
            else:
                found.append(bootstrap.of_items(metrics.function(spec), answered, clusters=names))
        return bootstrap.together(found)
