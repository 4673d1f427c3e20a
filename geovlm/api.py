"""Holds the contract: every type that a plugin touches. Standard library only.

Coordinate frames. A box is `[x0, y0, x1, y1]` in pixels of the stored image, x to the right, y
down, half-open; a fifth number is the angle in degrees of a rotated box (see `geovlm.boxes`). With
several images the boxes refer to the last (newest) one. Sizes are `(width, height)` in pixels.

References. Wherever a field is a `Ref`, the object itself or a string `"module:attribute"` will do;
strings are imported on first use, so that importing a plugin costs next to nothing.

Errors. A spec with a field of a wrong type, or with a value that a field's docstring does not
allow, makes its plugin broken: `geovlm plugins doctor NAME` prints the field and the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

__all__ = [
    "Asked",
    "BoxFrame",
    "BoxOrder",
    "DatasetSpec",
    "Json",
    "LoadContext",
    "MetricSpec",
    "ModelProfile",
    "Prediction",
    "PromptContext",
    "Raster",
    "Reasoning",
    "Ref",
    "RewardContext",
    "RewardSpec",
    "Sample",
    "SetEntry",
    "Size",
    "Split",
    "StageInfo",
    "TaskSetSpec",
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
BoxOrder: TypeAlias = Literal["xyxy", "yxyx"]
Reasoning: TypeAlias = Literal["think", "none"]
"""Form of an answer: `think` is `<think> … </think><answer> … </answer>`, `none` the answer block
alone."""


def options(cls: type[T]) -> type[T]:
    """Make a class of defaults the options of a data set or task.

    The result is a frozen, keyword-only dataclass whose unknown keys and wrong types are refused
    at configuration time, with the path of the key. Every field needs a default and should have a
    docstring.
    """
    made = dataclass(frozen=True, kw_only=True)(cls)
    made.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
    return made


@dataclass(frozen=True, kw_only=True, slots=True)
class Raster:
    """An image made of named bands: one file per band, or several bands of one file.

    `bands` chooses the three that are shown. In place of a band it may name an index, computed from
    bands with the names of Sentinel-2 or of colours: `NDVI` = (B08 - B04) / (B08 + B04), `NDWI` =
    (B03 - B08) / (B03 + B08), or `nir`, `red` and `green`. An index in all three places is grey.
    A band or file that is missing is a `DataError` when the image is opened.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    """Band name -> file that holds it. Default: none, all bands come from `file`."""
    bands: tuple[str, str, str]
    """Names of the bands or indices shown as red, green and blue; the first sets the size."""
    low: float = 0.0
    """Stored value shown as 0; with `scaling="percentile"` the percentile, 0 to 100."""
    high: float = 0.0
    """Stored value or percentile shown as 255. It must be above `low`, unless all `bands` are
    indices or in `ranges`."""
    band_index: Mapping[str, int] = field(default_factory=dict)
    """Band name -> 1-based index in its file. A band that is not listed is found by its description
    or colour; in a file of `files` with one band it is that band."""
    nodata: float | None = None
    """Stored value shown as black. `None`: the value that the file declares. Masks, alpha and NaN
    are black in both cases."""
    file: Path | None = None
    """File of every band that `files` does not name. Its bands are chosen by `band_index`, else by
    the names that the file gives them."""
    scaling: Literal["range", "percentile"] = "range"
    """Meaning of `low` and `high`: stored values, or percentiles of the band's valid pixels in the
    whole image. Percentiles are linearly interpolated, over at most 1024 x 1024 evenly spread
    pixels."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Band or index -> (value shown as 0, value shown as 255), instead of `low` and `high`. An
    index that is not listed has (-1, 1)."""
    reflectance: float | None = None
    """Scale of reflectance: stored value of 1.0 minus that of 0.0 (10000 for Sentinel-2). `None` if
    the values are not reflectances. `geovlm.raster.checks` compares it with the pixels."""
    offset: float = 0.0
    """Stored value of reflectance 0: 1000 for Sentinel-2 products since January 2022. It is
    subtracted before an index is computed; `low`, `high` and `ranges` remain stored values."""
    window: tuple[int, int, int, int] | None = None
    """Part that is the image: column, row, width and height in pixels of the first band, wholly
    inside it. Boxes then refer to this part. Only its blocks are read; percentiles remain those of
    the whole band. `None`: the whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One labelled observation, independent of any model."""

    id: str
    """Identifier, unique over all splits of the data set and stable across its versions."""
    images: tuple[Path | Raster, ...]
    """One image or more; a time series is ordered oldest first."""
    target: Mapping[str, Json]
    """The annotation, JSON values by name. Built-in rewards, metrics, protocols and the audit read
    the names below; a plugin adds others for its own code.

    - `answer`: text; the correct answer of a closed or short question.
    - `type`: text; the kind of question, such as `count`. Scores are split by it; the audit counts
      the most frequent answer of each kind.
    - `labels`: list of texts; the true labels. Empty: none applies.
    - `vocabulary`: list of texts; all labels or answers that are possible. Default: the labels.
    - `choices`: list of texts; the choices of a question, with letters from A on. The `answer` is
      the letter of the right one, or the letters of all right ones with blanks between (`A C`). The
      task's `prompt` lists them from here: evaluation also asks with the choices in another order.
    - `phrasings`: whole number; of how many phrasings of one question this is one. Its answer has
      1 / `phrasings` of the weight of a question. Default: 1.
    - `hundredths`: box (x0, y0, x1, y1) in whole hundredths of width and height, as VRSBench states
      the true one.
    - `unique`: true if no other object of the image is of the class of the one asked for.
    - `boxes`: list of boxes in pixels of the stored last image, 4 or 5 numbers each. Empty: no
      object is there.
    - `box_labels`: list of texts; the label of each box, an entry of the `vocabulary`. Answers then
      name it, as `geovlm.boxes.write_labelled` does.
    - `label`: text; the label of all boxes, where there are no `box_labels`.
    - `captions`: list of texts; the reference captions. A score takes the nearest one.
    - `changed`: true or false; whether the last image shows a change. Scores of captions of changes
      are given for changed and for unchanged samples.
    - `text`: text; the only reference, where there are no `captions`. Boxes in it are left out.
    - `facts`: name -> text; what a caption must state. Rewards then ask for these facts instead of
      the words of the references.
    - `fact_vocabularies`: name -> list of texts; all values that the fact can have. Naming another
      one contradicts the fact.

    What must be there depends on the rewards and metrics of the task; without `captions`, `text`
    and `answer` a text reward is 0."""
    question: str = ""
    """The question, where the data set supplies one (VQA). Default: none, the task asks its own."""
    meta: Mapping[str, Json] = field(default_factory=dict)
    """`gsd_m`, `sensor`, `crs`, `event`, `licence` and others, JSON values; never read by a reward.
    The bootstrap resamples whole events if all samples name one and there are enough of them."""
    image_sizes: tuple[Size, ...] = ()
    """Sizes of the stored images in pixels, where the definition of the data set fixes them: then
    no file is opened to learn them. Default: empty, they are read from the files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One exchange: the user's question and the perfect response of a model."""

    question: str
    """Text of the user, without image tokens and chat markup."""
    answer: str
    """Text between `<answer>` and `</answer>`. The tags themselves are refused."""
    reasoning: str = ""
    """Text between `<think>` and `</think>`. It states only what the annotation holds. Empty where
    the task's `reasoning` is `none`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelProfile:
    """Facts about a model family: its frame of boxes, its image sizes, its modules."""

    name: str
    """Name of the family, such as `qwen2.5-vl`."""
    model_types: tuple[str, ...]
    """Values of `model_type` in `config.json` that this profile serves."""
    box_frame: BoxFrame | None
    """Frame in which the model writes boxes. `input_pixels`: pixels of the image after the
    processor's resize; `norm1000`, `norm100`, `norm1`: shares of width and height, times that.
    `None`: not known; a run whose tasks write or read boxes then stops and asks for it."""
    box_order: BoxOrder = "xyxy"
    """Order of a box's numbers: `xyxy` is x0, y0, x1, y1; `yxyx` is y0, x0, y1, x1."""
    box_angle: bool = False
    """True if boxes carry a fifth number, the angle in degrees."""
    size_factor: int = 28
    """Pixels; sides after the resize are multiples of it (patch size x merge size)."""
    cell_tokens: int = 1
    """Tokens that the model makes of `size_factor` x `size_factor` pixels."""
    min_pixels: int = 3136
    """Smallest area after the resize, pixels."""
    max_pixels: int = 12845056
    """Largest area after the resize, pixels."""
    limit_frames: int = 1
    """Frames that the limits of the checkpoint's processor count: 2 if its `longest_edge` is the
    area of two frames of a video, as for GLM. `min_pixels` and `max_pixels` are of one image."""
    resize: Literal["multiples", "processor"] = "multiples"
    """Resize of an image. `multiples`: by GeoVLM, to the sides that `size_factor`, `min_pixels` and
    `max_pixels` give, and the processor leaves it as it is. `processor`: by the processor, which
    gets the stored picture, and resizes it or cuts it into tiles."""
    image_tokens: Callable[[Sequence[Size]], int] | None = field(
        default=None, compare=False, repr=False
    )
    """Returns how many tokens the model makes of the images of one prompt, which the processor gets
    at these sizes. GeoVLM sets it where `resize` is `processor` and the checkpoint's processor is
    at hand. `None`: `size_factor` and `cell_tokens` decide."""
    seen_size: Callable[[Size], Size] | None = field(default=None, compare=False, repr=False)
    """Returns the size at which the model sees an image, which the processor gets at this size. Of
    an image in tiles it is the size of all tiles together. Set as `image_tokens`. `None`: the
    image is seen as the processor gets it."""
    lora_targets: str | None = None
    """Regular expression over module names (`target_modules` of peft), or `all-linear`. Default:
    the linear layers and fused experts of the text decoder, found in the model."""
    vision_module: str | None = None
    """Dotted name of the vision tower inside the model. Default: the module that has the model's
    `vision_config`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadContext:
    """Arguments of a data set's `load` and `official`."""

    root: Path
    """Folder of the data set."""
    split: Split
    """One of the spec's `splits`."""
    limit: int | None = None
    """Largest number of samples to yield, the first ones. `None`: all."""
    options: Any = None
    """An instance of the spec's `options` class, or `None` if it has none."""
    skip: Callable[[str, str], None] = lambda reason, item: None
    """Called by `load` as `skip(reason, item)` for every record that it leaves out; reasons are
    counted and shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptContext:
    """The second argument of a task's `prompt`: model family, sizes, options."""

    profile: ModelProfile
    """The model family; `geovlm.boxes.write` writes boxes in its frame."""
    image_sizes: tuple[Size, ...]
    """Sizes of the stored images in pixels, in the order of `Sample.images`."""
    input_sizes: tuple[Size, ...]
    """Sizes of the same images as the model sees them, after the processor's resize."""
    options: Any = None
    """An instance of the task's `options` class, or `None` if it has none."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, weakref_slot=True)
class RewardContext:
    """The second argument of a reward: target, sizes, model family; compared by identity."""

    task: str
    """Name of the task."""
    sample_id: str
    """`Sample.id`."""
    question: str
    """The question of the turn."""
    answer: str
    """The correct answer of the turn, boxes in the model's frame."""
    target: Mapping[str, Json]
    """`Sample.target`, boxes in stored pixels. A reward must not change it."""
    image_sizes: tuple[Size, ...]
    """Sizes of the stored images in pixels."""
    input_sizes: tuple[Size, ...]
    """Sizes of the same images as the model sees them."""
    profile: ModelProfile
    """The model family; `geovlm.boxes.parse` reads boxes in its frame."""
    progress: float = 0.0
    """Share of the stage that is done, 0 to 1; 0 outside of training."""
    options: Mapping[str, Json] = field(default_factory=dict)
    """The run's `[reward_options]`: `encoder`, `lexical`, `hbb`."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, weakref_slot=True)
class Prediction:
    """One completion to be scored, as metrics receive it; compared by identity."""

    task: str
    """Name of the task."""
    sample_id: str
    """`Sample.id`."""
    question: str
    """The question of the turn."""
    completion: str
    """The raw decoded text of the model, tags included; `geovlm.answers` reads it."""
    answer: str
    """The correct answer of the turn, boxes in the model's frame."""
    target: Mapping[str, Json]
    """`Sample.target`, boxes in stored pixels. A metric must not change it."""
    image_sizes: tuple[Size, ...]
    """Sizes of the stored images in pixels."""
    input_sizes: tuple[Size, ...]
    """Sizes of the same images as the model sees them."""
    profile: ModelProfile
    """The model family; `geovlm.boxes.parse` reads boxes in its frame."""
    meta: Mapping[str, Json] = field(default_factory=dict)
    """`Sample.meta`."""
    reasoning: Reasoning = "think"
    """`TaskSpec.reasoning`: what a well-formed completion of the task holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageInfo:
    """The stage for which `geovlm_callbacks` is called."""

    index: int
    """Number of the stage in the run, from 0."""
    kind: Literal["sft", "grpo"]
    """Kind of training."""
    tasks: tuple[str, ...]
    """Names of the tasks that the stage trains."""
    output: Path
    """Folder of the stage inside the run folder."""
    is_main_process: bool
    """True in the process of rank 0, which alone should write files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSpec:
    """A data set in its official on-disk layout."""

    name: str
    """`<plugin>` or `<plugin>/<part>`."""
    summary: str
    """One line: what the images show and how they are labelled."""
    splits: tuple[Split, ...]
    """Splits that `load` can read; at least one."""
    load: Ref[Callable[[LoadContext], Iterable[Sample]]]
    """Yields the samples of `ctx.split` in a deterministic order. Raises `DatasetNotFoundError` if
    a folder or file is missing, `DataError` if one cannot be read."""
    folders: tuple[str, ...]
    """Folder names under a common data root in which the data set is searched, best first; at least
    one."""
    licence: str
    """Licence of the data, as an SPDX identifier or in words; shown by `geovlm tasks show` and in
    model cards."""
    homepage: str
    """URL where the data can be obtained or are described."""
    citation: str
    """Publication to cite: authors, title or venue, year, DOI or arXiv number."""
    make_sample: Ref[Callable[[Path, int, int], None]] | None = None
    """`(root, n, seed)`: writes n generated records per split into `root`, in the official layout.
    The same seed must write the same bytes. `None`: there are no generated data; where they would
    be used, real ones must be given by `--data` or `root`, and the kit reads a few of those."""
    root: Path | None = None
    """Folder of the data set, where it is known, as for annotations that a file describes. `None`:
    the user gives it."""
    size_gb: float | None = None
    """Size of the official release on disk, in GB (1e9 bytes). `None`: not known."""
    official: Ref[Callable[[LoadContext], int | None]] | None = None
    """Number of records of `ctx.split` in the official release under these options; it returns
    `None` where that is not published. `geovlm data check` prints `300 of 57,223` with it.
    `None`: the check prints the number of records alone."""
    options: type | None = None
    """A class made with `@options`. `None`: the data set has no options."""
    version: int = 1
    """Raise it when `load` yields, or `make_sample` writes, other records than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """An input that a user of `geovlm predict` gives in addition to the images."""

    name: str
    """`question` (given by `--question`), `boxes` (by `--box`, pixels of the image) or a key of the
    task's target (by `--ask KEY=VALUE`)."""
    summary: str
    """Description of the input, as error messages print it."""
    choices: tuple[str, ...] = ()
    """The only values that are accepted. Empty: any text."""
    default: str | None = None
    """Value if the user gives none. `None`: the user must give one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSpec:
    """A question over a data set, with its rewards and metrics."""

    name: str
    """`<plugin>` or `<plugin>/<task>`."""
    summary: str
    """One line: the question and the form of the answer."""
    dataset: str
    """Name of a `DatasetSpec`, of this plugin or another. A name that nobody provides makes the
    task unusable; `geovlm tasks list` shows the reason."""
    prompt: Ref[Callable[[Sample, PromptContext], Turn]]
    """Writes question, correct answer and reasoning of a sample; boxes with `geovlm.boxes.write`.
    It must be deterministic."""
    rewards: Mapping[str, Mapping[str, float]]
    """`{"paper": {reward: weight}, "robust": {reward: weight}}`, both sets: accuracy rewards only,
    since the format rewards are added to every task. A run trains on the weighted sum of one
    set."""
    metrics: tuple[str, ...]
    """Names of `MetricSpec`s; at least one."""
    primary_metric: str
    """Name of a number that the metrics return, 0 to 1; it represents the task in tables, means and
    the verdict of a run."""
    samples: Ref[Callable[[Sample], Iterable[Sample]]] | None = None
    """Makes the task's samples of one record: none, one or several, with ids of their own. `None`:
    the record is the sample."""
    protocol: str = ""
    """Name of the published scoring protocol that fits, as `geovlm score` takes it. Empty: none."""
    reasoning: Reasoning = "think"
    """`think`: questions ask for reasoning and answer. `none`: for the answer alone; `prompt` then
    writes no reasoning, and the format reward is that of the answer block, with the weight of
    both."""
    max_answer_tokens: int = 256
    """Longest completion in tokens, reasoning and tags included."""
    min_pixels: int = 0
    """Smallest area in pixels at which the model should see an image; it raises that of the
    profile. 0: the profile's own."""
    unchanged: str = ""
    """With two images: the answer where nothing changed between them, such as `no` or `none`.
    Empty: evaluation does not probe whether the model compares the images."""
    asks: tuple[Asked, ...] = ()
    """Inputs that `geovlm predict` takes in addition to the images. Default: none."""
    blank: Ref[Callable[[Mapping[str, Json]], Mapping[str, Json]]] | None = None
    """Builds a target without the correct answer, so that `geovlm predict` can ask this task about
    new images. Takes the user's inputs by name (see `asks`); fields of the correct answer hold
    placeholders. `prompt` turns it into the training question; its answer and reasoning are
    discarded. The names in the target decide how completions are read: `boxes`, or `labels` with
    `vocabulary`, else text. `label` names what a predicted box shows; with `box_labels` the answer
    does, by an entry of `vocabulary`. `question` becomes the sample's question. It raises
    `ValueError` for an input that it cannot use. `None`: `geovlm predict` refuses the task. Tasks
    with the tag `bitemporal` take two images, others one."""
    tags: frozenset[str] = frozenset()
    """Words by which tasks are described, such as `bitemporal` (two images) or `vqa`."""
    options: type | None = None
    """A class made with `@options`. `None`: the task has no options."""
    version: int = 1
    """Raise it when scores stop being comparable: other questions, targets or metrics."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetEntry:
    """One benchmark of a set of tasks, and how it is asked here."""

    benchmark: str
    """Name of the benchmark, as its publication prints it; unique in the set."""
    task: str
    """Name of the task that asks it. Where no plugin provides it, the entry is left out, with the
    reason."""
    data_options: Mapping[str, Json] = field(default_factory=dict)
    """Options of the task's data set that make it the benchmark's, such as the choice of a split.
    Options that the user gives count instead. All entries of one data set need the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSetSpec:
    """A named set of tasks, such as the benchmarks of a paper: `--tasks NAME` chooses all of them.

    Tasks of the set whose data are not given are left out, each by name.
    """

    name: str
    """`<plugin>` or `<plugin>/<set>`. A task or prefix of tasks of the same name is chosen
    instead."""
    summary: str
    """One line: where the set comes from."""
    entries: Ref[Callable[[], Iterable[SetEntry]]]
    """Returns the entries, at least one, in the order in which tables list them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardSpec:
    """A reward: one number per completion, or `None` where it does not apply."""

    name: str
    """`<plugin>` or `<plugin>/<reward>`."""
    summary: str
    """One line: what earns the reward."""
    score: Ref[Callable[..., Any]]
    """`(completion: str, ctx: RewardContext) -> float | None`; if `batched`,
    `(completions: Sequence[str], contexts: Sequence[RewardContext]) -> Sequence[float | None]`, in
    the order of the completions. The completion is raw text, tags included. Values lie in `[low,
    high]`. `None` means that the reward does not apply to the sample: it is left out of the sum.
    Text that cannot be parsed is worth `low`, not `None`. An exception, or a value that is not
    finite or out of range, is a `RewardError` and ends the run."""
    low: float = 0.0
    """Smallest value; below `high`."""
    high: float = 1.0
    """Largest value."""
    gold_is_max: bool = True
    """True if the correct answer earns `high`; the conformance kit then checks it."""
    batched: bool = False
    """True if `score` takes all completions of a batch in one call."""
    formula: str = ""
    """The formula as people read it, printed by `geovlm rewards list`."""
    source: str = ""
    """Paper, equation or code that it follows."""
    version: int = 1
    """Raise it when the same completion earns another value than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSpec:
    """A corpus metric: all predictions of a task in, named numbers out.

    It has `compute`, or `counts` and `finish`; both ways or neither are refused. The numbers may
    have any range; a task's primary metric is between 0 and 1, and on correct answers 1, or 0 if a
    smaller number is better.
    """

    name: str
    """`<plugin>` or `<plugin>/<metric>`."""
    summary: str
    """One line: what is measured."""
    compute: Ref[Callable[[Sequence[Prediction]], Mapping[str, float]]] | None = None
    """All predictions of a task, at least one -> named numbers; the names are bare words such as
    `f1`. The bootstrap calls it for every resample. `None`: the metric has `counts`."""
    counts: Ref[Callable[[Prediction], Mapping[str, float]]] | None = None
    """One prediction -> what it adds to sums over all predictions; a name that it lacks adds 0."""
    finish: Ref[Callable[[Mapping[str, Any]], Mapping[str, Any]]] | None = None
    """The sums, numpy arrays of one shape -> named numbers of that shape, NaN where undefined. The
    bootstrap of such a metric is one matrix product."""
    higher_is_better: bool = True
    """True if a larger number is better. Tables and verdict of a run honour it for the primary
    metric of a task."""
    version: int = 1
    """Raise it when the same predictions score differently than before."""
