"""The contract: every type that a plugin touches. Standard library only.

Coordinate frames. A box is `[x0, y0, x1, y1]` in pixels of the stored image, x to the right, y
down, half-open; a fifth number is the angle in degrees of a rotated box (see `geovlm.boxes`). With
several images the boxes refer to the last (newest) one. Sizes are `(width, height)` in pixels.

References. Wherever a field is a `Ref`, the object itself or a string `"module:attribute"` will do;
strings are imported on first use, so that importing a plugin costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

__all__ = [
    "BoxFrame",
    "DatasetSpec",
    "Json",
    "LoadContext",
    "MetricSpec",
    "ModelProfile",
    "Prediction",
    "PromptContext",
    "Raster",
    "Ref",
    "RewardContext",
    "RewardSpec",
    "Sample",
    "Size",
    "Split",
    "StageInfo",
    "TaskSpec",
    "Turn",
    "options",
]

T = TypeVar("T")

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Ref: TypeAlias = T | str
Size: TypeAlias = tuple[int, int]
Split: TypeAlias = Literal["train", "val", "test"]
BoxFrame: TypeAlias = Literal["input_pixels", "norm1000", "norm100", "norm1"]


def options(cls: type[T]) -> type[T]:
    """Make a class of defaults the options of a data set or task.

    The result is a frozen, keyword-only dataclass whose unknown keys and wrong types are refused
    at configuration time, with the path of the key. Every field needs a default and should carry a
    docstring.
    """
    made = dataclass(frozen=True, kw_only=True)(cls)
    made.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
    return made


@dataclass(frozen=True, kw_only=True, slots=True)
class Raster:
    """An image made of bands by name: one file per band, or several bands of one file."""

    files: Mapping[str, Path]
    """Band name -> file that holds it."""
    bands: tuple[str, str, str]
    """The names shown as red, green and blue."""
    low: float
    """The stored value shown as 0."""
    high: float
    """The stored value shown as 255."""
    band_index: Mapping[str, int] = field(default_factory=dict)
    """Band name -> 1-based index in its file; 1 where absent."""
    nodata: float | None = None
    """The stored value shown as black; `None`: what the file declares."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One labelled observation, independent of any model."""

    id: str
    """Unique over all splits of the data set, stable across versions."""
    images: tuple[Path | Raster, ...]
    """One or more; a time series is ordered oldest first."""
    target: Mapping[str, Json]
    """Gold. Shared names: `labels` (+ `vocabulary`), `boxes`, `answer`, `captions`, `text`."""
    question: str = ""
    """Only where the data set itself supplies one (VQA)."""
    meta: Mapping[str, Json] = field(default_factory=dict)
    """gsd_m, sensor, crs, event, licence, ...; never read by a reward."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One exchange: what the user asks and what a perfect model says."""

    question: str
    answer: str
    """Goes between `<answer>` and `</answer>`."""
    reasoning: str = ""
    """Goes between `<think>` and `</think>`; nothing that the annotation does not hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelProfile:
    """How to talk to a model family."""

    name: str
    model_types: tuple[str, ...]
    """Values of `config.model_type` that this profile serves."""
    box_frame: BoxFrame
    """`input_pixels`: pixels of the image after the processor's resize."""
    box_angle: bool = False
    """Whether boxes carry a fifth number, the angle in degrees."""
    size_factor: int = 28
    """Sides after the resize are multiples of it (patch size x merge size)."""
    min_pixels: int = 3136
    """Smallest area after the resize, pixels."""
    max_pixels: int = 12845056
    """Largest area after the resize, pixels."""
    lora_targets: str = "all-linear"
    """Regular expression over module names (peft `target_modules`)."""
    vision_module: str = "model.visual"
    """Dotted name of the vision tower inside the model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadContext:
    """What a data set's `load` receives."""

    root: Path
    split: Split
    limit: int | None = None
    """At most so many samples; `None`: all."""
    options: Any = None
    """An instance of the spec's `options` class, or `None` if it has none."""
    skip: Callable[[str, str], None] = lambda reason, item: None
    """Call it with (reason, item) for every record left out; they are counted and shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptContext:
    """What a task's `prompt` receives beside the sample."""

    profile: ModelProfile
    image_sizes: tuple[Size, ...]
    """Sizes of the stored images."""
    input_sizes: tuple[Size, ...]
    """Sizes of the same images as the model sees them."""
    options: Any = None
    """An instance of the task's `options` class, or `None` if it has none."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, weakref_slot=True)
class RewardContext:
    """What a reward receives beside the completion; compared by identity."""

    task: str
    sample_id: str
    question: str
    answer: str
    """The gold answer text, in the model's box frame."""
    target: Mapping[str, Json]
    image_sizes: tuple[Size, ...]
    input_sizes: tuple[Size, ...]
    profile: ModelProfile
    progress: float = 0.0
    """Share of the stage that is done, 0..1."""
    options: Mapping[str, Json] = field(default_factory=dict)
    """The run's `[reward_options]`: `encoder`, `lexical`, `hbb`, ..."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, weakref_slot=True)
class Prediction:
    """One scored answer, as metrics receive it; compared by identity."""

    task: str
    sample_id: str
    question: str
    completion: str
    """The raw decoded text of the model, tags included."""
    answer: str
    """The gold answer text."""
    target: Mapping[str, Json]
    image_sizes: tuple[Size, ...]
    input_sizes: tuple[Size, ...]
    profile: ModelProfile
    meta: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageInfo:
    """What `geovlm_callbacks` receives."""

    index: int
    kind: Literal["sft", "grpo"]
    tasks: tuple[str, ...]
    output: Path
    is_main_process: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSpec:
    """A data set in its official on-disk layout."""

    name: str
    """`<plugin>` or `<plugin>/<part>`."""
    summary: str
    splits: tuple[Split, ...]
    load: Ref[Callable[[LoadContext], Iterable[Sample]]]
    """Yields samples in a deterministic order; raises `DatasetNotFoundError`, `DataError`."""
    make_sample: Ref[Callable[[Path, int, int], None]]
    """`(root, n, seed)`: writes n records per split of generated data in the real layout."""
    folders: tuple[str, ...]
    """Folder names under a common data root in which the set is looked for, best first."""
    licence: str
    homepage: str
    citation: str
    size_gb: float | None = None
    options: type | None = None
    """A class made with `@options`."""
    version: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSpec:
    """A question over a data set, with its rewards and metrics."""

    name: str
    """`<plugin>` or `<plugin>/<task>`."""
    summary: str
    dataset: str
    """Name of a `DatasetSpec`, of this plugin or another."""
    prompt: Ref[Callable[[Sample, PromptContext], Turn]]
    rewards: Mapping[str, Mapping[str, float]]
    """`{"paper": {reward: weight}, "robust": {reward: weight}}`: accuracy rewards only."""
    metrics: tuple[str, ...]
    """Names of `MetricSpec`s."""
    primary_metric: str
    """A key of what the metrics return; higher is better."""
    samples: Ref[Callable[[Sample], Iterable[Sample]]] | None = None
    """Makes the task's samples out of one record: none, one or several. Default: the record."""
    protocol: str = ""
    """The published scoring protocol that fits, as `geovlm score` names it."""
    max_answer_tokens: int = 256
    """Longest completion, reasoning and tags included."""
    min_pixels: int = 0
    """Smallest area at which the model should see an image; raises the profile's own."""
    unchanged: str = ""
    """With two images: the answer where nothing changed between them, such as `no` or `none`."""
    tags: frozenset[str] = frozenset()
    options: type | None = None
    """A class made with `@options`."""
    version: int = 1
    """Raise it when scores stop being comparable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardSpec:
    """A reward: one number per completion, or `None` where it does not apply."""

    name: str
    summary: str
    score: Ref[Callable[..., Any]]
    """`(completion, RewardContext) -> float | None`; if `batched`, sequences of both."""
    low: float = 0.0
    high: float = 1.0
    gold_is_max: bool = True
    """Whether the gold answer earns `high`."""
    batched: bool = False
    """Whether `score` takes all completions of a batch in one call."""
    formula: str = ""
    """The formula as people read it."""
    source: str = ""
    """Paper, equation or code that it follows."""
    version: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSpec:
    """A corpus metric: all predictions of a task in, named numbers out."""

    name: str
    summary: str
    compute: Ref[Callable[[Sequence[Prediction]], Mapping[str, float]]]
    """Never called with an empty sequence; keys are bare words such as `f1`, `accuracy`."""
    counts: Ref[Callable[[Prediction], Mapping[str, float]]] | None = None
    """What one prediction adds to sums, for a metric that is a function of sums. With `finish` it
    makes the bootstrap a matrix product; without them `compute` is called for every resample."""
    finish: Ref[Callable[[Mapping[str, Any]], Mapping[str, Any]]] | None = None
    """Sums, numpy arrays of one shape -> named numbers of that shape, NaN where undefined; of the
    sums over all predictions it returns what `compute` returns."""
    higher_is_better: bool = True
    version: int = 1
