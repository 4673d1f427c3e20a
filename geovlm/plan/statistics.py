"""Counts a task's samples, answers and tokens, as a model of one family reads them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from geovlm import boxes
from geovlm.api import ModelProfile, Sample, Split, TaskSpec
from geovlm.config.tasks import instruction_of
from geovlm.data import loading, mixture, prompts
from geovlm.data.findings import shortened
from geovlm.data.prompts import Prompt, Prompter
from geovlm.errors import DataError, DatasetNotFoundError

if TYPE_CHECKING:
    from geovlm.plan.data import Reader

LISTED = 12
"""Number of answers, labels or sizes listed for people, most frequent first; JSON has all."""
_ROWS = 1_000_000  # rows of the mixture whose shares are computed


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, median, largest and mean of some whole numbers."""

    min: int
    median: float
    max: int
    mean: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskStatistics:
    """Statistics of one task."""

    task: str
    dataset: str
    root: str
    samples: Mapping[str, int]
    """Split -> samples."""
    skipped: Mapping[str, int]
    """Reason -> number of records that the loader left out, over all splits."""
    split: str
    """Split of all the following fields."""
    read: int
    """Number of its samples that were read, spread evenly."""
    min_pixels: int
    """Smallest area at which the task lets the model see an image, pixels; 0: the model's own."""
    sizes: Mapping[str, int]
    """Stored size and size for the model, such as `120x120 as 448x448` -> number of images."""
    visual_tokens: Spread
    """Per sample."""
    text_tokens: Spread
    """Per sample: question, instruction and correct answer with its reasoning."""
    balance: Mapping[str, Mapping[str, int]]
    """`labels`, `answers`, `boxes per sample` or `boxes` (their labels) -> value -> number of
    samples, of `boxes` the number of boxes, largest first."""
    rows_share: float = 0.0
    """Share of the rows in the mixture of all tasks."""
    compute_share: float = 0.0
    """Share of the tokens in this mixture."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def lines(self) -> Iterator[tuple[str, object]]:
        """Yield (name, text) for people."""
        yield "task", f"{self.task} on {self.dataset} in {self.root}"
        yield "samples", ", ".join(f"{split} {n:,}" for split, n in self.samples.items())
        for reason, n in self.skipped.items():
            yield f"skipped, {reason}", f"{n:,} records"
        yield "read", f"{self.read:,} samples of {self.split}"
        yield "images", _top(self.sizes)
        yield "smallest image", f"{self.min_pixels} px" if self.min_pixels else "the model's"
        yield "visual tokens", _words(self.visual_tokens)
        yield "text tokens", _words(self.text_tokens)
        for name, counted in self.balance.items():
            yield f"{name}, {len(counted)} different", _top(counted)
        yield "share of rows", f"{self.rows_share:.1%}"
        yield "share of compute", f"{self.compute_share:.1%}"


def of_task(
    task: TaskSpec,
    reader: Reader,
    *,
    profile: ModelProfile,
    count_tokens: Callable[[str], int],
    split: Split,
    limit: int,
    options: Any = None,
) -> TaskStatistics:
    """Count a task's samples in every split, and read some of one split as a model does.

    The task has the run's settings, the profile the model's pixel limits. At most `limit` samples
    are read, spread evenly.

    Raises:
        DataError: the split has no sample of the task, or an image cannot be read.
        DatasetNotFoundError: no split exists.
    """
    spec = reader.registry.dataset(task.dataset)
    root, _ = reader.root(spec)
    samples: dict[Split, Sequence[Sample]] = {}
    skipped: Counter[str] = Counter()
    for each in spec.splits:
        try:
            loaded = reader.load(spec, root=root, split=each, soon=spec.splits)
        except DatasetNotFoundError:
            if each == split:
                raise
            continue
        skipped.update({reason: found.count for reason, found in loaded.skipped.items()})
        samples[each] = loading.task_samples(task, loaded.records)
    if not samples.get(split):
        raise DataError(
            f"task {task.name!r} has no samples in split {split!r} of {root}"
            f"{reader.load(spec, root=root, split=split).reasons}",
            hint="choose another with --split",
        )
    chosen = samples[split][:: max(1, -(-len(samples[split]) // limit))]
    prompter = Prompter(task, profile=profile, options=options)
    put = [prompter.prompt(sample) for sample in chosen]
    return TaskStatistics(
        task=task.name,
        dataset=spec.name,
        root=str(root),
        samples={each: len(many) for each, many in samples.items()},
        skipped=dict(skipped),
        split=split,
        read=len(put),
        min_pixels=task.min_pixels,
        sizes=dict(Counter(each for one in put for each in _resizes(one)).most_common()),
        visual_tokens=_spread(
            [prompts.visual_tokens(each.picture_sizes, profile=profile) for each in put]
        ),
        text_tokens=_spread(
            [count_tokens(text) for text in _texts(put, instruction_of(task, reader.config))]
        ),
        balance=_balance(put),
    )


def with_shares(
    tasks: Sequence[TaskStatistics], *, weights: Mapping[str, float] | None
) -> list[TaskStatistics]:
    """Return the statistics with each task's share of rows and of tokens of a mixture."""
    sizes = {each.task: each.samples[each.split] for each in tasks}
    rows = mixture.shares(sizes, weights=weights, n=_ROWS)
    tokens = {
        each.task: rows[each.task] * (each.visual_tokens.mean + each.text_tokens.mean)
        for each in tasks
    }
    total = sum(tokens.values())
    return [
        replace(
            each,
            rows_share=round(rows[each.task] / _ROWS, 4),
            compute_share=round(tokens[each.task] / total, 4),
        )
        for each in tasks
    ]


def _texts(put: Sequence[Prompt], instruction: str) -> Iterator[str]:
    for each in put:
        yield f"{each.turn.question} {instruction}{each.gold}"


def _balance(put: Sequence[Prompt]) -> dict[str, dict[str, int]]:
    """Return how often each label, answer or number of boxes occurs."""
    labels: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    named: Counter[str] = Counter()
    for each in put:
        target: Mapping[str, Any] = each.sample.target
        if isinstance(target.get("labels"), list | tuple):
            labels.update(map(str, target["labels"]))
        elif "boxes" in target and "answer" not in target:
            numbers[str(len(boxes.target_boxes(target)))] += 1
            named.update(map(str, target.get("box_labels") or ()))
        else:
            answered[each.turn.answer] += 1
    counted = {"labels": labels, "answers": answered, "boxes per sample": numbers}
    counted["boxes"] = named
    return {name: dict(many.most_common()) for name, many in counted.items() if many}


def _resizes(each: Prompt) -> Iterator[str]:
    for stored, seen in zip(each.image_sizes, each.input_sizes, strict=True):
        yield f"{stored[0]}x{stored[1]} as {seen[0]}x{seen[1]}"


def _spread(numbers: Sequence[int]) -> Spread:
    mean = round(statistics.fmean(numbers), 1)
    return Spread(min(numbers), statistics.median(numbers), max(numbers), mean)


def _words(spread: Spread) -> str:
    return f"{spread.min} to {spread.max}, median {spread.median:g}, mean {spread.mean:g}"


def _top(counted: Mapping[str, int]) -> str:
    total = sum(counted.values())
    lines = [f"{n:,} ({n / total:.1%}) {value}" for value, n in list(counted.items())[:LISTED]]
    return "\n".join(shortened(lines, len(counted)))
