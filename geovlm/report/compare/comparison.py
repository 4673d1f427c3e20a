"""Runs side by side: the tasks that can be compared, and the reasons why others cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from geovlm.errors import ConfigError
from geovlm.report.compare import runs as stored
from geovlm.report.compare import tasks as compared
from geovlm.report.compare.runs import Run
from geovlm.report.compare.tasks import Compared

_NAMED = 3
"""Largest number of tasks that a sentence names."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two or more runs; the first is the one that the others are measured against."""

    runs: Sequence[Run]
    tasks: Sequence[Compared]
    left_out: Mapping[str, str]
    """Task -> reason why it is not compared."""

    @property
    def names(self) -> list[str]:
        """Names of the runs, in order."""
        return [run.name for run in self.runs]

    @property
    def title(self) -> str:
        """The names in one line: `a and b`, `a, b and c`."""
        return _joined(self.names)

    def summary(self) -> list[str]:
        """Return one sentence for each run after the first: where it is better and worse."""
        first, *others = self.names
        found = []
        for name in others:
            parts = []
            for direction in ("better", "worse", "no clear difference"):
                there = [task.name for task in self.tasks if task.direction(name) == direction]
                if there:
                    parts.append(f"{direction} on {_listed(there, of=len(self.tasks))}")
            found.append(f"{name} against {first}: {', '.join(parts)}.")
        return found


def of(words: Sequence[str], *, stage: str | None = None) -> Comparison:
    """Return the comparison of runs named by `RUN` or `RUN:STAGE`; see `runs.read`.

    Resamples and seed are those of the first run's evaluation.

    Raises:
        ConfigError: a word names no evaluated run, or no task can be compared.
    """
    from geovlm.plugins import registry

    chosen = stored.read(words, stage=stage)
    config = chosen[0].resolved["config"]
    names = dict.fromkeys(task for run in chosen for task in run.tasks)
    common = [name for name in names if all(name in run.tasks for run in chosen)]
    if not common:
        each = "; ".join(f"{run.name} has {', '.join(run.tasks)}" for run in chosen)
        raise ConfigError(
            f"the runs have no task in common: {each}", hint="evaluate one: geovlm eval"
        )
    found, left_out = [], {}
    for name in names:
        lacking = [run.name for run in chosen if name not in run.tasks]
        if lacking:
            left_out[name] = f"not evaluated in {', '.join(lacking)}"
            continue
        try:
            found.append(
                compared.compare(
                    name,
                    chosen,
                    registry=registry.load(),
                    resamples=config["eval"]["resamples"],
                    seed=config["seed"],
                )
            )
        except compared.NotComparableError as error:
            left_out[name] = str(error)
    if not found:
        reasons = "; ".join(f"{name}: {left_out[name]}" for name in common)
        raise ConfigError(
            f"no task can be compared: {reasons}",
            hint="evaluate the runs on the same data and split",
        )
    return Comparison(runs=chosen, tasks=found, left_out=left_out)


def _listed(names: Sequence[str], *, of: int) -> str:
    """Return the names of a few tasks, or the number of many: `4 of 9 tasks`."""
    if len(names) > _NAMED:
        return f"{len(names)} of {of} tasks"
    return _joined(names)


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
