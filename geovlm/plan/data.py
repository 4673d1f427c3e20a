"""Reads the data of a run's tasks once, and checks them before anything starts."""

from __future__ import annotations

import hashlib
import json
import shlex
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from geovlm import raster
from geovlm.api import DatasetSpec, Sample, Split, TaskSpec
from geovlm.config.model import ModelFacts
from geovlm.config.tasks import configured, instruction_of
from geovlm.data import imagefiles, loading, prompts
from geovlm.data.findings import Finding
from geovlm.data.leaks import LeftOut
from geovlm.data.objects import Sizes, of_samples
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm.plan import checksums
from geovlm.plugins.registry import Registry
from geovlm.raster import checks

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig

FEW = 8
"""Records per split of generated data of which only a few are needed."""
IMAGES_CHECKED = 32
"""Number of images per task and split whose headers are read; the first is decoded."""
IMAGES_MEASURED = 256
"""Number of images per task whose objects are measured."""
BANDS_CHECKED = 8
"""Number of these images whose pixels are read to check the names of their bands."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskPlan:
    """One task: its data, and the number of tokens per sample."""

    name: str
    dataset: str
    root: Path
    generated: bool
    few: bool
    """True if only a few real records were read, so that no number of samples is known."""
    samples: Mapping[Split, int]
    evaluated: int
    """Number of samples of the evaluation split that the model answers."""
    left_out: Mapping[Split, Mapping[str, Finding]]
    """Split -> reason -> records that are left out, see `geovlm.data.loading.load_records`."""
    visual_tokens: int | None
    """Mean of the checked samples; `None` if the model's family is not known yet."""
    text_tokens: int | None
    """Mean of question, instruction and correct answer; `None` without the tokenizer's file."""
    most_visual_tokens: int | None
    """Largest number of one checked sample."""
    most_text_tokens: int | None
    answer_tokens: int
    """Longest completion, tokens."""
    most_pixels: int
    """Largest area of one image as the model sees it, pixels; 0 if that is not known."""
    objects: Sizes | None
    """Sizes of the objects of some training samples; `None`: no boxes, or a model not known yet."""
    deduplicated: int
    """Number of training samples left out because the evaluation has their image or event."""
    prompt_sha256: str
    """SHA-256 of the first sample's question, reasoning and answer."""

    @property
    def skipped(self) -> dict[str, int]:
        """Reason -> number of records that are left out, over both splits."""
        counted: Counter[str] = Counter()
        for reasons in self.left_out.values():
            counted.update({reason: found.count for reason, found in reasons.items()})
        return dict(counted)


class DataRoot(NamedTuple):
    """The folder of a data set."""

    folder: Path
    generated: bool
    """True if no data were given, so that a miniature was written there."""


class _Tokens(NamedTuple):
    """Tokens per sample that a model reads; lists are empty if they are not known."""

    visual: list[int]
    text: list[int]
    most_pixels: int
    prompt_sha256: str


class EmptySplitError(DataError):
    """A split without a sample of the task."""


@dataclass
class Reader:
    """Reads every split of a data set once, for all tasks on it."""

    config: RunConfig
    registry: Registry
    model: ModelFacts
    count: Callable[[str], int] | None
    few: bool = False
    """Read at most `REAL_RECORDS` of each task, over all splits, of data that have no generator."""
    checksums: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)
    """Data that training leaves out, from `geovlm.plan.leaks`."""
    chosen: dict[str, Sample] = field(default_factory=dict)
    """Task -> one of its samples, with boxes if there are such."""
    _said: set[str] = field(default_factory=set)
    _loaded: dict[tuple[str, Split], loading.Loaded | DatasetNotFoundError] = field(
        default_factory=dict
    )

    def plan(self, task: TaskSpec) -> TaskPlan:
        """Return the task's part of the plan.

        Raises:
            EmptySplitError: a split that the run needs has no sample of the task.
            DatasetNotFoundError: the folder given for the data does not hold them.
            DataError: an image cannot be read; names the file.
            ConfigError: options that the task or the data set does not have.
        """
        task = configured(task, self.config, profile=self.model.profile)
        spec = self.registry.dataset(task.dataset)
        root, generated = self.root(spec)
        options = self.config.task_options(task)
        eval_split = self.config.eval_split(task.name)
        trained = self.config.trains(task.name)
        splits: list[Split] = ["train", eval_split] if trained else [eval_split]
        samples: dict[Split, Sequence[Sample]] = {}
        deduplicated = 0
        left_out: dict[Split, Mapping[str, Finding]] = {}
        for split in dict.fromkeys(splits):
            loaded = self.load(spec, root=root, split=split, soon=splits)
            left_out[split] = loaded.skipped
            samples[split] = loading.task_samples(task, loaded.records)
            if split == "train" and self.config.deduplicate != "off":
                kept = loading.task_samples(task, self.left_out.keep(loaded.records))
                deduplicated = len(samples[split]) - len(kept)
                samples[split] = kept
                if deduplicated and not kept:
                    raise DataError(
                        f"deduplicate={self.config.deduplicate!r} leaves task {task.name!r} no "
                        f"training sample: the evaluation shares all {deduplicated}",
                        hint=f"see 'geovlm data leaks {task.name}'",
                    )
            if not samples[split]:
                raise EmptySplitError(
                    f"task {task.name!r} has no samples in split {split!r} of {root}"
                    f"{loaded.reasons}",
                    hint="choose another with --set eval.split=…, or leave the task out"
                    if split == eval_split
                    else f"see: geovlm data check {spec.name} --data {shlex.quote(str(root))}",
                )
        first = samples[splits[0]]
        checked = checksums.spread(first, IMAGES_CHECKED)
        for chosen in (checked, checksums.spread(samples[eval_split], IMAGES_CHECKED)):
            raster.open_image(chosen[0].images[0])
            self._say(checks.require_plausible([s.images[0] for s in chosen[:BANDS_CHECKED]]))
            for sample in chosen:
                imagefiles.require_sizes(sample)
        tokens = self._read_by_model(task, checked, options=options)
        self.chosen[task.name] = next(
            (each for each in checked if each.target.get("boxes")), checked[0]
        )
        longest = self.config.max_new_tokens or task.max_answer_tokens
        n = len(samples[eval_split])
        return TaskPlan(
            name=task.name,
            dataset=spec.name,
            root=root,
            generated=generated,
            few=self._is_few(spec),
            samples={split: len(many) for split, many in samples.items()},
            evaluated=min(n, self.config.eval.limit or n),
            left_out=left_out,
            visual_tokens=round(statistics.fmean(tokens.visual)) if tokens.visual else None,
            text_tokens=round(statistics.fmean(tokens.text)) if tokens.text else None,
            most_visual_tokens=max(tokens.visual, default=None),
            most_text_tokens=max(tokens.text, default=None),
            answer_tokens=min(task.max_answer_tokens, longest),
            most_pixels=tokens.most_pixels,
            objects=self._measured(task, first),
            deduplicated=deduplicated,
            prompt_sha256=tokens.prompt_sha256,
        )

    def _measured(self, task: TaskSpec, samples: Sequence[Sample]) -> Sizes | None:
        """Return the sizes of the objects of some samples as the model sees them."""
        if self.model.profile is None:
            return None
        some = checksums.spread(samples, IMAGES_MEASURED)
        return of_samples(some, profile=self.model.profile, min_pixels=task.min_pixels)

    def _say(self, notes: Sequence[str]) -> None:
        """Print notes about images on standard error, each once."""
        for note in notes:
            if note not in self._said:
                print(f"note: {note}", file=sys.stderr, flush=True)
                self._said.add(note)

    def root(self, spec: DatasetSpec, *, few: bool = False) -> DataRoot:
        """Return the folder of a data set, which may be generated.

        With `few`, generated data that are not there yet have `FEW` records per split.
        """
        given_for, override = self.config.data_folder(spec.name) or ("", None)
        if spec.root is not None and override is None:
            return DataRoot(spec.root, generated=False)
        if not self.config.data_root and not any(each.root for each in self.config.data.values()):
            sample = self.config.sample
            n = sample.records
            if few and not loading.sample_folder(spec, n=n, seed=sample.seed).is_dir():
                n = min(FEW, n)
            return DataRoot(loading.sample_root(spec, n=n, seed=sample.seed), generated=True)
        if override is not None and spec.name != given_for:
            # the folder of a prefix may hold the data sets, or be the only one of them
            for name in spec.folders:
                if (override / name).is_dir():
                    return DataRoot(override / name, generated=False)
        root = loading.find_root(spec, data_root=self.config.data_root, override=override)
        return DataRoot(root.absolute(), generated=False)

    def load(
        self, spec: DatasetSpec, *, root: Path, split: Split, soon: Sequence[Split] = ()
    ) -> loading.Loaded:
        """Return the records of a split, read once with the configuration's options.

        Splits that are needed `soon` are read too, if that takes no longer.

        Raises:
            DatasetNotFoundError: `root` does not hold the split.
            ConfigError: options that the data set does not have.
        """
        key = (spec.name, split)
        if key not in self._loaded:
            wanted = [split, *(soon if loading.reads_at_once(spec) else ())]
            wanted = [
                each for each in dict.fromkeys(wanted) if (spec.name, each) not in self._loaded
            ]
            print(f"reading {spec.name} {', '.join(wanted)}: {root}", file=sys.stderr, flush=True)
            options, limit = self.config.data_options(spec), self._limit(spec)
            try:
                many = loading.load_splits(
                    spec, root=root, splits=wanted, options=options, limit=limit
                )
            except DatasetNotFoundError as error:
                self._loaded[key] = error
            else:
                for each, loaded in many.items():
                    self._loaded[spec.name, each] = loaded
                    made = checksums.of_split(loaded.records, root=loaded.root)
                    self.checksums.setdefault(spec.name, {})[each] = made
        found = self._loaded[key]
        if isinstance(found, DatasetNotFoundError):
            raise found
        return found

    @property
    def records(self) -> dict[tuple[str, Split], Sequence[Sample]]:
        """Data set and split -> the records that were read."""
        return {
            key: found.records
            for key, found in self._loaded.items()
            if isinstance(found, loading.Loaded)
        }

    def _is_few(self, spec: DatasetSpec) -> bool:
        return self.few and spec.make_sample is None

    def _limit(self, spec: DatasetSpec) -> int | None:
        """Return the largest number of records of a split that are read; a run reads two splits."""
        return loading.REAL_RECORDS // 2 if self._is_few(spec) else None

    def _read_by_model(self, task: TaskSpec, samples: Sequence[Sample], *, options: Any) -> _Tokens:
        """Return the tokens of some samples, as far as they are known."""
        profile = self.model.profile
        if profile is None:
            return _Tokens([], [], 0, "")
        prompter = prompts.Prompter(task, profile=profile, options=options)
        visual, text, digest, most = [], [], "", 0
        for sample in samples:
            prompt = prompter.prompt(sample)
            if profile.cell_tokens:  # 0: a served model, which alone knows
                visual.append(prompts.visual_tokens(prompt.picture_sizes, profile=profile))
            most = max(most, *(width * height for width, height in prompt.input_sizes))
            turn = prompt.turn
            if self.count is not None:
                whole = f"{turn.question} {instruction_of(task, self.config)}{prompt.gold}"
                text.append(self.count(whole))
            parts = json.dumps([turn.question, turn.reasoning, turn.answer])
            digest = digest or hashlib.sha256(parts.encode()).hexdigest()
        return _Tokens(visual, text, most, digest)
