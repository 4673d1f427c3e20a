"""Writes docs/paper-benchmarks.md: python -m tools.reference.benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from geovlm.plugins import registry
from geovlm.plugins.registry import Registry
from geovlm.score import published
from geovlm.score.published import Benchmark, PublishedRow

HEAD = """\
# The benchmarks of the paper

The tables of GeoVLM-R1 (arXiv 2509.25026) have {rows} rows. Each is a task here, and all together
are the set of tasks `paper`:

```console
$ geovlm tasks list --set paper
$ geovlm eval --model runs/mine/stages/2-grpo/model --tasks paper --data /data --output runs/paper
```

The second command prints the tables below with a column for the model. Benchmarks whose data are
not below `--data` are left out, each by name. `--tasks paper` also sets the options of data sets
in the column "options"; your own `--set data.…` counts instead. A plugin may declare a set of its
own, see `geovlm_task_sets` in the [reference](plugins/reference.md#geovlm_task_sets).

Source of all scores: mustansarfiaz/GeoVLM-R1-Toolkit, README.md, dbe450c. GeoVLM-R1's own answers
are not public; those of EarthDial are, as far as the [tests](scores.md) name them. Rules and
prompts are EarthDial's (hiyamdebary/EarthDial, 92c1260), on which the paper builds. How each
metric is gamed: [Rewards and the audit](rewards.md).

This page is written by `make docs`.

## Rows

`n`: number of samples behind the published scores / of our task; "?" is not published, or depends
on the copy of the data. **rebuilt**: which samples were scored is not published, so ours are
chosen by a rule that the plugin's README states. Rewards are the set `paper` and the set `robust`.

| | benchmark | task | options | n | images | paper reward | robust reward | protocol |
|---|---|---|---|---|---|---|---|---|
"""
DIFFERENCES = """
## What differs

Number of the row, then what keeps our score from being the published one. In all rows our question
ends with an instruction to reason and to answer within tags, EarthDial's does not, and GeoVLM-R1's
is known from a figure alone; answers here may be longer than EarthDial's, which end after 10 to 300
tokens.

"""
SCORES = """
## Published scores

Percent, as printed. A dash in the source is a dash here.
"""


def markdown() -> str:
    """Return docs/paper-benchmarks.md."""
    loaded, known = registry.load(), published.benchmarks()
    found = rows()
    lines = [_line(i, row, known, loaded=loaded) for i, row in enumerate(found, start=1)]
    differs = [_differs(i, row, known) for i, row in enumerate(found, start=1)]
    head = HEAD.format(rows=len(found))
    return head + "".join(lines) + DIFFERENCES + "".join(differs) + SCORES + "".join(_tables())


def rows() -> list[PublishedRow]:
    """Return one published score of each row: of each benchmark in each table."""
    by_row = {(row.table, row.benchmark): row for row in reversed(published.rows())}
    return list(reversed(by_row.values()))


def _line(number: int, row: PublishedRow, known: dict[str, Benchmark], *, loaded: Registry) -> str:
    name = row.benchmark + (" (zero-shot)" if "zero-shot" in row.split else "")
    each = known.get(row.benchmark)
    if each is None:
        return f"| {number} | {name} | none | | {_count(None)} | | | | `{row.protocol}` |\n"
    rewards = loaded.task(each.task).rewards
    cells = [
        str(number),
        name,
        f"`{each.task}`",
        ", ".join(f"`{key} = {_toml(value)}`" for key, value in each.data_options.items()),
        f"{_count(each.official)} / {_count(each.ours)}{', rebuilt' if each.rebuilt else ''}",
        str(each.images),
        *(" + ".join(f"`{name}`" for name in rewards[chosen]) for chosen in ("paper", "robust")),
        f"`{row.protocol}`",
    ]
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |")


def _differs(number: int, row: PublishedRow, known: dict[str, Benchmark]) -> str:
    """Return the notes of a row, each once."""
    same = [each for each in published.rows() if each.benchmark == row.benchmark]
    notes = dict.fromkeys(note for each in same for note in each.note.split("; ") if note)
    suspect = [note for note in notes if note.startswith("suspect: ")]
    others = [note for note in notes if note not in suspect]
    each = known.get(row.benchmark)
    if each is None:
        others.append("no task here")
    elif each.rebuilt:
        others.insert(0, f"rebuilt rows; theirs: {row.split}")
    return f"- **{number}, {row.benchmark}**: {'; '.join(others) or 'nothing else known'}.\n"


def _tables() -> Iterator[str]:
    """Yield each published table: a line per benchmark and metric, a column per model."""
    for name, group in groupby(published.rows(), key=lambda row: row.table):
        inside = list(group)
        models = list(dict.fromkeys(row.model for row in inside))
        values = {(row.benchmark, row.metric, row.model): row.value for row in inside}
        yield f"\n### {name[:1].upper()}{name[1:]}\n\nMeaning: {inside[0].truth}.\n\n"
        yield f"| benchmark | metric | {' | '.join(models)} |\n|---|---|{'---|' * len(models)}\n"
        for benchmark, metric in dict.fromkeys((row.benchmark, row.metric) for row in inside):
            cells = [_percent(values.get((benchmark, metric, model))) for model in models]
            yield f"| {benchmark} | `{metric}` | {' | '.join(cells)} |\n"


def _count(n: int | None) -> str:
    return "?" if n is None else f"{n:,}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


if __name__ == "__main__":
    print(markdown(), end="")
