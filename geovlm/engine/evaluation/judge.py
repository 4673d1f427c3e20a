"""Rewards, metrics, intervals and paired changes of answers to one task."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from geovlm.api import Json, MetricSpec, ModelProfile, Prediction, TaskSpec
from geovlm.data.prompts import prediction, reward_context
from geovlm.engine import rewards
from geovlm.engine.rows.rows import Row, completion
from geovlm.engine.stopping import RewardWatch
from geovlm.files.jsontext import dumps
from geovlm.plugins import metrics
from geovlm.plugins.registry import Registry
from geovlm.score import paired
from geovlm.score.paired import Clusters

CHECKED = 32
"""Correct answers on which the metrics are tried."""


def clusters(rows: Sequence[Row]) -> Clusters:
    """Return the groups of rows that the bootstrap draws; see `geovlm.score.paired.clusters`."""
    return paired.clusters([row.meta for row in rows], [row.images for row in rows])


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
        return paired.values(self._specs, answered)

    def higher_is_better(self, answered: Sequence[Prediction]) -> bool:
        """Return False if a metric of which smaller is better gives the task's primary number."""
        return metrics.higher_is_better(self._specs, self.task.primary_metric, answered)

    def check(self, rows: Sequence[Row]) -> None:
        """Compute the metrics of a few correct answers, before a model has answered.

        Raises:
            MetricError: a metric raises; names it.
        """
        chosen = rows[:CHECKED]
        texts = [completion(each, answer=each.answer, reasoning=each.reasoning) for each in chosen]
        self.metrics(self.predictions(chosen, texts))

    def intervals(
        self, rows: Sequence[Row], answered: Sequence[Prediction]
    ) -> dict[str, list[float]]:
        """Return the 95 % interval of every number; see `geovlm.score.bootstrap`."""
        return paired.intervals(
            self._specs,
            answered,
            groups=clusters(rows),
            resamples=self.resamples,
            seed=self.seed,
        )

    def changes(
        self, rows: Sequence[Row], before: Sequence[Prediction], after: Sequence[Prediction]
    ) -> dict[str, dict[str, Any]]:
        """Return how every number differs between two sets of answers to the same rows.

        Each is `{"difference", "ci95", "p"}`; see `geovlm.score.bootstrap.changes`.
        """
        return paired.changes(
            self._specs,
            before,
            after,
            groups=clusters(rows),
            resamples=self.resamples,
            seed=self.seed,
        )

    @property
    def _specs(self) -> list[MetricSpec]:
        return [self.registry.metric(name) for name in self.task.metrics]
