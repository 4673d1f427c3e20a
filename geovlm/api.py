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
    "Asked",
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
    """An image made of bands by name: one file per band, or several bands of one file.

    `bands` picks what is shown. Besides bands it may name an index, computed from the bands with
    the names of Sentinel-2 or those of the colours: `NDVI` = (B08 - B04) / (B08 + B04), `NDWI` =
    (B03 - B08) / (B03 + B08), or `nir`, `red` and `green`. An index in all three places is grey.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    """Band name -> file that holds it."""
    bands: tuple[str, str, str]
    """The names of bands or indices shown as red, green and blue; the first sets the size."""
    low: float = 0.0
    """The stored value shown as 0; with `scaling="percentile"` the percentile, 0..100."""
    high: float = 0.0
    """The stored value or the percentile shown as 255; above `low` unless all `bands` are indices
    or in `ranges`."""
    band_index: Mapping[str, int] = field(default_factory=dict)
    """Band name -> 1-based index in its file; where absent, the band of that description or
    colour, and the only band of a file in `files`."""
    nodata: float | None = None
    """The stored value shown as black; `None`: what the file declares. Masks, alpha and NaN count
    either way."""
    file: Path | None = None
    """The file of every band that `files` does not name, chosen by `band_index` or by the names
    that the file gives its bands."""
    scaling: Literal["range", "percentile"] = "range"
    """`percentile`: `low` and `high` are percentiles of the band's valid pixels in the whole image,
    linearly interpolated; of at most 1024 x 1024 evenly spread ones."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Band or index -> the values shown as 0 and 255, instead of `low` and `high`; -1 and 1 for an
    index that is absent here."""
    reflectance: float | None = None
    """The stored value of reflectance 1 above that of 0, such as 10000; `None`: the values are no
    reflectances. What is declared is checked by `geovlm.raster.checks`."""
    offset: float = 0.0
    """The stored value of reflectance 0: 1000 for Sentinel-2 products since January 2022. Taken off
    before an index is computed; `low`, `high` and `ranges` are stored values all the same."""


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
    image_sizes: tuple[Size, ...] = ()
    """Sizes of the stored images, where the data set's definition fixes them: nothing then opens
    half a million files for their headers. Empty: read from the files."""


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
    cell_tokens: int = 1
    """Tokens that the model makes of `size_factor` x `size_factor` pixels."""
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
    official: Ref[Callable[[LoadContext], int | None]] | None = None
    """How many records of `ctx.split` the official release holds under these options; `None` where
    that is not published. `geovlm data check` says `300 of 57,223` by it."""
    options: type | None = None
    """A class made with `@options`."""
    version: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Something that a user of `geovlm predict` says beside the images."""

    name: str
    """`question`, `boxes` (what the user marks) or a key of the task's target."""
    summary: str
    choices: tuple[str, ...] = ()
    """The only values; empty: any text."""
    default: str | None = None
    """Where the user says nothing; `None`: it must be said."""


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
    asks: tuple[Asked, ...] = ()
    """What a user of `geovlm predict` says beside the images."""
    blank: Ref[Callable[[Mapping[str, Json]], Mapping[str, Json]]] | None = None
    """What the user said, by name -> a target with stand-ins for gold, from which `prompt` writes
    the question of a training sample; answer and reasoning are thrown away. The shared names in it
    say how answers are read; `label` what a box of them shows, `question` what the sample asks in
    place of what the user said. Raises `ValueError` for a value that it cannot use. `None`:
    `geovlm predict` refuses the task. Tasks tagged `bitemporal` take two images, others one."""
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
    compute: Ref[Callable[[Sequence[Prediction]], Mapping[str, float]]] | None = None
    """All predictions of a task, at least one -> named numbers; the names are bare words such as
    `f1`. The bootstrap calls it for every resample. `None`: the metric has `counts` and `finish`,
    the other way to declare one; both ways or neither are refused."""
    counts: Ref[Callable[[Prediction], Mapping[str, float]]] | None = None
    """One prediction -> what it adds to sums over all predictions; a name that it lacks adds 0."""
    finish: Ref[Callable[[Mapping[str, Any]], Mapping[str, Any]]] | None = None
    """The sums, numpy arrays of one shape -> named numbers of that shape, NaN where undefined. The
    bootstrap of such a metric is one matrix product."""
    higher_is_better: bool = True
    version: int = 1
