"""Evaluation inside the process that holds the model: greedy answers, metrics, sampled reward."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from accelerate.utils import gather_object

from geovlm import bootstrap
from geovlm.api import Prediction, TaskSpec
from geovlm.engine import data, generate, rewards
from geovlm.engine.model import Loaded
from geovlm.engine.stage import Stage
from geovlm.registry import Registry, resolve


def evaluate(stage: Stage, loaded: Loaded, *, name: str) -> None:
    """Score the model on every task of the run and write it down under the stage's name.

    Writes `eval/<name>/<task>.jsonl` and the entry of `metrics.json`. Every rank answers its share
    of the rows. Tasks that are already there (a resumed run) are left as they are.

    Args:
        stage: the running stage.
        loaded: model, processor and profile.
        name: `base`, `sft` or `grpo`.
    """
    tasks = [stage.registry.task(task) for task in stage.task_names]
    missing = [task for task in tasks if not stage.run.has_metrics(task.name, name)]
    if not missing:
        return
    settings = stage.config.eval
    rows = [
        row
        for task in missing
        for row in stage.rows(
            task, split=stage.eval_split(task), profile=loaded.profile, limit=settings.limit
        )
    ]
    mine = rows[stage.rank :: stage.world_size]
    bar = stage.bar(f"evaluating {name}", total=2 * len(mine))
    texts: list[list[str]] = []
    for temperature in (0.0, settings.temperature):
        texts.append(
            generate.complete(
                loaded.model,
                loaded.processor,
                mine,
                cache=stage.cache,
                max_new_tokens=stage.max_new_tokens(missing),
                batch_size=settings.batch_size,
                temperature=temperature,
                seed=stage.config.seed + stage.rank,
                advance=bar.advance if bar is not None else lambda n: None,
            )
        )
    if bar is not None:
        bar.close()
    answered = [
        (row.key, greedy, sampled) for row, greedy, sampled in zip(mine, *texts, strict=True)
    ]
    by_key = {key: (greedy, sampled) for key, greedy, sampled in gather_object(answered)}
    if not stage.is_main:
        return
    for task in missing:
        own = [row for row in rows if row.task == task.name]
        _write_task(
            stage,
            task,
            rows=own,
            greedy=[by_key[row.key][0] for row in own],
            sampled=[by_key[row.key][1] for row in own],
            loaded=loaded,
            name=name,
        )


def metrics(
    task: TaskSpec, predictions: Sequence[Prediction], *, registry: Registry
) -> dict[str, float]:
    """Return every number of every metric of the task."""
    values: dict[str, float] = {}
    for metric in task.metrics:
        values.update(resolve(registry.metric(metric).compute)(predictions))
    return values


def _write_task(
    stage: Stage,
    task: TaskSpec,
    *,
    rows: list[data.Row],
    greedy: list[str],
    sampled: list[str],
    loaded: Loaded,
    name: str,
) -> None:
    """Score one task and write its file and its entry."""
    config = stage.config
    cols = rewards.columns([task], registry=stage.registry, active=config.rewards)
    contexts = [
        data.reward_context(row, profile=loaded.profile, options=config.reward_options)
        for row in rows
    ]
    greedy_totals = rewards.totals(cols, greedy, contexts)
    sampled_totals = rewards.totals(cols, sampled, contexts)
    predictions = [
        data.prediction(row, text, profile=loaded.profile)
        for row, text in zip(rows, greedy, strict=True)
    ]
    values = metrics(task, predictions, registry=stage.registry)

    def compute(chosen: Sequence[Prediction]) -> dict[str, float]:
        return metrics(task, chosen, registry=stage.registry)

    ci95 = bootstrap.interval(
        compute, predictions, resamples=config.eval.resamples, seed=config.seed
    )
    lines = []
    for i, row in enumerate(rows):
        record: dict[str, Any] = {
            "task": row.task,
            "sample_id": row.sample_id,
            "images": [json.loads(reference) for reference in row.images],
            "question": row.question,
            "completion": greedy[i],
            "answer": row.answer,
            "reasoning": row.reasoning,
            "target": dict(row.target),
            "image_sizes": row.image_sizes,
            "input_sizes": row.input_sizes,
            "profile": loaded.profile.name,
            "meta": dict(row.meta),
            "rewards": greedy_totals[i][1],
            "sampled": {"completion": sampled[i], "rewards": sampled_totals[i][1]},
        }
        lines.append(json.dumps(record))
    stage.run.write_eval(task.name, name, lines)
    stage.run.write_metrics(
        task.name,
        name,
        primary=task.primary_metric,
        entry={
            "n": len(rows),
            "split": stage.eval_split(task),
            "seed": config.seed,
            "task_version": task.version,
            "metrics": values,
            "ci95": {key: list(bounds) for key, bounds in ci95.items()},
            "sampled_reward": sum(total for total, _ in sampled_totals) / len(rows),
            "greedy_reward": sum(total for total, _ in greedy_totals) / len(rows),
            "sampled_rewards": _means([parts for _, parts in sampled_totals]),
        },
    )


def _means(parts: list[dict[str, float | None]]) -> dict[str, float]:
    """Return the mean of each reward over the rows that it applies to."""
    sums: dict[str, list[float]] = {}
    for each in parts:
        for reward, value in each.items():
            if value is not None:
                sums.setdefault(reward, []).append(value)
    return {reward: sum(values) / len(values) for reward, values in sums.items()}
