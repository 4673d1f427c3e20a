"""Evaluates a model: first all answers, then the scores of each task, then `metrics.json`.

An `Answerer` gives the answers, so nothing here needs torch.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from geovlm.api import ModelProfile, TaskSpec
from geovlm.engine import rewards
from geovlm.engine.evaluation import blind, controls, frames, orders, sampled, scores
from geovlm.engine.evaluation.answerer import Answerer
from geovlm.engine.evaluation.judge import Judge, clusters, prompt_hash
from geovlm.engine.generation import answering
from geovlm.engine.generation.answering import PromptSet
from geovlm.engine.rows.rows import Row, Rows
from geovlm.engine.stage import Stage, drawn
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm.run.files import JsonLines
from geovlm.score import against

PUBLISHED_RESAMPLES = 200
"""Resamples of the intervals of published scores, which are finished one resample at a time."""
MAJORITY_ROWS = 4096
"""Training rows of a task, drawn at random, whose answers are counted."""
_MODEL = "model"
"""Name of the prompts of the tasks themselves."""


def evaluate(stage: Stage, answerer: Answerer, *, name: str) -> None:
    """Score the model on every task and write the scores under `name`: `base`, `sft`, `sft-2`, ….

    Writes `eval/<name>/<task>.jsonl` and the entry of `metrics.json`. Every rank answers its share
    of the rows. A resumed run keeps the tasks that are scored and the answers that are written.

    Raises:
        MetricError: a metric raises on correct answers; found before the model answers.
        StoppedError: the run is to stop; the answers so far are on the disk.
    """
    tasks = [stage.task(task) for task in stage.task_names]
    missing = [task for task in tasks if not stage.run.has_metrics(task.name, name)]
    folder = stage.run.answers(name)
    if not missing:
        if stage.is_main:
            _finish(stage, name=name)
        return
    settings = stage.config.eval
    asked = {
        task.name: stage.rows(
            task,
            split=stage.config.eval_split(task.name),
            profile=answerer.profile,
            limit=settings.limit,
        )
        for task in tasks
    }
    rows = {task: list(many) for task, many in asked.items()}
    last = is_last(stage, name=name)
    permuted = _permuted(stage, asked) if controls.asks_the_model(settings, last=last) else {}
    everything = [row for many in rows.values() for row in many]
    prompts = [
        PromptSet(
            name=_MODEL,
            rows=everything,
            temperatures=(0.0, *[settings.temperature] * settings.samples),
        ),
        *controls.prompt_sets(
            rows,
            bitemporal=[task.name for task in tasks if "bitemporal" in task.tags],
            permuted=[row for many in permuted.values() for row in many],
            settings=settings,
            last=last,
            seed=stage.config.seed,
        ),
    ]
    judges = {
        task.name: Judge(
            task=task,
            profile=answerer.profile,
            registry=stage.registry,
            resamples=settings.resamples,
            seed=stage.config.seed,
            columns=rewards.columns([task], registry=stage.registry, active=stage.config.rewards),
            reward_options=stage.config.reward_options,
            watch=stage.watch,
        )
        for task in missing
    }
    for each, judge in judges.items():
        judge.check(rows[each])
    texts = answerer.answer(stage, prompts, folder=folder, name=name)
    stage.meter.end(then="scoring")
    if not stage.is_main:
        return
    for task in missing:
        own, judge = rows[task.name], judges[task.name]
        moved = permuted.get(task.name, ())
        answers = _answers(stage, task, own, texts, permuted=moved, answerer=answerer)
        provenance = {
            "n": len(own),
            "split": stage.config.eval_split(task.name),
            "seed": stage.config.seed,
            "task_version": task.version,
            "protocol": task.protocol,
            "prompt_sha256": prompt_hash(own, template=answerer.template),
            "pixels": {
                "min": max(answerer.profile.min_pixels, task.min_pixels),
                "max": answerer.profile.max_pixels,
            },
            "decoding": {
                "metrics": answerer.decoding,
                "reward_temperature": settings.temperature,
                "samples": settings.samples,
                "max_new_tokens": answerer.max_new_tokens(stage),
            },
            "interval": {
                "level": 0.95,
                "method": "expanded percentile bootstrap of clusters",
                "resamples": settings.resamples,
                "clusters": clusters(own).described(),
            },
            **answerer.facts(own),
        }
        scored = scores.score(answers, judge, name=name, last=last)
        _write(stage, task, answers, scored, provenance=provenance, name=name)
    _finish(stage, name=name)


def is_last(stage: Stage, *, name: str) -> bool:
    """Return True if no later stage of the run is evaluated."""
    if stage.index == -1:
        return True
    later = stage.config.stages[stage.index + 1 :]
    return name != "base" and all(each.kind == "probe" for each in later)


def _answers(
    stage: Stage,
    task: TaskSpec,
    rows: Sequence[Row],
    texts: Mapping[str, answering.Texts],
    *,
    permuted: Sequence[Row],
    answerer: Answerer,
) -> scores.Answers:
    """Return all answers to a task, those of an earlier stage and of the majority included."""
    settings, profile = stage.config.eval, answerer.profile
    majority = _majority(stage, task, profile=profile) if settings.blind != "off" else None
    earlier = None
    before = stage.run.latest_stage(task.name)
    if before is not None:
        records = JsonLines(stage.run.eval_file(task.name, before)).records()
        known = {record["sample_id"]: record for record in records}
        earlier = scores.Earlier(
            before,
            greedy=[known[row.sample_id]["completion"] for row in rows],
            sampled=[sampled.totals(known[row.sample_id]) for row in rows],
        )
    greedy = [texts[_MODEL][row.key][0] for row in rows]
    return scores.Answers(
        rows=rows,
        greedy=greedy,
        sampled=[texts[_MODEL][row.key][1:] for row in rows],
        cut=answerer.cut(stage, rows, greedy),
        control_rows=drawn(rows, settings.control_limit, seed=stage.config.seed),
        permuted=permuted,
        controls={
            name: {key: each[0] for key, each in many.items()}
            for name, many in texts.items()
            if name != _MODEL
        },
        majority=majority,
        earlier=earlier,
    )


def _permuted(stage: Stage, asked: Mapping[str, Rows]) -> dict[str, list[Row]]:
    """Return the control rows of each task with their choices in another order."""
    seed, limit = stage.config.seed, stage.config.eval.control_limit
    return {
        task: orders.permuted(
            replace(many, samples=drawn(many.samples, limit, seed=seed)), seed=seed
        )
        for task, many in asked.items()
    }


def _finish(stage: Stage, *, name: str) -> None:
    """Write what the stage did over all tasks, and remove the answers in progress."""
    gain = sampled.pooled(
        stage.run, name=name, resamples=stage.config.eval.resamples, seed=stage.config.seed
    )
    if gain is not None:
        stage.run.write_across_tasks("sampled", name, gain)
    shutil.rmtree(stage.run.answers(name), ignore_errors=True)


def _majority(stage: Stage, task: TaskSpec, *, profile: ModelProfile) -> scores.Majority:
    """Return the most frequent answers of the training split, counted once per run."""
    stored = stage.run.read_metrics()["tasks"].get(task.name, {}).get("blind", {})
    most_frequent = stored.get("majority", {}).get("answers")
    if most_frequent is None:
        try:
            train = stage.rows(task, split="train", profile=profile, limit=MAJORITY_ROWS)
            most_frequent = blind.majority(train)
        except (DataError, DatasetNotFoundError) as error:
            return scores.Majority(unavailable=str(error))
    return scores.Majority(answers=most_frequent)


def _write(
    stage: Stage,
    task: TaskSpec,
    answers: scores.Answers,
    scored: scores.Scored,
    *,
    provenance: Mapping[str, Any],
    name: str,
) -> None:
    """Write the answers of one task, then its entry of `metrics.json`, last."""
    stage.run.write_eval(task.name, name, scored.records)
    for control, texts in answers.controls.items():
        records = [
            {"sample_id": row.sample_id, "completion": texts[row.key]}
            for row in answers.control_rows
            if row.key in texts
        ]
        if records:
            stage.run.write_eval(task.name, f"{name}/{control}", records)
    entry = {**provenance, **scored.entry}
    doubt = frames.doubt(entry.get("box_frames", {}), task=task.name)
    if doubt is not None:
        print(f"warning: {doubt}", file=sys.stderr, flush=True)
    entry["published"] = against.by_protocol(
        stage.run.eval_file(task.name, name),
        protocol=task.protocol,
        resamples=min(PUBLISHED_RESAMPLES, stage.config.eval.resamples),
        seed=stage.config.seed,
    )
    stage.run.write_metrics(
        task.name, name, primary=task.primary_metric, entry=entry, more=scored.controls
    )
