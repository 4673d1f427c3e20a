"""Reward columns: one function for TRL per (task, reward), `None` where the row is not its own.

TRL leaves a `None` out of a row's sum, so routing needs nothing else; and a group of completions
belongs to one prompt, hence to one task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from geovlm.api import ModelProfile, RewardContext, RewardSpec, TaskSpec
from geovlm.config import health
from geovlm.data.prompts import reward_context
from geovlm.engine.rows.rows import Row
from geovlm.engine.stopping import RewardWatch
from geovlm.plugins.registry import Registry
from geovlm.rewards.scoring import format_rewards, score


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One reward of one task."""

    task: str
    reward: RewardSpec
    weight: float
    """0: computed and logged, without effect on training."""

    @property
    def name(self) -> str:
        """Its name in logs: `xbd/detect/detection`."""
        return f"{self.task}/{self.reward.name}"


def columns(tasks: Sequence[TaskSpec], *, registry: Registry, active: str) -> list[Column]:
    """Return the columns of a stage: format, the active set with its weights, the other at 0."""
    made = []
    for task in tasks:
        chosen = task.rewards[active]
        trained = {**format_rewards(task), **chosen}
        named = {name: 0.0 for rewards in task.rewards.values() for name in rewards}
        for name, weight in {**trained, **named, **trained}.items():
            made.append(Column(task=task.name, reward=registry.reward(name), weight=weight))
    return made


def weights(cols: Sequence[Column]) -> dict[str, dict[str, float]]:
    """Return task -> reward -> weight, of the rewards that train."""
    found: dict[str, dict[str, float]] = {}
    for column in cols:
        if column.weight:
            found.setdefault(column.task, {})[column.reward.name] = column.weight
    return found


def totals(
    cols: Sequence[Column],
    completions: Sequence[str],
    contexts: Sequence[RewardContext],
    *,
    watch: RewardWatch | None = None,
) -> list[tuple[float, dict[str, float | None]]]:
    """Return, for each completion, its weighted total and the value of every reward of its task."""
    parts: list[dict[str, float | None]] = [{} for _ in completions]
    sums = [0.0] * len(completions)
    for column in cols:
        for i, value in _values(column, completions, contexts, watch=watch).items():
            parts[i][column.reward.name] = value
            sums[i] += column.weight * (value or 0.0)
    return list(zip(sums, parts, strict=True))


@dataclass
class CompletionLog:
    """Collects the values of all columns for a generation batch, then writes its records."""

    cols: Sequence[Column]
    write: Callable[[list[dict[str, Any]]], None]
    by_column: dict[str, list[float | None]] = field(default_factory=dict)

    def add(
        self,
        column: Column,
        values: list[float | None],
        *,
        rows: Sequence[Row],
        texts: Sequence[str],
        step: int,
    ) -> None:
        """Add the values of one column; the last column of the batch triggers the write."""
        self.by_column[column.name] = values
        if len(self.by_column) < len(self.cols):
            return
        records = []
        for i, (row, text) in enumerate(zip(rows, texts, strict=True)):
            own = [c for c in self.cols if c.task == row.task]
            parts = {c.reward.name: self.by_column[c.name][i] for c in own}
            total = sum(c.weight * (parts[c.reward.name] or 0.0) for c in own)
            records.append(
                {
                    "step": step,
                    "task": row.task,
                    "sample_id": row.sample_id,
                    "question": row.question,
                    "completion": text,
                    "rewards": parts,
                    "reward": total,
                }
            )
        self.by_column = {}
        self.write(records)


class _Batch(NamedTuple):
    """One generation batch, decoded."""

    ids: Sequence[Sequence[int]] | None
    texts: list[str]
    contexts: list[RewardContext]
    rows: list[Row]


def trl_functions(
    cols: Sequence[Column],
    *,
    rows: Sequence[Row],
    decode: Callable[[Sequence[Sequence[int]]], list[str]],
    profile: ModelProfile,
    options: Mapping[str, Any],
    log: CompletionLog,
    watch: RewardWatch | None = None,
) -> list[Callable[..., list[float | None]]]:
    """Return the columns as TRL takes them: named functions of a batch.

    They read what `decode` makes of the completion tokens: a tokenizer may parse its own messages
    and take the reasoning out of the content. The first one also logs which share of completions
    repeats itself. The column `row` of the trainer's data set holds the numbers of `rows`.
    """
    batch = _Batch(None, [], [], [])  # the last one: TRL hands all columns the same list in turn

    def make(column: Column) -> Callable[..., list[float | None]]:
        def function(
            completion_ids: list[list[int]],
            row: list[int],
            trainer_state: Any,
            log_metric: Callable[[str, float], None] = lambda name, value: None,
            **_: Any,
        ) -> list[float | None]:
            nonlocal batch
            step = trainer_state.global_step
            if batch.ids is not completion_ids:
                own = [rows[number] for number in row]
                done = step / max(1, trainer_state.max_steps)
                contexts = [
                    reward_context(each, profile=profile, options=options, progress=done)
                    for each in own
                ]
                texts = decode(completion_ids)
                batch = _Batch(completion_ids, texts, contexts, own)
            scored = _values(column, batch.texts, batch.contexts, watch=watch)
            values = [scored.get(i) for i in range(len(batch.texts))]
            if column is cols[0]:
                repeating = sum(map(health.repeats, batch.texts))
                log_metric(health.REPETITION, repeating / len(batch.texts))
            log.add(column, values, rows=batch.rows, texts=batch.texts, step=step)
            return values

        function.__name__ = column.name
        return function

    return [make(column) for column in cols]


def _values(
    column: Column,
    completions: Sequence[str],
    contexts: Sequence[RewardContext],
    *,
    watch: RewardWatch | None,
) -> dict[int, float | None]:
    """Return position -> value of the completions that belong to the column's task."""
    mine = [i for i, context in enumerate(contexts) if context.task == column.task]
    if not mine:
        return {}
    given = column.reward, [completions[i] for i in mine], [contexts[i] for i in mine]
    if watch is None:
        return dict(zip(mine, score(*given), strict=True))
    with watch.watching(column.reward.name) as began:
        return dict(zip(mine, score(*given, began=began), strict=True))
