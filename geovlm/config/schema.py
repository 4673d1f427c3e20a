"""The configuration of a run: every key with its default and meaning.

`geovlm.config.load` reads it from a preset, a TOML file and the command line. Relative paths start
at the working folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    JsonValue,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from geovlm.answers import ANSWER_INSTRUCTION, INSTRUCTION
from geovlm.api import BoxFrame, BoxOrder, DatasetSpec, Split, TaskSpec
from geovlm.config.answering import AnsweringConfig
from geovlm.config.health import HealthConfig, Share
from geovlm.config.options import lookup, near, nearest, parse
from geovlm.config.served import ServedConfig
from geovlm.config.stages import Parallel, Stage, Table, Text
from geovlm.config.trackers import Project, Trackers
from geovlm.errors import ConfigError

AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class TaskConfig(Table):
    """Settings of one task, or of all tasks under a prefix."""

    weight: PositiveFloat | None = None
    """Share of the rows, relative to the other tasks; default: 1, or the number of samples if no
    task has a weight."""
    options: dict[str, JsonValue] = {}
    """Options of the task, as `geovlm tasks show` lists them."""
    eval_split: Split | None = None
    """Split on which this task is evaluated; default: `eval.split`."""
    min_pixels: PositiveInt | None = None
    """Smallest area at which the model sees the images, pixels; replaces the task's own. It raises
    the model's limit and never lowers it."""


class DataConfig(Table):
    """Settings of one data set, or of all data sets under a prefix."""

    root: AbsolutePath | None = None
    """Folder of the data set."""
    options: dict[str, JsonValue] = {}
    """Options of the data set."""


class SampleConfig(Table):
    """Generated data, used if no `--data` is given."""

    records: PositiveInt = 256
    """Records per split."""
    seed: NonNegativeInt = 0
    """Seed of the data: the same seed gives the same data."""


class ProfileConfig(Table):
    """The user's word on how the model writes boxes, in place of its family's profile."""

    box_frame: BoxFrame | None = None
    """Frame of boxes: `input_pixels` (pixels of the image as the model sees it), or `norm1000`,
    `norm100`, `norm1` (shares of width and height, times that); default: the family's. Tasks with
    boxes need it where the family's is not known, see docs/models.md."""
    box_order: BoxOrder | None = None
    """Order of a box's numbers: `xyxy` (x0, y0, x1, y1) or `yxyx` (y0, x0, y1, x1); default: the
    family's."""


class LoraConfig(Table):
    """Low-rank adapters in place of full fine-tuning."""

    r: PositiveInt = 64
    """Rank."""
    alpha: PositiveFloat = 128
    """Scale of the adapters: their output is multiplied by alpha / r."""
    dropout: Share | None = None
    """Share of the adapters' inputs that is dropped in training. Default: 0.05; 0 if fused experts
    have adapters, which cannot have dropout."""
    targets: str | None = None
    """Regular expression over whole names of modules and of fused experts, or `all-linear`.
    Default: all linear layers and fused experts of the text decoder, without routers."""
    vision: bool = False
    """True if the linear layers of the vision tower have adapters too."""
    quantize: Literal["none", "nf4"] = "none"
    """Precision of the text decoder's linear layers in training: `nf4` is 4 bits (QLoRA) and needs
    the extra `qlora`."""

    @model_validator(mode="after")
    def _one_choice_of_targets(self) -> LoraConfig:
        if self.vision and self.targets is not None:
            raise ValueError("'vision' adds to the profile's targets; 'targets' names them all")
        return self


class EvalConfig(Table):
    """Evaluation before the first and after every training stage."""

    split: Split = "test"
    """Split of the tasks that have no `eval_split` of their own."""
    limit: PositiveInt | None = None
    """Largest number of samples per task, spread over the split; default: all."""
    temperature: PositiveFloat = 0.9
    """Temperature of the completions whose reward is measured; metrics come from greedy ones."""
    samples: PositiveInt = 1
    """Completions per sample whose reward is measured. GRPO optimises that reward; more completions
    measure its change between stages more precisely, and each costs as much as the greedy one."""
    batch_size: PositiveInt = 64
    """Rows per batch of generation, on each process."""
    resamples: PositiveInt = 1000
    """Number of resamples of the bootstrap: 95 % intervals and the test between stages."""
    base: bool = True
    """True if the model is also evaluated before the first stage."""
    blind: Literal["off", "majority", "last", "all"] = "last"
    """Blind baselines: `majority` needs no model; `last` adds text-only and shuffled images after
    the last stage, and multiple choice with its choices in another order; `all` after every one."""
    probes: bool = False
    """True if tasks on pairs of images are also evaluated with the pair swapped, unchanged and
    shifted, after the last stage."""
    control_limit: PositiveInt | None = 256
    """Largest number of samples per task for text-only, shuffled images, other orders of choices
    and `probes`."""


class RunConfig(Table):
    """Settings of a run."""

    preset: str | None = None
    """Name of the preset that this configuration started from."""
    model: str = "nano"
    """`nano`, a folder with `config.json`, a name on the Hugging Face hub, or, to be evaluated,
    `openai:NAME` of an endpoint, see docs/served.md."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    trust_remote_code: bool = False
    """True if code that comes with the model may run."""
    output: AbsolutePath | None = None
    """Run folder; default: runs/<tasks>."""
    seed: NonNegativeInt = 0
    """Seed of the choice and order of rows, of sampling and of the bootstrap."""
    tasks: dict[str, TaskConfig] = {}
    """Tasks, prefixes or sets of tasks, with their settings; a list of names is enough."""
    data_root: AbsolutePath | None = None
    """Folder that holds the data sets in folders of their usual names."""
    data: dict[str, DataConfig] = {}
    """Data sets, or prefixes of data sets, with a folder or options of their own."""
    data_files: list[AbsolutePath] = []
    """Descriptions of own annotations, TOML files that begin with `[dataset]`, see
    docs/your-data.md; without `tasks` these are the tasks."""
    sample: SampleConfig = SampleConfig()
    """Generated data."""
    rewards: Literal["paper", "robust"] = "paper"
    """Set of rewards that trains; the other set is logged with weight 0."""
    reward_options: dict[str, JsonValue] = {}
    """Options of the rewards: `encoder`, `lexical`, `hbb`, …"""
    instruction: Text = INSTRUCTION
    """Text appended to every question of a task with reasoning."""
    answer_instruction: Text = ANSWER_INSTRUCTION
    """Text appended to every question of a task without reasoning."""
    chat_template_kwargs: dict[str, bool | int | float | str] = {}
    """Variables of the checkpoint's chat template, in all stages and in what is exported, such as
    `add_vision_id`; `enable_thinking` is true where the template knows it."""
    min_pixels: PositiveInt | None = None
    """Smallest area of an image as the model sees it, pixels; default: the checkpoint's."""
    max_pixels: PositiveInt | None = None
    """Largest area of an image as the model sees it, pixels; default: the checkpoint's."""
    share_images: bool = True
    """True if equal images are cut into patches once and pass the vision tower once per batch:
    faster, same features. It is tried when the model is loaded; where it would change features,
    training says so and goes without. Dropout leaves out the same for all rows of an image."""
    deduplicate: Literal["off", "images", "events"] = "off"
    """Training rows that are left out: with `images` those with an image that equals or nearly
    equals one of the evaluation rows, with `events` also those of an event or scene of the
    evaluation rows."""
    profile: ProfileConfig = ProfileConfig()
    """Boxes of the model."""
    served: ServedConfig = ServedConfig()
    """Endpoint of a model `openai:NAME`."""
    answering: AnsweringConfig = AnsweringConfig()
    """Writer of the answers of evaluations, probes and predictions."""
    lora: LoraConfig | None = None
    """Low-rank adapters; default: full fine-tuning."""
    stages: list[Stage] = []
    """Stages in their order; a file's list replaces the preset's."""
    health: HealthConfig = HealthConfig()
    """Checks of GRPO's log while it trains."""
    eval: EvalConfig = EvalConfig()
    """Evaluation of the model."""
    processes: PositiveInt = 1
    """Processes per stage on the CPU of each machine."""
    gpus: PositiveInt | None = None
    """GPUs of each machine, one process each; default: one if there is a GPU, else the CPU."""
    machines: PositiveInt = 1
    """Number of machines, each with this number of `processes` or `gpus`."""
    machine_timeout_s: PositiveFloat = 180.0
    """Seconds without a heartbeat of another machine after which a run on several machines ends."""
    parallel: Parallel = "ddp"
    """Way in which the processes share the model: `ddp` (a copy each), `fsdp2`, `zero2`, `zero3`
    (in parts; GPUs only), or the path of an accelerate configuration."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the stages; `auto` takes GPUs if there are any, else the CPU."""
    timeout_s: PositiveInt = 1800
    """Seconds after which a reward that does not return, or a rank that others wait for, ends the
    run."""
    max_new_tokens: PositiveInt | None = None
    """Longest completion of any task, tokens; default: the tasks' own `max_answer_tokens`."""
    log_completions: bool = True
    """True if GRPO's completions are written to completions.jsonl."""
    track: Trackers = []
    """Trackers of experiments that receive curves, scores and samples as one tracked run, see
    docs/tracking.md."""
    track_project: Project = "geovlm"
    """Project of the tracked run; letters, digits, `.`, `_` and `-`."""

    @field_validator("tasks", mode="before")
    @classmethod
    def _names_to_tables(cls, value: Any) -> Any:
        return {name: {} for name in value} if isinstance(value, list) else value

    @field_validator("data", mode="before")
    @classmethod
    def _folders_to_tables(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: {"root": v} if isinstance(v, str | Path) else v for k, v in value.items()}

    @model_validator(mode="after")
    def _pixels_in_order(self) -> RunConfig:
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} is above max_pixels {self.max_pixels}")
        return self

    @model_validator(mode="after")
    def _one_kind_of_process(self) -> RunConfig:
        if self.gpus is not None and self.device == "cpu":
            raise ValueError("gpus cannot be given with device 'cpu'; use processes")
        return self

    @model_validator(mode="after")
    def _whole_machines(self) -> RunConfig:
        for index in range(len(self.stages)):
            size = self.world_size(index)
            if size > self.per_machine and size % self.per_machine:
                raise ValueError(
                    f"stages.{index}.processes {size} does not fill machines of "
                    f"{self.per_machine}; give a multiple of it, or at most as many"
                )
        return self

    @property
    def per_machine(self) -> int:
        """Processes on each machine of a stage that uses it."""
        return self.gpus or self.processes

    def world_size(self, index: int) -> int:
        """Return the number of processes of a stage, on all machines; -1: of the evaluation."""
        whole = self.per_machine * self.machines
        stage = self.stages[index] if index >= 0 else None
        if stage is None or stage.kind == "probe" or stage.processes is None:
            return whole
        return min(stage.processes, whole)

    def scheme(self, index: int) -> str:
        """Return the `parallel` of a stage; `ddp` for probes and evaluations."""
        stage = self.stages[index] if index >= 0 else None
        if stage is None or stage.kind == "probe":
            return "ddp"
        return stage.parallel or self.parallel

    def task_options(self, task: TaskSpec) -> Any:
        """Return an instance of the task's `options` class, or `None` if it has none.

        Raises:
            ConfigError: an unknown key or a wrong type; names the key.
        """
        return _options(task, self.tasks, table="tasks")

    def data_options(self, spec: DatasetSpec) -> Any:
        """Return an instance of the data set's `options` class, or `None` if it has none.

        Raises:
            ConfigError: an unknown key or a wrong type; names the key.
        """
        return _options(spec, self.data, table="data")

    def data_folder(self, dataset: str) -> tuple[str, Path] | None:
        """Return the folder given for a data set, after the name it is given for: own or prefix.

        `None`: none is given.
        """
        given = {name: entry.root for name, entry in self.data.items() if entry.root is not None}
        named = nearest(given, dataset)
        return (named, given[named]) if named else None

    def eval_split(self, task: str) -> Split:
        """Return the split on which a task is evaluated."""
        own: TaskConfig | None = lookup(self.tasks, task)
        return (own.eval_split if own is not None else None) or self.eval.split

    def tasks_of(self, index: int, names: Sequence[str], *, strict: bool = False) -> list[str]:
        """Return the tasks of a stage, in the order of `names`; -1: of an evaluation, all.

        Raises:
            ConfigError: the `tasks` of the stage name one that is not in `names`, and `strict`.
        """
        chosen = self.stages[index].chosen if index >= 0 else None
        if chosen is None:
            return list(names)
        for choice in self.stages[index].tasks or []:
            if strict and not any(_is_below(name, choice) for name in names):
                raise ConfigError(
                    f"stages.{index}.tasks names {choice!r}, which the run does not have",
                    hint=near(choice, names) or f"it has {', '.join(names)}",
                )
        return [name for name in names if any(_is_below(name, choice) for choice in chosen)]

    def trains(self, task: str) -> bool:
        """Return True if a stage reads the task's training split."""
        return any(self.tasks_of(index, [task]) for index in range(len(self.stages)))

    def stage_folders(self) -> list[str]:
        """Return the folder name of every stage, such as `0-sft`."""
        return [f"{index}-{stage.kind}" for index, stage in enumerate(self.stages)]

    def evaluation_name(self, index: int) -> str:
        """Return the name of a stage's model in scores: `sft`, `grpo`, a second one `sft-2`, …"""
        kind = self.stages[index].kind
        number = sum(stage.kind == kind for stage in self.stages[: index + 1])
        return kind if number == 1 else f"{kind}-{number}"


def _options(
    spec: TaskSpec | DatasetSpec, entries: Mapping[str, TaskConfig | DataConfig], *, table: str
) -> Any:
    own = lookup(entries, spec.name)
    given = own.options if own is not None else {}
    path = f"{table}.{spec.name}.options"
    return parse(spec.options, given, path=path, exact=spec.name in entries)


def _is_below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}/")
