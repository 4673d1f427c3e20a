"""The configuration of a run: every field, its default and what it does.

`geovlm.config.load` reads it from a preset, a TOML file and the command line. Paths are relative to
the working folder.
"""

from __future__ import annotations

from collections.abc import Sequence
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

from geovlm.answers import INSTRUCTION
from geovlm.api import DatasetSpec, Split, TaskSpec
from geovlm.config.health import HealthConfig, Share
from geovlm.config.options import lookup, near, parse
from geovlm.config.stages import Parallel, Stage, Table
from geovlm.errors import ConfigError

AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class TaskConfig(Table):
    """One task, or all tasks under a prefix."""

    weight: PositiveFloat | None = None
    """Share of the rows, relative to the other tasks; default: 1, or the number of samples where no
    task has a weight."""
    options: dict[str, JsonValue] = {}
    """Options of the task, as `geovlm tasks show` lists them."""
    eval_split: Split | None = None
    """Split on which this task is evaluated; default: `eval.split`."""
    min_pixels: PositiveInt | None = None
    """Smallest area at which the model sees the images, in place of the task's own; like that one
    it raises the model's limit and never lowers it."""


class DataConfig(Table):
    """One data set, or all data sets under a prefix."""

    root: AbsolutePath | None = None
    """Its folder."""
    options: dict[str, JsonValue] = {}
    """Options of the data set."""


class SampleConfig(Table):
    """Data generated where no `--data` is given."""

    records: PositiveInt = 256
    """Records per split."""
    seed: NonNegativeInt = 0
    """Same seed, same data."""


class LoraConfig(Table):
    """Low-rank adapters in place of full fine-tuning."""

    r: PositiveInt = 64
    """Rank."""
    alpha: PositiveFloat = 128
    """Scale of the update, which is multiplied by alpha / r."""
    dropout: Share = 0.05
    """Share of the adapters' inputs that is dropped in training."""
    targets: str | None = None
    """Regular expression over module names; default: the model profile's."""
    vision: bool = False
    """Whether the linear layers of the vision tower have adapters too."""
    quantize: Literal["none", "nf4"] = "none"
    """Whether training reads the text decoder's linear layers in 4 bits (QLoRA); needs the extra
    `qlora`."""

    @model_validator(mode="after")
    def _one_choice_of_targets(self) -> LoraConfig:
        if self.vision and self.targets is not None:
            raise ValueError("'vision' adds to the profile's targets; 'targets' names them all")
        return self


class EvalConfig(Table):
    """Evaluation before the first and after every training stage."""

    split: Split = "test"
    """Where no task says otherwise by its `eval_split`."""
    limit: PositiveInt | None = None
    """At most so many samples per task, spread over the split."""
    temperature: PositiveFloat = 0.9
    """Of the sampled reward; the metrics are of greedy answers."""
    batch_size: PositiveInt = 64
    """Rows per batch of generation, on each process."""
    resamples: PositiveInt = 1000
    """Of the bootstrap behind the 95 % intervals, and of the test between stages."""
    base: bool = True
    """Whether the model is also evaluated before the first stage."""
    blind: Literal["off", "majority", "last", "all"] = "last"
    """Baselines that do not see: `majority` needs no model; `last` adds text-only and shuffled
    images after the last stage, `all` after every stage."""
    probes: bool = False
    """Whether pairs of images are also asked about swapped, unchanged and shifted, after the last
    stage."""
    control_limit: PositiveInt | None = 256
    """At most so many samples per task of text-only, shuffled images and probes."""


class RunConfig(Table):
    """All that decides what a run does."""

    preset: str | None = None
    """Name of the preset that this configuration started from."""
    model: str = "nano"
    """`nano`, a folder with `config.json`, or a name on the Hugging Face hub."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    trust_remote_code: bool = False
    """Whether code that comes with the model may run."""
    output: AbsolutePath | None = None
    """The run directory; default: runs/<tasks>."""
    seed: NonNegativeInt = 0
    """Of the choice and order of rows, of sampling and of the bootstrap."""
    tasks: dict[str, TaskConfig] = {}
    """Tasks or prefixes of tasks; a list of names will do."""
    data_root: AbsolutePath | None = None
    """Folder that holds the data sets in folders of their usual names."""
    data: dict[str, DataConfig] = {}
    """Data sets, or prefixes of data sets, that lie elsewhere or take options."""
    sample: SampleConfig = SampleConfig()
    """The generated data."""
    rewards: Literal["paper", "robust"] = "paper"
    """The set of rewards that trains; the other one is logged with weight 0."""
    reward_options: dict[str, JsonValue] = {}
    """Options of the rewards: `encoder`, `lexical`, `hbb`, …"""
    instruction: str = INSTRUCTION
    """Appended to every question."""
    min_pixels: PositiveInt | None = None
    """Smallest image area that the model sees; default: the checkpoint's."""
    max_pixels: PositiveInt | None = None
    """Largest image area that the model sees; default: the checkpoint's."""
    share_images: bool = True
    """Whether equal images are made into patches once and pass the vision tower once per batch:
    same features, sooner. Families that do not tell an image's size in patches take the ordinary
    way."""
    deduplicate: Literal["off", "images", "events"] = "off"
    """Training rows that are left out: those with an image that nearly equals one of the evaluation
    rows, or (`events`) also those of an event or scene of the evaluation rows."""
    lora: LoraConfig | None = None
    """Adapters; default: full fine-tuning."""
    stages: list[Stage] = []
    """What is trained, in order; a file's list replaces the preset's."""
    health: HealthConfig = HealthConfig()
    """What is watched while GRPO trains."""
    eval: EvalConfig = EvalConfig()
    """How the model is scored."""
    processes: PositiveInt = 1
    """Processes per stage on the CPU of each machine."""
    gpus: PositiveInt | None = None
    """GPUs of each machine, one process each; default: one if there is any, else the CPU."""
    machines: PositiveInt = 1
    """Machines, each with so many `processes` or `gpus`."""
    machine_timeout_s: PositiveFloat = 180.0
    """Seconds without a sign of life of another machine after which a run on several ends."""
    parallel: Parallel = "ddp"
    """How the processes share the model: `ddp` (a copy each), `fsdp2`, `zero2`, `zero3` (in parts;
    GPUs only), or the path of an accelerate configuration."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: GPUs if there are any, else the CPU."""
    timeout_s: PositiveInt = 1800
    """Seconds after which a reward that does not return, or a rank that others wait for, ends the
    run."""
    max_new_tokens: PositiveInt | None = None
    """Longest completion anywhere; default: the tasks' own `max_answer_tokens`."""
    log_completions: bool = True
    """Whether GRPO's completions are written to completions.jsonl."""

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
        """Processes on each machine, of a stage that uses it."""
        return self.gpus or self.processes

    def world_size(self, index: int) -> int:
        """Return the number of processes of a stage; of an evaluation for -1."""
        whole = self.per_machine * self.machines
        stage = self.stages[index] if index >= 0 else None
        if stage is None or stage.kind == "probe" or stage.processes is None:
            return whole
        return min(stage.processes, whole)

    def scheme(self, index: int) -> str:
        """Return the `parallel` of a stage; probes and evaluations only generate: `ddp`."""
        stage = self.stages[index] if index >= 0 else None
        if stage is None or stage.kind == "probe":
            return "ddp"
        return stage.parallel or self.parallel

    def task_options(self, task: TaskSpec) -> Any:
        """Return an instance of the task's `options` class, or `None` if it has none.

        Raises:
            ConfigError: an unknown key or a wrong type; names the key.
        """
        own = lookup(self.tasks, task.name)
        return parse(
            task.options,
            own.options if own is not None else {},
            path=f"tasks.{task.name}.options",
            exact=task.name in self.tasks,
        )

    def data_options(self, spec: DatasetSpec) -> Any:
        """Return an instance of the data set's `options` class, or `None` if it has none.

        Raises:
            ConfigError: an unknown key or a wrong type; names the key.
        """
        own = lookup(self.data, spec.name)
        return parse(
            spec.options,
            own.options if own is not None else {},
            path=f"data.{spec.name}.options",
            exact=spec.name in self.data,
        )

    def eval_split(self, task: str) -> Split:
        """Return the split on which a task is evaluated."""
        own: TaskConfig | None = lookup(self.tasks, task)
        return (own.eval_split if own is not None else None) or self.eval.split

    def tasks_of(self, index: int, names: Sequence[str], *, strict: bool = True) -> list[str]:
        """Return the tasks of a stage, in the order of `names`.

        Args:
            index: position of the stage; -1 for an evaluation, which has all tasks.
            names: tasks of the run.
            strict: refuse a stage that names other tasks.

        Raises:
            ConfigError: the stage names a task that the run does not have, and `strict`.
        """
        chosen = self.stages[index].tasks if index >= 0 else None
        if chosen is None:
            return list(names)
        for choice in chosen:
            if strict and not any(_is_below(name, choice) for name in names):
                raise ConfigError(
                    f"stages.{index}.tasks names {choice!r}, which the run does not have",
                    hint=near(choice, names) or f"it has {', '.join(names)}",
                )
        return [name for name in names if any(_is_below(name, choice) for choice in chosen)]

    def stage_folders(self) -> list[str]:
        """Return the folder name of every stage, such as `0-sft`."""
        return [f"{index}-{stage.kind}" for index, stage in enumerate(self.stages)]

    def evaluation_name(self, index: int) -> str:
        """Return under which name a stage's model is scored: `sft`, `grpo`, and then `sft-2`, …"""
        kind = self.stages[index].kind
        number = sum(stage.kind == kind for stage in self.stages[: index + 1])
        return kind if number == 1 else f"{kind}-{number}"


def _is_below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}/")
