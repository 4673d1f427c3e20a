"""What is asked beside the tasks, to judge scores by: blind baselines, probes of image pairs."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from geovlm.config.schema import EvalConfig
from geovlm.engine.evaluation import blind
from geovlm.engine.evaluation import judge as scores
from geovlm.engine.evaluation import pairs as bitemporal
from geovlm.engine.generation import answering
from geovlm.engine.generation.answering import Ask
from geovlm.engine.rows import rows as data
from geovlm.engine.stage import Stage
from geovlm.errors import DataError, DatasetNotFoundError

MAJORITY_ROWS = 4096
"""Training rows of a task, drawn at random, whose answers are counted."""
ONE_SCENE = "all samples show the same images"


def asks(
    rows: Mapping[str, Sequence[data.Row]],
    *,
    pairs: Collection[str] = (),
    settings: EvalConfig,
    last: bool,
    seed: int,
) -> list[Ask]:
    """Return what else to ask the model.

    Args:
        rows: task -> the rows that are evaluated.
        pairs: tasks whose two images show one place before and after.
        settings: `[eval]`.
        last: whether this is the evaluation after the run's last stage.
        seed: of what is drawn.
    """
    made = []
    chosen = {task: subset(many, settings.control_limit, seed=seed) for task, many in rows.items()}
    everything = [row for many in chosen.values() for row in many]
    if settings.blind == "all" or (settings.blind == "last" and last):
        mixed: list[data.Row] = []
        for task, many in chosen.items():
            mixed += blind.shuffled(many, pool=rows[task], seed=seed) or []
        made += [
            Ask(name="text_only", rows=blind.text_only(everything)),
            Ask(name="shuffled", rows=mixed),
        ]
    if settings.probes and last:
        twos = [row for row in everything if row.task in pairs and len(row.images) == 2]
        made += [
            Ask(name=probe, rows=bitemporal.altered(twos, probe, seed=seed))
            for probe in bitemporal.PROBES
        ]
    return made


def score(
    stage: Stage,
    judge: scores.Judge,
    rows: Sequence[data.Row],
    answered: Mapping[str, answering.Texts],
    *,
    name: str,
    last: bool,
) -> dict[str, Any]:
    """Return the task's `blind` and `probes` of `metrics.json`, as far as they were asked for.

    Also writes the answers to `eval/<name>/<baseline or probe>/<task>.jsonl`.

    Args:
        stage: the running stage.
        judge: scores answers to the task.
        rows: all evaluated rows of the task.
        answered: ask -> row key -> texts.
        name: under which the model is scored.
        last: whether this is the run's last evaluation; the gain over `majority` is of it only.
    """
    settings = stage.config.eval
    chosen = subset(rows, settings.control_limit, seed=stage.config.seed)
    found: dict[str, Any] = {}
    for each in ("text_only", "shuffled", *bitemporal.PROBES):
        lines = [
            json.dumps({"sample_id": row.sample_id, "completion": answered[each][row.key][0]})
            for row in chosen
            if row.key in answered.get(each, {})
        ]
        if lines:
            stage.run.write_eval(judge.task.name, f"{name}/{each}", lines)
    if settings.blind != "off":
        found["blind"] = {
            "majority": _majority(stage, judge, rows, answered["model"], name=name, last=last)
        }
    for baseline in ("text_only", "shuffled"):
        if baseline in answered:
            found["blind"][baseline] = _baseline(
                judge, chosen, answered[baseline], answered["model"], name=name, compare=True
            )
    asked = answered.get(bitemporal.PROBES[0], {})
    if chosen and all(row.key in asked for row in chosen):
        texts = {
            probe: [answered["model" if probe == "real" else probe][row.key][0] for row in chosen]
            for probe in ("real", *bitemporal.PROBES)
        }
        found["probes"] = {"stage": name, **bitemporal.report(judge, chosen, texts)}
    return found


def subset(rows: Sequence[data.Row], limit: int | None, *, seed: int) -> list[data.Row]:
    """Return at most `limit` rows, drawn with the seed, in their order."""
    if limit is None or limit >= len(rows):
        return list(rows)
    chosen = random.Random(seed).sample(range(len(rows)), limit)
    return [rows[i] for i in sorted(chosen)]


def _majority(
    stage: Stage,
    judge: scores.Judge,
    rows: Sequence[data.Row],
    model: answering.Texts,
    *,
    name: str,
    last: bool,
) -> dict[str, Any]:
    """Score the most frequent answers of the training split, counted once per run."""
    stored = stage.run.read_metrics()["tasks"].get(judge.task.name, {}).get("blind", {})
    most_frequent = stored.get("majority", {}).get("answers")
    if most_frequent is None:
        try:
            train = stage.rows(
                judge.task, split="train", profile=judge.profile, limit=MAJORITY_ROWS
            )
        except (DataError, DatasetNotFoundError) as error:
            return {"stage": name, "unavailable": str(error)}
        most_frequent = blind.majority(train)
    texts = {key: [text] for key, text in blind.majority_texts(rows, most_frequent).items()}
    scored = _baseline(judge, rows, texts, model, name=name, compare=last)
    return {**scored, "answers": most_frequent}


def _baseline(
    judge: scores.Judge,
    rows: Sequence[data.Row],
    texts: answering.Texts,
    model: answering.Texts,
    *,
    name: str,
    compare: bool,
) -> dict[str, Any]:
    """Score a baseline, and (with `compare`) the model's gain over it on the same rows."""
    if not all(row.key in texts for row in rows):
        return {"stage": name, "unavailable": ONE_SCENE}
    without = judge.predictions(rows, [texts[row.key][0] for row in rows])
    seeing = judge.predictions(rows, [model[row.key][0] for row in rows])
    return {
        "stage": name,
        "n": len(rows),
        "metrics": judge.metrics(without),
        "model": judge.metrics(seeing),
        "gain": judge.changes(rows, without, seeing) if compare else {},
    }
