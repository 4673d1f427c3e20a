"""The probe: rolls out the SFT model, stops a run without signal, orders the prompts of GRPO."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence, Sized
from typing import Any, NamedTuple

from accelerate.utils import gather_object

from geovlm.data.prompts import reward_context
from geovlm.engine import rewards
from geovlm.engine.generation import answering, generate
from geovlm.engine.rows import tokens
from geovlm.engine.rows.rows import Row
from geovlm.engine.stage import Stage
from geovlm.engine.writers import opening
from geovlm.engine.writers.writer import Expected, Writer
from geovlm.errors import RunFailedError, StoppedError
from geovlm.files import jsontext
from geovlm.run import files

ANSWERS = "answers"
"""Folder of the completions while the probe runs; gone afterwards."""
FORMAT = ("format/think", "format/answer")
"""Rewards of the tags; a task without reasoning has the second alone."""
FLAT = 1e-6
"""Rewards of one prompt that differ by less are equal: the group teaches nothing."""


def run(stage: Stage, *, start: str) -> int:
    """Roll out k completions per prompt, score them, and write `probe.json` and `kept.jsonl`.

    Each batch is on the disk before the next begins, and a resumed run keeps it. The completions do
    not depend on the number of processes. Returns the number of prompts kept.

    Raises:
        RunFailedError: a task fails the gate, and the stage is configured to stop.
        StoppedError: the run is to stop; the completions so far are kept.
    """
    with opening.writer(start, stage.config, registry=stage.registry) as writer:
        return _run(stage, writer)


def plan(stage: Stage, parts: Mapping[str, Sized]) -> list[tuple[str, int]]:
    """Return the (task, row number) pairs of the prompts that are rolled out."""
    most = min(stage.settings.prompts, sum(map(len, parts.values())))
    return stage.plan(parts, n=most)


def _run(stage: Stage, writer: Writer) -> int:
    settings = stage.settings
    parts = stage.train_rows(writer.profile)
    rows = [parts[name][i] for name, i in sorted(set(plan(stage, parts)))]
    place = {row.key: number for number, row in enumerate(rows)}
    mine = [
        (place[row.key], generation, row, text)
        for generation, texts in enumerate(_rollouts(stage, writer, rows))
        for row in rows
        if row.key in texts
        for text in texts[row.key]
    ]
    texts = [text for *_, text in mine]
    cols = rewards.columns(stage.tasks, registry=stage.registry, active=stage.config.rewards)
    contexts = [
        reward_context(row, profile=writer.profile, options=stage.config.reward_options)
        for _, _, row, _ in mine
    ]
    scored = rewards.totals(cols, texts, contexts, watch=stage.watch)
    lengths = tokens.lengths(writer.processor, texts)
    gathered = gather_object(
        [
            {
                "order": (number, generation),
                "task": row.task,
                "key": row.key,
                "completion": text,
                "total": total,
                "rewards": parts_,
                "tokens": length,
            }
            for (number, generation, row, text), (total, parts_), length in zip(
                mine, scored, lengths, strict=True
            )
        ]
    )
    found = sorted(gathered, key=lambda record: record["order"])
    if not stage.is_main:
        return 0
    limit = stage.max_new_tokens(stage.tasks)
    report = {
        task.name: summarise([r for r in found if r["task"] == task.name], limit=limit)
        for task in stage.tasks
    }
    kept = choose(found, keep_flat=settings.keep_flat)
    files.write_json(
        stage.folder / "probe.json",
        {"tasks": report, "kept": len(kept), "dropped": len(rows) - len(kept)},
    )
    lines = jsontext.lines({"key": key, "reward": value} for key, value in kept.items())
    files.write_text(stage.folder / "kept.jsonl", lines)
    complaint = gate(report, min_format_rate=settings.min_format_rate)
    if complaint:
        example = next((r["completion"] for r in found if r["task"] == complaint.task), "")
        message = f"probe: {complaint.reason}; an answer was {example[:200]!r}"
        if settings.on_fail == "stop":
            raise RunFailedError(
                message,
                hint=f"{complaint.advice}, or set stages.{stage.index}.on_fail='warn'",
            )
        print(f"warning: {message}", file=sys.stderr, flush=True)
    # a probe that stops the run keeps them: resumed with on_fail='warn' it need not answer again
    shutil.rmtree(stage.folder / ANSWERS, ignore_errors=True)
    return len(kept)


def _rollouts(stage: Stage, writer: Writer, rows: Sequence[Row]) -> list[dict[str, list[str]]]:
    """Return this process's share of the completions: one row key -> [text] per generation."""
    settings = stage.settings
    longest = stage.max_new_tokens(stage.tasks)
    writer.expect(Expected(rows, stage.cache, longest))

    def respond(batch: Sequence[Row], temperature: float, seed: int) -> list[str]:
        return writer.complete(
            batch,
            cache=stage.cache,
            max_new_tokens=longest,
            temperature=temperature,
            seed=seed,
        )

    prompts = [
        answering.PromptSet(
            name=f"generation-{number}", rows=rows, temperatures=(settings.temperature,)
        )
        for number in range(settings.generations)
    ]
    place = {"rank": stage.rank, "world_size": stage.world_size}
    length = generate.lengths(writer.processor, profile=writer.profile)
    batches = answering.batched(rows, size=settings.batch_size, length=length)
    own = sum(answering.n_texts(each, batches=batches, **place) for each in prompts)
    total = len(rows) * len(prompts)
    stage.meter.begin(
        "sample",
        unit="answer",
        total=total,
        scale=total / max(1, own),
        detail=f"{len(rows)} prompts, {len(prompts)} sampled answers to each",
    )
    found = []
    for number, each in enumerate(prompts):
        found.append(
            answering.answer(
                each,
                respond,
                folder=stage.folder / ANSWERS,
                batches=batches,
                seed=stage.config.seed + number * answering.SEEDS_APART,
                **place,
                advance=stage.meter.advance,
                stop=lambda: stage.stop.requested,
            )
        )
        if stage.stop.agreed():
            raise StoppedError("probe: the completions so far are kept")
    stage.meter.end(then="scoring")
    return found


def summarise(found: Sequence[dict[str, Any]], *, limit: int) -> dict[str, Any]:
    """Return the statistics of one task's rollouts; zeros if there were none.

    `limit` is the longest completion, tokens; one that has as many was cut.
    """
    groups: dict[str, list[float]] = {}
    for record in found:
        groups.setdefault(record["key"], []).append(record["total"])
    values: dict[str, list[float]] = {}
    for record in found:
        for name, value in record["rewards"].items():
            if value is not None:
                values.setdefault(name, []).append(value)
    right = [all(record["rewards"].get(name, 1.0) == 1.0 for name in FORMAT) for record in found]
    counts = [record["tokens"] for record in found]
    return {
        "prompts": len(groups),
        "format_rate": sum(right) / len(right) if right else 0.0,
        "reward": statistics.fmean(r["total"] for r in found) if found else 0.0,
        "rewards": {
            name: {"mean": statistics.fmean(many), "std": statistics.pstdev(many)}
            for name, many in values.items()
        },
        "flat_share": (
            sum(is_flat(totals) for totals in groups.values()) / len(groups) if groups else 0.0
        ),
        "cut_share": sum(n >= limit for n in counts) / len(counts) if counts else 0.0,
        "tokens": (
            {"mean": statistics.fmean(counts), "max": max(counts), "limit": limit} if counts else {}
        ),
    }


def is_flat(totals: Sequence[float]) -> bool:
    """Return True if all rollouts of a prompt earned the same: no advantage, no gradient."""
    return max(totals) - min(totals) < FLAT


def choose(found: Sequence[dict[str, Any]], *, keep_flat: float) -> dict[str, float]:
    """Return the prompts to train on with their mean reward.

    All prompts with signal are kept, and prompts without it up to a share of `keep_flat` of the
    result; if none has signal, all are kept, and the gate reports it. The flat ones kept are the
    hardest: those that never earned anything may still do so.
    """
    groups: dict[str, list[float]] = {}
    for record in found:
        groups.setdefault(record["key"], []).append(record["total"])
    mean = {key: statistics.fmean(totals) for key, totals in groups.items()}
    lively = [key for key, totals in groups.items() if not is_flat(totals)]
    flat = sorted((key for key in groups if key not in set(lively)), key=lambda key: mean[key])
    room = round(len(lively) * keep_flat / (1 - keep_flat)) if keep_flat < 1 else len(flat)
    chosen = [*lively, *flat[:room]] if lively else list(groups)
    return {key: mean[key] for key in chosen}


class Complaint(NamedTuple):
    """A task that cannot learn."""

    task: str
    reason: str
    advice: str


def gate(report: dict[str, Any], *, min_format_rate: float) -> Complaint | None:
    """Return the first task that cannot learn, or `None`."""
    for task, facts in report.items():
        if not facts["prompts"]:
            continue
        if facts["format_rate"] < min_format_rate:
            kept = ", ".join(
                f"<{name.partition('/')[2]}> in {facts['rewards'][name]['mean']:.0%}"
                for name in FORMAT
                if name in facts["rewards"]
            )
            reason = (
                f"task {task!r} keeps the tags in {facts['format_rate']:.0%} of its answers, "
                f"{min_format_rate:.0%} are needed: {kept}"
            )
            if facts["cut_share"] >= 0.5 * (1 - facts["format_rate"]):
                limit = facts["tokens"]["limit"]
                return Complaint(
                    task,
                    f"{reason}; {facts['cut_share']:.0%} are cut at {limit} tokens",
                    "raise max_new_tokens, or train SFT longer so that answers end",
                )
            return Complaint(task, reason, "train SFT longer")
        if facts["flat_share"] == 1.0 and facts["prompts"] >= 4:
            return Complaint(
                task,
                f"the reward of task {task!r} is constant on every prompt, {facts['reward']:.2f} "
                "on average",
                "sample more generations or with a higher temperature, or choose prompts that the "
                "model answers right sometimes",
            )
    return None


def difficulty(stage: Stage) -> dict[str, float] | None:
    """Return row key -> mean reward of what the latest probe kept; `None` without a probe."""
    for index in range(stage.index - 1, -1, -1):
        if stage.config.stages[index].kind == "probe":
            path = stage.run.stage(index) / "kept.jsonl"
            records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            return {record["key"]: record["reward"] for record in records}
    return None
