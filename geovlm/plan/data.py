"""The data of a run's tasks, read once and checked before anything starts."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm import answers, raster
from geovlm.api import DatasetSpec, Raster, Sample, Split, TaskSpec
from geovlm.config.model import ModelFacts
from geovlm.config.options import lookup
from geovlm.config.tasks import configured
from geovlm.data import loading, prompts
from geovlm.data.leaks import LeftOut
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm.plugins.registry import Registry
from geovlm.raster import checks

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig

IMAGES_CHECKED = 32
"""Images per task and split whose headers are read; the first one is decoded."""

BANDS_CHECKED = 8
"""Of these, how many are read to see whether their bands are what they are called."""

_LINES_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskPlan:
    """One task: its data, and how much the model reads per sample."""

    name: str
    dataset: str
    root: Path
    generated: bool
    samples: Mapping[Split, int]
    evaluated: int
    """Samples of the evaluation split that are answered."""
    skipped: Mapping[str, int]
    """Reason -> records that the loader left out, over both splits."""
    visual_tokens: int | None
    """Mean of the images checked; `None` if the model's family is not known yet."""
    text_tokens: int | None
    """Mean of question, instruction and gold answer, where the tokenizer is on this machine."""
    most_visual_tokens: int | None
    """Of one sample among those checked."""
    most_text_tokens: int | None
    answer_tokens: int
    """Longest completion."""
    most_pixels: int
    """Largest area of one image as the model sees it; 0 if that is not known."""
    deduplicated: int
    """Training samples that are left out because the evaluation has their image or event."""
    prompt_sha256: str
    """Of the first sample's question, reasoning and answer."""


class EmptySplitError(DataError):
    """A split without a sample of the task."""


@dataclass
class Reader:
    """Reads every data set once, whatever the number of tasks on it."""

    config: RunConfig
    registry: Registry
    model: ModelFacts
    count: Callable[[str], int] | None
    checksums: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)
    """What training must do without, as `leakage` finds it."""
    _loaded: dict[tuple[str, Split], loading.Loaded | DatasetNotFoundError] = field(
        default_factory=dict
    )

    def plan(self, task: TaskSpec) -> TaskPlan:
        """Return the task's part of the plan.

        Raises:
            EmptySplitError: a split that the run needs has no sample of the task.
            DatasetNotFoundError: the data are not where they were said to be.
            DataError: an image cannot be read; names the file.
            ConfigError: options that task or data set do not have.
        """
        task = configured(task, self.config, profile=self.model.profile)
        spec = self.registry.dataset(task.dataset)
        root, generated = self.root(spec)
        options = self.config.task_options(task)
        eval_split = self.config.eval_split(task.name)
        splits: list[Split] = ["train", eval_split] if self.config.stages else [eval_split]
        samples: dict[Split, list[Sample]] = {}
        deduplicated = 0
        skipped: dict[str, int] = {}
        for split in dict.fromkeys(splits):
            loaded = self.load(spec, root=root, split=split)
            for reason, number in loaded.skipped.items():
                skipped[reason] = skipped.get(reason, 0) + number
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
                    f"task {task.name!r} has no samples in split {split!r} of {root}",
                    hint="choose another with --set eval.split=…, or leave the task out"
                    if split == eval_split
                    else f"see 'geovlm data check {spec.name} --data {root}'",
                )
        first = samples[splits[0]]
        checked = spread(first, IMAGES_CHECKED)
        for chosen in (checked, spread(samples[eval_split], IMAGES_CHECKED)):
            raster.open_image(chosen[0].images[0])
            checks.require_plausible([each.images[0] for each in chosen[:BANDS_CHECKED]])
            for sample in chosen:
                _check_sizes(sample)
        visual, text, most_pixels, digest = self._read_by_model(task, checked, options=options)
        longest = self.config.max_new_tokens or task.max_answer_tokens
        n = len(samples[eval_split])
        return TaskPlan(
            name=task.name,
            dataset=spec.name,
            root=root,
            generated=generated,
            samples={split: len(many) for split, many in samples.items()},
            evaluated=min(n, self.config.eval.limit or n),
            skipped=skipped,
            visual_tokens=round(statistics.fmean(visual)) if visual else None,
            text_tokens=round(statistics.fmean(text)) if text else None,
            most_visual_tokens=max(visual, default=None),
            most_text_tokens=max(text, default=None),
            answer_tokens=min(task.max_answer_tokens, longest),
            most_pixels=most_pixels,
            deduplicated=deduplicated,
            prompt_sha256=digest,
        )

    def root(self, spec: DatasetSpec) -> tuple[Path, bool]:
        """Return the folder of a data set, and whether it was generated."""
        own = lookup(self.config.data, spec.name)
        override = own.root if own is not None else None
        given = self.config.data_root is not None or any(
            entry.root is not None for entry in self.config.data.values()
        )
        if not given:
            sample = self.config.sample
            return loading.sample_root(spec, n=sample.records, seed=sample.seed), True
        if override is not None and spec.name not in self.config.data:
            # the folder of a prefix may hold the data sets, or be the only one of them
            for name in spec.folders:
                if (override / name).is_dir():
                    return override / name, False
        root = loading.find_root(spec, data_root=self.config.data_root, override=override)
        return root.absolute(), False

    def load(self, spec: DatasetSpec, *, root: Path, split: Split) -> loading.Loaded:
        """Return the records of a split, read once with the configuration's options.

        Raises:
            DatasetNotFoundError: `root` does not hold the split.
            ConfigError: options that the data set does not have.
        """
        key = (spec.name, split)
        if key not in self._loaded:
            print(f"reading {spec.name} {split}: {root}", file=sys.stderr, flush=True)
            options = self.config.data_options(spec)
            try:
                loaded = loading.load_records(spec, root=root, split=split, options=options)
            except DatasetNotFoundError as error:
                self._loaded[key] = error
            else:
                self._loaded[key] = loaded
                self.checksums.setdefault(spec.name, {})[split] = checksum(
                    loaded.records, root=root
                )
        found = self._loaded[key]
        if isinstance(found, DatasetNotFoundError):
            raise found
        return found

    def _read_by_model(
        self, task: TaskSpec, samples: Sequence[Sample], *, options: Any
    ) -> tuple[list[int], list[int], int, str]:
        """Return visual and text tokens as far as known, most pixels, the hash of an exchange."""
        profile = self.model.profile
        if profile is None:
            return [], [], 0, ""
        prompter = prompts.Prompter(task, profile=profile, options=options)
        visual, text, digest, most = [], [], "", 0
        for sample in samples:
            prompt = prompter.prompt(sample)
            visual.append(prompts.visual_tokens(prompt.input_sizes, profile=profile))
            most = max(most, *(width * height for width, height in prompt.input_sizes))
            turn = prompt.turn
            if self.count is not None and turn.reasoning.strip():
                whole = f"{turn.question} {self.config.instruction}{answers.frame(turn)}"
                text.append(self.count(whole))
            parts = json.dumps([turn.question, turn.reasoning, turn.answer])
            digest = digest or hashlib.sha256(parts.encode()).hexdigest()
        return visual, text, most, digest


def checksum(records: Sequence[Sample], *, root: Path) -> dict[str, Any]:
    """Return the number of records and a hash of their ids, questions, targets and image names.

    Of a raster the bands stand for the names: to make the paths of half a million patches takes
    longer than all the rest.
    """
    digest = hashlib.sha256()
    targets: dict[int, str] = {}  # by identity: data sets share the targets of equal labels
    prefix = f"{root}{os.sep}"
    lines: list[str] = []
    for record in records:
        target = targets.get(id(record.target))
        if target is None:
            made = json.dumps(dict(record.target), sort_keys=True, default=list)
            target = hashlib.sha256(made.encode(errors="surrogatepass")).hexdigest()
            targets[id(record.target)] = target
        parts = [record.id, record.question, target]
        for image in record.images:
            if isinstance(image, Raster):
                parts += image.bands
            else:
                parts.append(str(image).removeprefix(prefix))
        lines.append("\x1f".join(parts))
        if len(lines) == _LINES_AT_ONCE:
            digest.update("\x1e".join([*lines, ""]).encode(errors="surrogatepass"))
            lines.clear()
    digest.update("\x1e".join([*lines, ""]).encode(errors="surrogatepass"))
    return {"records": len(records), "sha256": digest.hexdigest()}


def _check_sizes(sample: Sample) -> None:
    """Read the headers of the sample's images.

    Raises:
        DataError: an image cannot be read, or is not of the size that its data set declares.
    """
    sizes = tuple(raster.image_size(image) for image in sample.images)
    if sample.image_sizes and sizes != sample.image_sizes:
        raise DataError(
            f"the images of sample {sample.id!r} measure {list(sizes)} px, its data set declares "
            f"{list(sample.image_sizes)}",
            hint="see 'geovlm data check'; was the copy converted?",
        )


def spread(samples: Sequence[Sample], n: int) -> list[Sample]:
    """Return at most n samples, evenly over the list, the first one first."""
    step = max(1, len(samples) // n)
    return list(samples[::step][:n])
