"""Writes a comparison of runs as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geovlm.report import cards, facts, outcomes, verdict
from geovlm.report.compare import differences
from geovlm.report.compare.comparison import Comparison
from geovlm.report.compare.runs import Run
from geovlm.report.compare.tasks import Compared
from geovlm.report.rendering import fitting
from geovlm.run import files

PER_KIND = 3
"""Largest number of samples of a task that are shown of each kind of disagreement."""
_EVERY = ("both wrong", "all wrong", "both right", "all right", "not scored")
"""Kinds without a disagreement: one sample each, after the others."""


def write(comparison: Comparison, path: Path) -> None:
    """Write the page; samples that do not fit into its largest size are left out, and it says so.

    Raises:
        ConfigError: the folder cannot be written.
    """
    files.check_writable(path.parent)
    by_task = {task.name: task for task in comparison.tasks}
    chosen = cards.mixed({name: choose(task) for name, task in by_task.items()})

    def draw(named: tuple[str, cards.Chosen], longest_px: int) -> Any:
        task, each = named
        return cards.card(
            by_task[task].answered[each.sample_id],
            why=each.why,
            weights=by_task[task].weights,
            longest_px=longest_px,
        )

    page = fitting("compare.html.j2", chosen, draw=draw, **_values(comparison))
    files.write_text(path, page)


def choose(task: Compared) -> list[cards.Chosen]:
    """Return the samples of a task to show, kinds of disagreement in turn.

    Of each kind at most `PER_KIND`, those with the largest difference between scores first; then
    one on which the runs agree, of each kind.
    """
    kinds: dict[str, list[str]] = {}
    for sample, kind in task.agreement().items():
        kinds.setdefault(kind, []).append(sample)
    spread = {sample: _spread(task.scores(sample)) for sample in task.answered}
    found: list[cards.Chosen] = []
    ordered = sorted(kind for kind in kinds if kind not in _EVERY)
    for turn in range(PER_KIND):
        for kind in ordered:
            own = sorted(kinds[kind], key=lambda sample: -spread[sample])
            found += [cards.Chosen(sample, kind) for sample in own[turn : turn + 1]]
    for kind in _EVERY:
        own = sorted(kinds.get(kind, ()), key=lambda sample: -spread[sample])
        found += [cards.Chosen(sample, kind) for sample in own[:1]]
    return found


def _spread(scores: Mapping[str, float | None]) -> float:
    known = [score for score in scores.values() if score is not None]
    return max(known) - min(known) if known else 0.0


def _values(comparison: Comparison) -> dict[str, Any]:
    """Return everything that the template reads, samples excepted."""
    runs = comparison.runs
    settings = differences.settings(runs)
    return {
        "title": comparison.title,
        "names": comparison.names,
        "stages": [outcomes.label(run.stage) for run in runs],
        "summary": comparison.summary(),
        "tasks": comparison.tasks,
        "left_out": comparison.left_out,
        "verdicts": _verdicts(runs),
        "facts": [dict(facts.head(run.resolved, run.environment, run.metrics)) for run in runs],
        "commands": [facts.command(run.environment) for run in runs],
        "settings": settings,
        "versions": differences.versions(runs),
        "one_run": len({run.directory.path for run in runs}) == 1,
        "contents": [
            ("scores", "Scores"),
            ("samples", "Samples"),
            ("verdicts", "Verdicts"),
            ("differences", "Configuration"),
        ],
    }


def _verdicts(runs: Sequence[Run]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return names and verdict of each run; stages of one run share theirs."""
    named: dict[Path, list[str]] = {}
    for run in runs:
        named.setdefault(run.directory.path, []).append(run.name)
    judged: dict[Path, Mapping[str, Any]] = {}
    for run in runs:
        found = run.metrics.get("verdict") or verdict.of(run.metrics, run.resolved)
        judged[run.directory.path] = found
    return [(" and ".join(names), judged[path]) for path, names in named.items()]
