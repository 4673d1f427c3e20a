"""Compares the answers of runs to one task: values, paired tests, and who is right on which sample.

Values are computed again from the stored answers, on the samples that all runs have answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geovlm.api import MetricSpec, Prediction, TaskSpec
from geovlm.errors import ConfigError, PluginUnavailableError, UnknownNameError
from geovlm.plugins import profiles
from geovlm.plugins.registry import Registry
from geovlm.report import cards, tables
from geovlm.report.compare.runs import Record, Run
from geovlm.score import paired

_SAME = (("task_version", "version"), ("split", "split"), ("protocol", "protocol"))
"""Fields of an entry that must be equal, and their names in sentences."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The scores of one run on the common samples of a task."""

    values: Mapping[str, float]
    """Every number of the task's metrics that is defined."""
    intervals: Mapping[str, Sequence[float]]
    """Their 95 % intervals."""
    changes: Mapping[str, Mapping[str, Any]]
    """Their differences from the first run: `difference`, `ci95`, `p`; empty for the first run."""
    n: int
    """Samples that the run itself was evaluated on."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One task, on the samples that all runs have answered."""

    name: str
    primary: str
    higher_is_better: bool
    version: int
    split: str
    n: int
    """Common samples."""
    groups: Mapping[str, Any]
    """`by` and `n` of the groups that the bootstrap draws."""
    cells: Mapping[str, Cell]
    """Name of the run -> its scores."""
    answered: Mapping[str, Mapping[str, Record]]
    """Sample -> name of the run -> its record."""
    weights: Mapping[str, float]
    """Accuracy rewards of a sample's score, see `cards.weights`."""
    remarks: Sequence[str]
    """Other differences between the runs on this task, as sentences."""

    @property
    def sign(self) -> int:
        """1, or -1 if smaller is better."""
        return 1 if self.higher_is_better else -1

    def scores(self, sample: str) -> dict[str, float | None]:
        """Return the score of each run's answer to a sample."""
        found = self.answered[sample].items()
        return {run: cards.score(record, weights=self.weights) for run, record in found}

    def agreement(self) -> dict[str, str]:
        """Return who is right on each sample; see `agreement`."""
        return {sample: agreement(self.scores(sample)) for sample in self.answered}

    def counts(self) -> Counter[str]:
        """Return the number of samples of each kind of agreement."""
        return Counter(self.agreement().values())

    def exchanged(self, run: str) -> tuple[int, int]:
        """Return how many samples only the first run, and only this run, of the two has right."""
        first = next(iter(self.cells))
        found = Counter(
            agreement({name: score for name, score in scores.items() if name in (first, run)})
            for scores in map(self.scores, self.answered)
        )
        return found[f"only {first} right"], found[f"only {run} right"]

    def direction(self, run: str) -> str:
        """Return `better`, `worse` or `no clear difference`, for a run against the first."""
        change = self.cells[run].changes.get(self.primary)
        if change is None:
            return "no clear difference"
        if tables.better(change, sign=self.sign):
            return "better"
        return "worse" if tables.better(change, sign=-self.sign) else "no clear difference"


class NotComparableError(ConfigError):
    """The answers to a task cannot be compared; the message is the reason."""


def agreement(scores: Mapping[str, float | None]) -> str:
    """Return who is right: `both right`, `all right`, `only A right`, `A and B right`, `all wrong`.

    `not scored` if an answer has no score. An answer is right as on cards.
    """
    if None in scores.values():
        return "not scored"
    right = [name for name, score in scores.items() if (score or 0.0) >= cards.RIGHT]
    every = "both" if len(scores) == 2 else "all"
    if len(right) == len(scores):
        return f"{every} right"
    if not right:
        return f"{every} wrong"
    return f"{'only ' if len(right) == 1 else ''}{' and '.join(right)} right"


def compare(
    name: str, runs: Sequence[Run], *, registry: Registry, resamples: int, seed: int
) -> Compared:
    """Return the comparison of a task that all runs were evaluated on.

    Raises:
        NotComparableError: version, split, protocol or targets differ, no sample is common, or the
            task is not installed in this version.
    """
    spec = _spec(name, runs, registry=registry)
    answered = _common(name, runs)
    given = {run.name: _predictions(answered, run) for run in runs}
    records = [next(iter(own.values())) for own in answered.values()]
    images = [repr(record["images"]) for record in records]
    groups = paired.clusters([record.get("meta") or {} for record in records], images)
    specs = [registry.metric(each) for each in spec.metrics]
    drawn = {"groups": groups, "resamples": resamples, "seed": seed}
    first = runs[0].name
    return Compared(
        name=name,
        primary=spec.primary_metric,
        higher_is_better=tables.direction(runs[0].tasks[name]) > 0,
        version=spec.version,
        split=runs[0].entry(name)["split"],
        n=len(answered),
        groups=groups.described(),
        cells={
            run.name: _cell(
                specs,
                given[run.name],
                first=None if run.name == first else given[first],
                n=run.entry(name)["n"],
                drawn=drawn,
            )
            for run in runs
        },
        answered=answered,
        weights=cards.weights(name),
        remarks=_remarks(name, runs, answered),
    )


def _cell(
    specs: Sequence[MetricSpec],
    own: Sequence[Prediction],
    *,
    first: Sequence[Prediction] | None,
    n: int,
    drawn: Mapping[str, Any],
) -> Cell:
    return Cell(
        values=paired.values(specs, own),
        intervals=paired.intervals(specs, own, **drawn),
        changes={} if first is None else paired.changes(specs, first, own, **drawn),
        n=n,
    )


def _spec(name: str, runs: Sequence[Run], *, registry: Registry) -> TaskSpec:
    """Return the installed task, if all runs were evaluated on it and in the same way."""
    for field, said in _SAME:
        found = {run.name: run.entry(name).get(field) for run in runs}
        if len(set(found.values())) > 1:
            each = ", ".join(f"{value!r} in {run}" for run, value in found.items())
            raise NotComparableError(f"the {said} differs: {each}")
    try:
        spec = registry.task(name)
    except (UnknownNameError, PluginUnavailableError) as error:
        raise NotComparableError("its plugin is not installed or not usable") from error
    version = runs[0].entry(name).get("task_version")
    if version is not None and version != spec.version:
        raise NotComparableError(f"scored in version {version}; {spec.version} is installed")
    return spec


def _common(name: str, runs: Sequence[Run]) -> dict[str, dict[str, Record]]:
    """Return sample -> run -> record, of the samples that every run has answered."""
    records = {run.name: run.records(name) for run in runs}
    empty = [run for run, own in records.items() if not own]
    if empty:
        raise NotComparableError(f"no stored answers in {', '.join(empty)}")
    first = records[runs[0].name]
    shared = [sample for sample in first if all(sample in own for own in records.values())]
    if not shared:
        raise NotComparableError("the runs have no sample in common")
    for sample in shared:
        for run, own in records.items():
            if own[sample]["target"] != first[sample]["target"]:
                raise NotComparableError(
                    f"sample {sample!r} has another target in {run} than in {runs[0].name}"
                )
    return {sample: {run: own[sample] for run, own in records.items()} for sample in shared}


def _predictions(answered: Mapping[str, Mapping[str, Record]], run: Run) -> list[Prediction]:
    found = []
    for sample, own in answered.items():
        record = own[run.name]
        profile = profiles.of_record(record)
        if profile is None:
            raise NotComparableError(f"{run.name} does not state the frame of boxes of {sample!r}")
        found.append(
            Prediction(
                task=record["task"],
                sample_id=sample,
                question=record["question"],
                completion=record["completion"],
                answer=record["answer"],
                target=record["target"],
                image_sizes=tuple((w, h) for w, h in record["image_sizes"]),
                input_sizes=tuple((w, h) for w, h in record["input_sizes"]),
                profile=profile,
                meta=record.get("meta") or {},
                reasoning="none" if record.get("reasoning") == "" else "think",
            )
        )
    return found


def _remarks(
    name: str, runs: Sequence[Run], answered: Mapping[str, Mapping[str, Record]]
) -> list[str]:
    """Return sentences about other samples, questions and decoding of the runs."""
    found = []
    lengths = {run.name: run.entry(name)["n"] for run in runs}
    if set(lengths.values()) != {len(answered)}:
        of = ", ".join(f"{n} of {run}" for run, n in lengths.items())
        found.append(f"{len(answered)} samples are common, of {of}")
    asked = sum(len({each["question"] for each in own.values()}) > 1 for own in answered.values())
    if asked:
        found.append(f"{asked} of {len(answered)} questions are worded differently")
    decoded = {str(run.entry(name).get("decoding", {}).get("max_new_tokens")) for run in runs}
    if len(decoded) > 1:
        found.append(f"answers have at most {' or '.join(sorted(decoded))} tokens")
    return found
