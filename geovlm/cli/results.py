"""Prints the scores of a run to standard output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from geovlm.cli import output
from geovlm.report import tables

if TYPE_CHECKING:
    from geovlm.report.compare.comparison import Comparison


def print_results(metrics: Mapping[str, Any]) -> None:
    """Print one line per task and per plugin.

    The columns per stage are the primary metric with its interval, its change since the previous
    stage with the p-value, and the sampled reward; another column is the blind baseline that is the
    hardest to beat, with the model's value where the row's is of other samples.
    """
    for line in tables.remarks(metrics):
        output.say(line)
    stages = tables.stage_names(metrics)
    columns = ["task", "metric", "n", *stages]
    table = tables.table(metrics)
    blind = any(row["blind"] is not None for row in table)
    columns += [*(["blind"] if blind else []), *(f"{name} reward" for name in stages)]
    rows = []
    for row in table:
        cells = [row["cells"].get(stage) for stage in stages]
        rewards = ["-" if cell is None else f"{cell['reward']:.3f}" for cell in cells]
        scores = [*map(_score, cells), *([_blind(row["blind"], n=row["n"])] if blind else [])]
        rows.append([row["name"], row["primary"], row["n"], *scores, *rewards])
    output.table(columns, rows)


def print_verdict(verdict: Mapping[str, Any]) -> None:
    """Print one line per task, stages, baseline and sentence, and below them the summary.

    Reasons that are known stand below the line of their task.
    """
    rows = []
    for name, task in verdict["tasks"].items():
        values = " → ".join(_two(value) for value in task["stages"].values())
        rows.append([name, task["primary"], values, _verdict_blind(task), task["sentence"]])
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
    for row, task in zip(rows, verdict["tasks"].values(), strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[4]]))
        for reason in task["reasons"]:
            print(f"    {reason}")
    print(verdict["summary"])


def print_against(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print one line per published score and ours, then reasons for differences."""
    if not rows:
        print("no published scores of these tasks")
        return
    columns = ["task", "benchmark", "model", "metric", "published", "ours", "differs"]
    reasons = list(dict.fromkeys(reason for row in rows for reason in row["differs"]))
    lines = []
    for row in rows:
        ours = "-" if row["ours"] is None else f"{row['ours']:.3f} (n {row['n']})"
        marks = ", ".join(str(reasons.index(reason) + 1) for reason in row["differs"])
        named = [row["task"], row["benchmark"], row["model"], row["metric"]]
        lines.append([*named, f"{row['published']:.3f}", ours, marks or "nothing found"])
    output.table(columns, lines)
    for number, reason in enumerate(reasons, start=1):
        print(f"{number}: {reason}")


def print_tables(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print published tables in percent, a line per benchmark and metric, with ours as a column.

    `rows` are those of `geovlm.score.against.of_set`. The reasons for differences are numbered
    below the tables.
    """
    reasons = list(dict.fromkeys(reason for row in rows for reason in row["differs"]))
    for table in dict.fromkeys(row["table"] for row in rows):
        inside = [row for row in rows if row["table"] == table]
        models = list(dict.fromkeys(row["model"] for row in inside))
        print(f"\n{table}: {inside[0]['truth']}")
        lines = []
        for key in dict.fromkeys((row["benchmark"], row["metric"]) for row in inside):
            line = {r["model"]: r for r in inside if (r["benchmark"], r["metric"]) == key}
            any_row = next(iter(line.values()))
            marks = dict.fromkeys(reason for row in line.values() for reason in row["differs"])
            lines.append(
                [
                    *key,
                    *(_percent(line[m]["published"]) if m in line else "-" for m in models),
                    "-" if any_row["ours"] is None else _percent(any_row["ours"]),
                    "-" if any_row["n"] is None else f"{any_row['n']:,}",
                    ", ".join(str(reasons.index(reason) + 1) for reason in marks) or "-",
                ]
            )
        output.table(["benchmark", "metric", *models, "ours", "n", "differs"], lines)
    print()
    for number, reason in enumerate(reasons, start=1):
        print(f"{number}: {reason}")


def print_comparison(comparison: Comparison) -> None:
    """Print one line per task and run, then one sentence per run after the first.

    The last columns are the samples that only the first run answers right, and only this one.
    """
    first, *_ = comparison.names
    columns = ["task", "metric", "n", "run", "value", f"from {first}", "p", "lost", "won"]
    rows = []
    for task in comparison.tasks:
        for name, cell in task.cells.items():
            row = [task.name, task.primary, task.n, name, _three(cell.values.get(task.primary))]
            change = cell.changes.get(task.primary)
            moved = ["", ""]
            if change is not None:
                low, high = change["ci95"]
                moved[0] = f"{change['difference']:+.3f} [{low:+.2f}, {high:+.2f}]"
                moved[1] = f"{change['p']:.3f}"
            counted = ["", ""] if name == first else [*map(str, task.exchanged(name))]
            rows.append([*row, *moved, *counted])
    output.table(columns, rows)
    for name, why in comparison.left_out.items():
        output.say(f"{name} is not compared: {why}")
    for line in comparison.summary():
        print(line)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _three(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _score(cell: Mapping[str, Any] | None) -> str:
    """Return `0.712 [0.65, 0.77] +0.103 p=0.004`, without parts that do not exist."""
    if cell is None:
        return "-"
    if cell["value"] is None:
        return "undefined"
    interval = "" if cell["low"] is None else f" [{cell['low']:.2f}, {cell['high']:.2f}]"
    change = cell["change"]
    moved = "" if change is None else f" {change['difference']:+.3f} p={change['p']:.3f}"
    return f"{cell['value']:.3f}{interval}{moved}"


def _two(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _verdict_blind(task: Mapping[str, Any]) -> str:
    """Return `blind 0.18`, with the model's value where it is of other samples than the row."""
    blind = task["blind"]
    if blind is None:
        return ""
    same = blind["n"] == task["n"]
    against = "" if same else f" (n {blind['n']}: model {_two(blind['model'])})"
    return f"blind {_two(blind['value'])}{against}"


def _blind(baseline: Mapping[str, Any] | None, *, n: int) -> str:
    """Return `0.531 majority, not beaten`, or `0.125 text only (n 16: model 0.188), not beaten`.

    The model's value stands there if that of the row is of other samples. The end is omitted if
    the model is clearly better.
    """
    if baseline is None:
        return "-"
    model = f" (n {baseline['n']}: model {baseline['model']:.3f})" if baseline["n"] != n else ""
    verdict = ", not beaten" if baseline["beaten"] is False else ""
    return f"{baseline['value']:.3f} {baseline['name']}{model}{verdict}"
