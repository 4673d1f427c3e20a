"""Evaluation inside the process that holds the model: answers, then scores, then `metrics.json`.

What is asked beside the tasks themselves, to judge the scores by, is in `controls`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object

from geovlm.api import Prediction, TaskSpec
from geovlm.data import prompts
from geovlm.engine import rewards
from geovlm.engine.evaluation import controls
from geovlm.engine.evaluation import judge as scores
from geovlm.engine.generation import answering, generate
from geovlm.engine.generation.answering import Ask
from geovlm.engine.models.load import Loaded
from geovlm.engine.rows import rows as data
from geovlm.engine.stage import Stage
from geovlm.errors import StoppedError
from geovlm.score import against

PUBLISHED_RESAMPLES = 200
"""Of the intervals of published scores, which are finished one resample at a time."""


def evaluate(stage: Stage, loaded: Loaded, *, name: str) -> None:
    """Score the model on every task of the run and write it down under the stage's name.

    Writes `eval/<name>/<task>.jsonl` and the entry of `metrics.json`. Every rank answers its share
    of the rows. Tasks that are already there (a resumed run) are left as they are; answers that
    are already there are not asked again.

    Args:
        stage: the running stage.
        loaded: model, processor and profile.
        name: `base`, `sft` or `grpo`, or with a number: `sft-2`.

    Raises:
        StoppedError: it was asked to stop; the answers so far are on the disk.
    """
    tasks = [stage.task(task) for task in stage.task_names]
    missing = [task for task in tasks if not stage.run.has_metrics(task.name, name)]
    folder = stage.run.answers(name)
    if not missing:
        if stage.is_main:
            shutil.rmtree(folder, ignore_errors=True)
        return
    settings = stage.config.eval
    rows = {
        task.name: list(
            stage.rows(
                task,
                split=stage.config.eval_split(task.name),
                profile=loaded.profile,
                limit=settings.limit,
            )
        )
        for task in tasks
    }
    everything = [row for many in rows.values() for row in many]
    asks = [Ask(name="model", rows=everything, temperatures=(0.0, settings.temperature))]
    last = is_last(stage, name=name)
    asks += controls.asks(
        rows,
        pairs=[task.name for task in tasks if "bitemporal" in task.tags],
        settings=settings,
        last=last,
        seed=stage.config.seed,
    )
    answered = _answer(stage, loaded, asks, folder=folder, title=f"evaluating {name}")
    if not stage.is_main:
        return
    for task in missing:
        _write_task(
            stage,
            task,
            rows=rows[task.name],
            answered=answered,
            loaded=loaded,
            name=name,
            max_new_tokens=stage.max_new_tokens(tasks),
        )
    shutil.rmtree(folder, ignore_errors=True)


def is_last(stage: Stage, *, name: str) -> bool:
    """Whether no later stage of the run is evaluated."""
    if stage.index == -1:
        return True
    later = stage.config.stages[stage.index + 1 :]
    return name != "base" and all(each.kind == "probe" for each in later)


def _answer(
    stage: Stage, loaded: Loaded, asks: Sequence[Ask], *, folder: Path, title: str
) -> dict[str, answering.Texts]:
    """Return ask -> row key -> texts; on the main process those of all ranks."""
    tasks = [stage.task(task) for task in stage.task_names]

    def respond(rows: Sequence[data.Row], temperature: float, seed: int) -> list[str]:
        return generate.complete(
            loaded.model,
            loaded.processor,
            rows,
            cache=stage.cache,
            max_new_tokens=stage.max_new_tokens(tasks),
            temperature=temperature,
            seed=seed,
        )

    place = {"rank": stage.rank, "world_size": stage.world_size}
    length = generate.lengths(loaded.processor, profile=loaded.profile)
    size = stage.config.eval.batch_size
    batches = {each.name: answering.batched(each.rows, size=size, length=length) for each in asks}
    total = sum(answering.n_texts(ask, batches=batches[ask.name], **place) for ask in asks)
    bar = stage.bar(title, total=total)
    found: dict[str, answering.Texts] = {}
    for ask in asks:
        mine = answering.answer(
            ask,
            respond,
            folder=folder,
            batches=batches[ask.name],
            seed=stage.config.seed,
            **place,
            advance=bar.advance if bar is not None else lambda n: None,
            stop=lambda: stage.stop.asked,
        )
        if stage.stop.agreed():
            raise StoppedError(f"{title}: the answers so far are kept")
        found[ask.name] = dict(gather_object(list(mine.items())))
    if bar is not None:
        bar.close()
    return found


def _write_task(
    stage: Stage,
    task: TaskSpec,
    *,
    rows: list[data.Row],
    answered: Mapping[str, answering.Texts],
    loaded: Loaded,
    name: str,
    max_new_tokens: int,
) -> None:
    """Score one task and write its files and its entry."""
    config = stage.config
    greedy, sampled = ([answered["model"][row.key][i] for row in rows] for i in (0, 1))
    cols = rewards.columns([task], registry=stage.registry, active=config.rewards)
    contexts = [
        prompts.reward_context(row, profile=loaded.profile, options=config.reward_options)
        for row in rows
    ]
    greedy_totals = rewards.totals(cols, greedy, contexts, watch=stage.watch)
    sampled_totals = rewards.totals(cols, sampled, contexts, watch=stage.watch)
    judge = scores.Judge(
        task=task,
        profile=loaded.profile,
        registry=stage.registry,
        resamples=config.eval.resamples,
        seed=config.seed,
    )
    predictions = judge.predictions(rows, greedy)
    records = [
        {
            **_described(row),
            "completion": greedy[i],
            "profile": loaded.profile.name,
            "rewards": greedy_totals[i][1],
            "sampled": {"completion": sampled[i], "rewards": sampled_totals[i][1]},
        }
        for i, row in enumerate(rows)
    ]
    stage.run.write_eval(task.name, name, [json.dumps(record) for record in records])
    template = str(loaded.processor.chat_template)  # type: ignore[attr-defined]  # a mixin's field
    entry: dict[str, Any] = {
        "n": len(rows),
        "split": stage.config.eval_split(task.name),
        "seed": config.seed,
        "task_version": task.version,
        "protocol": task.protocol,
        "prompt_sha256": scores.prompt_hash(rows, template=template),
        "pixels": {
            "min": max(loaded.profile.min_pixels, task.min_pixels),
            "max": loaded.profile.max_pixels,
        },
        "decoding": {
            "metrics": "greedy",
            "reward_temperature": config.eval.temperature,
            "max_new_tokens": max_new_tokens,
        },
        "interval": {
            "level": 0.95,
            "method": "expanded percentile bootstrap of clusters",
            "resamples": config.eval.resamples,
            "clusters": scores.clusters(rows).described(),
        },
        "metrics": judge.metrics(predictions),
        "ci95": judge.intervals(rows, predictions),
        "sampled_reward": sum(total for total, _ in sampled_totals) / len(rows),
        "greedy_reward": sum(total for total, _ in greedy_totals) / len(rows),
        "sampled_rewards": _means([parts for _, parts in sampled_totals]),
        "published": against.by_protocol(
            stage.run.eval_file(task.name, name),
            protocol=task.protocol,
            resamples=min(PUBLISHED_RESAMPLES, config.eval.resamples),
            seed=config.seed,
        ),
    }
    before = stage.run.latest_stage(task.name)
    if before is not None:
        earlier = _earlier(stage, judge, rows, name=before)
        entry["change"] = {
            "against": before,
            "metrics": judge.changes(rows, earlier, predictions),
        }
    found = controls.score(stage, judge, rows, answered, name=name, last=is_last(stage, name=name))
    stage.run.write_metrics(task.name, name, primary=task.primary_metric, entry=entry, beside=found)


def _earlier(
    stage: Stage, judge: scores.Judge, rows: Sequence[data.Row], *, name: str
) -> list[Prediction]:
    """Return what an earlier stage answered to the same rows."""
    lines = stage.run.eval_file(judge.task.name, name).read_text(encoding="utf-8").splitlines()
    said = {record["sample_id"]: record["completion"] for record in map(json.loads, lines)}
    return judge.predictions(rows, [said[row.sample_id] for row in rows])


def _described(row: data.Row) -> dict[str, Any]:
    """Return what an answer's record says of its row."""
    return {
        "task": row.task,
        "sample_id": row.sample_id,
        "images": [json.loads(reference) for reference in row.images],
        "question": row.question,
        "answer": row.answer,
        "reasoning": row.reasoning,
        "target": dict(row.target),
        "image_sizes": row.image_sizes,
        "input_sizes": row.input_sizes,
        "meta": dict(row.meta),
    }


def _means(parts: list[dict[str, float | None]]) -> dict[str, float]:
    """Return the mean of each reward over the rows that it applies to."""
    sums: dict[str, list[float]] = {}
    for each in parts:
        for reward, value in each.items():
            if value is not None:
                sums.setdefault(reward, []).append(value)
    return {reward: sum(values) / len(values) for reward, values in sums.items()}
