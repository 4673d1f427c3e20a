"""Prepares the plugin under test: declarations, generated data, questions, correct answers."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from geovlm import boxes
from geovlm.api import (
    DatasetSpec,
    MetricSpec,
    ModelProfile,
    Prediction,
    RewardContext,
    RewardSpec,
    Sample,
    Split,
    TaskSpec,
    Turn,
)
from geovlm.data.loading import (
    REAL_RECORDS,
    Loaded,
    find_root,
    generator,
    load_records,
    task_samples,
)
from geovlm.data.prompts import Prompt, Prompter, prediction, reward_context
from geovlm.errors import (
    DatasetNotFoundError,
    PluginUnavailableError,
    RewardError,
    UnknownNameError,
)
from geovlm.plugins import profiles
from geovlm.plugins.discover import CORE, PluginRecord
from geovlm.plugins.references import resolve
from geovlm.plugins.registry import Registry, load
from geovlm.rewards import encoder, scoring
from geovlm.testing.findings import PluginFault, attempt, fault, readable, source

RECORDS_PER_SPLIT = 10
"""Records of generated data per split; enough that each of GeoChat's five kinds is among them."""
SAMPLES_PER_SPLIT = 4
"""Samples of a task per split that rules ask about, spread evenly."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Case:
    """One sample of a task for one model family, with its correct completion."""

    prompt: Prompt
    context: RewardContext
    gold: str
    """The text on which fine-tuning trains."""
    tolerance: float
    """Loss of the boxes when written as text, 0 to 1: tolerance below a reward's maximum."""

    def prediction(self, completion: str) -> Prediction:
        """Return the case with a completion, as metrics receive it."""
        return prediction(self.prompt, completion, profile=self.context.profile)

    @property
    def sample(self) -> Sample:
        """The sample."""
        return self.prompt.sample

    @property
    def turn(self) -> Turn:
        """Its question and its correct answer."""
        return self.prompt.turn


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A plugin with everything that the rules need; data are written and read once."""

    record: PluginRecord
    registry: Registry
    data: Path | None = None
    """Folder of real data, for data sets without `make_sample`; `None`: their `root`."""

    @classmethod
    def of(
        cls,
        plugin: str | ModuleType,
        *,
        registry: Registry | None = None,
        data: Path | None = None,
    ) -> Subject:
        """Return the subject of a plugin's name, or of the module that its entry point names.

        Raises:
            UnknownNameError: there is no such plugin.
            PluginUnavailableError: the module is not an entry point of an installed distribution.
        """
        found = load() if registry is None else registry
        if isinstance(plugin, str):
            record = found.plugin(plugin)
        else:
            named = [r for r in found.plugins if r.module.partition(":")[0] == plugin.__name__]
            if not named:
                raise PluginUnavailableError(
                    f"module {plugin.__name__!r} is not the entry point of an installed plugin",
                    hint="name it under [project.entry-points.geovlm] and pip install -e .",
                )
            record = named[0]
        if record.name == CORE:
            raise UnknownNameError(
                f"{CORE!r} is the core itself, not a plugin", hint="see geovlm plugins list"
            )
        return cls(record=record, registry=found, data=data)

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.record.name

    @property
    def is_packaged(self) -> bool:
        """False for a description of annotations, which is a file and no distribution."""
        return self.record.distribution != self.record.module

    @property
    def declarations(self) -> str:
        """The file of the plugin's declarations."""
        if not self.is_packaged:
            return readable(Path(self.record.module))
        module = self.record.module.partition(":")[0]
        if module in sys.modules:
            return readable(Path(sys.modules[module].__file__ or module))
        spec = find_spec(module.partition(".")[0])
        return readable(Path(spec.origin)) if spec is not None and spec.origin else module

    @property
    def pyproject(self) -> str:
        """Name of the plugin's project file in faults; it is not installed."""
        return f"pyproject.toml of {self.record.distribution}"

    @property
    def datasets(self) -> list[DatasetSpec]:
        """Data sets that the plugin declares."""
        return [spec for spec in self.registry.datasets.values() if self._owns(spec.name)]

    @property
    def tasks(self) -> list[TaskSpec]:
        """Tasks that the plugin declares."""
        return [spec for spec in self.registry.tasks.values() if self._owns(spec.name)]

    @property
    def rewards(self) -> list[RewardSpec]:
        """Rewards that the plugin declares."""
        return [spec for spec in self.registry.rewards.values() if self._owns(spec.name)]

    @property
    def metrics(self) -> list[MetricSpec]:
        """Metrics that the plugin declares."""
        return [spec for spec in self.registry.metrics.values() if self._owns(spec.name)]

    def rewards_of(self, task: TaskSpec) -> list[RewardSpec]:
        """Return the rewards of both sets of a task and those of its format, each once."""
        listed = [name for weights in task.rewards.values() for name in weights]
        names = dict.fromkeys((*listed, *scoring.format_rewards(task)))
        return [self.registry.reward(name) for name in names]

    @cached_property
    def scratch(self) -> tempfile.TemporaryDirectory[str]:
        """A folder for generated data; it is removed when the process ends."""
        return tempfile.TemporaryDirectory(prefix=f"geovlm-check-{self.name}-")

    def write(self, spec: DatasetSpec, *, n: int, seed: int) -> Path:
        """Generate a small data set into a new folder and return the folder."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch.name))
        attempt(generator(spec), folder, n, seed, doing=f"make_sample of {spec.name!r}")
        return folder

    def _root(self, spec: DatasetSpec) -> Path:
        """Return the folder of a data set: generated, or of real data where it has no generator.

        Raises:
            DatasetNotFoundError: there is no folder of real data.
        """
        if spec.make_sample is not None:
            return self.write(spec, n=RECORDS_PER_SPLIT, seed=0)
        root = self.data or spec.root
        if root is None or not root.is_dir():
            raise DatasetNotFoundError(
                spec.name,
                root or Path(spec.folders[0]),
                hint="it has no make_sample: give a folder of real data by --data DIR, or as data "
                "of parametrize_with_checks",
            )
        inside = any((root / name).is_dir() for name in spec.folders)
        return find_root(spec, data_root=root) if inside else root

    @cached_property
    def roots(self) -> dict[str, Path]:
        """Folder of the data of each data set that the plugin declares or its tasks use.

        Raises:
            DatasetNotFoundError: a data set has neither generated nor real data.
        """
        names = dict.fromkeys([*(s.name for s in self.datasets), *(t.dataset for t in self.tasks)])
        return {name: self._root(self.registry.dataset(name)) for name in names}

    def limit(self, spec: DatasetSpec) -> int | None:
        """Return the largest number of records of a split that are read; `None`: all, generated."""
        return None if spec.make_sample else max(1, REAL_RECORDS // len(spec.splits))

    @cached_property
    def records(self) -> dict[str, dict[Split, list[Sample]]]:
        """Data set -> split -> records; a split of real data may be empty."""
        return {name: self._read(name) for name in self.roots}

    @cached_property
    def samples(self) -> dict[str, dict[Split, list[Sample]]]:
        """Task -> split -> all samples that it makes of the records."""
        return {
            task.name: {
                split: attempt(
                    task_samples,
                    task,
                    many,
                    doing=f"samples of task {task.name!r}",
                    blame=resolve(task.samples),
                )
                for split, many in self.records[task.dataset].items()
            }
            for task in self.tasks
        }

    @cached_property
    def chosen(self) -> dict[str, list[Sample]]:
        """Task -> a few samples of every split, for the rules that ask questions."""
        return {
            task: [
                sample
                for many in splits.values()
                for sample in many[:: max(1, len(many) // SAMPLES_PER_SPLIT)][:SAMPLES_PER_SPLIT]
            ]
            for task, splits in self.samples.items()
        }

    @cached_property
    def cases(self) -> dict[str, list[Case]]:
        """Task -> each chosen sample with a profile of each frame of boxes, by profile."""
        return {
            task.name: [
                case(task, sample, profile=profile)
                for profile in profiles.FRAMES
                for sample in self.chosen[task.name]
            ]
            for task in self.tasks
        }

    def _owns(self, name: str) -> bool:
        return name.partition("/")[0] == self.name

    def _read(self, name: str) -> dict[Split, list[Sample]]:
        spec, root = self.registry.dataset(name), self.roots[name]
        found = {}
        for split in spec.splits:
            try:
                found[split] = read(spec, root, split=split, limit=self.limit(spec))
            except PluginFault as caught:
                missing = isinstance(caught.__cause__, DatasetNotFoundError)
                if spec.make_sample is not None or not missing:
                    raise
                found[split] = []  # a copy that lacks a split
        return found


def read(spec: DatasetSpec, root: Path, *, split: Split, limit: int | None = None) -> list[Sample]:
    """Return the records of a split; an error of the loader is a fault of its file.

    Raises:
        PluginFault: the loader raised, or a record does not pass `geovlm.data.texts`.
    """
    found: Loaded = attempt(
        lambda: load_records(spec, root=root, split=split, limit=limit),
        doing=f"load of {spec.name!r}, split {split!r},",
        blame=resolve(spec.load),
    )
    for reason in found.defects:
        record = found.skipped[reason].first[0]
        raise PluginFault(
            fault(
                f"load of {spec.name!r}, split {split!r}, yields record {record!r} with {reason}",
                file=source(resolve(spec.load)),
            )
        )
    return found.records


def ask(task: TaskSpec, sample: Sample, *, profile: ModelProfile) -> Prompt:
    """Return the prompt of a sample for a model family, as the engine builds it."""
    prompt: Prompt = attempt(
        lambda: Prompter(task, profile=profile).prompt(sample),
        doing=f"prompt of task {task.name!r}, sample {sample.id!r}, profile {profile.name!r},",
        blame=resolve(task.prompt),
    )
    return prompt


def case(task: TaskSpec, sample: Sample, *, profile: ModelProfile) -> Case:
    """Return the sample for a model family, with its correct completion."""
    prompt = ask(task, sample, profile=profile)
    context = reward_context(prompt, profile=profile)
    return Case(
        prompt=prompt,
        context=context,
        gold=prompt.gold,
        tolerance=_lost_in_text(prompt.answer, context),
    )


def score(
    reward: RewardSpec, completions: Sequence[str], cases: Sequence[Case]
) -> list[float | None]:
    """Return the reward of each completion.

    Raises:
        PluginFault: the reward raised, left its range, or returned another number of values.
        GeoVLMError: the reward needs a sentence encoder and there is none.
    """
    if reward.name in encoder.NEED_ENCODER:
        encoder.find(None)
    function = resolve(reward.score)
    contexts = [each.context for each in cases]
    try:
        values: list[float | None] = attempt(
            lambda: scoring.score(reward, completions, contexts),
            doing=f"reward {reward.name!r} of task {contexts[0].task!r}",
            blame=function,
        )
    except PluginFault as caught:
        if isinstance(caught.__cause__, RewardError):
            message = str(caught.__cause__.args[0])
            raise PluginFault(fault(message, file=source(function))) from caught
        raise
    return values


def _lost_in_text(answer: str, context: RewardContext) -> float:
    """1 minus the lowest IoU of a target box with itself, written and read back; 0 without boxes.

    `boxes.write` rounds to whole units of the model's frame; the IoU stays above 0.9, or 0.5 for
    boxes that the model sees smaller than one patch. The mean over boxes is at least the lowest.
    """
    truth = boxes.target_boxes(context.target)
    if not truth or boxes.strip(answer) == " ".join(answer.split()):
        return 0.0
    kept = [
        boxes.iou(boxes.enclosing(box), boxes.enclosing(again))
        for box in truth
        for again in boxes.parse(boxes.write([box], context), context)
    ]
    return 1.0 - min(kept, default=1.0)
