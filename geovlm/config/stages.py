"""Tables of the stages of a run: SFT, probe and GRPO.

A stage is an entry of the list `stages`; its `kind` chooses the table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from geovlm.answers import defect
from geovlm.config.health import Share
from geovlm.config.options import nearest


def _sound(text: str) -> str:
    why = defect(text)
    if why is not None:
        raise ValueError(f"it holds {why}")
    return text


Text = Annotated[str, AfterValidator(_sound)]
"""Text that a model reads."""
Generation = Literal["transformers", "vllm-colocate", "vllm-server"]
SCHEMES = ("ddp", "fsdp2", "zero2", "zero3")
"""Values of `parallel`, in addition to the path of an accelerate configuration."""
TRL_DEFAULTS: Mapping[str, Any] = {
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "gradient_checkpointing": True,
    "optim": "adamw_torch_fused",
    "label_smoothing_factor": 0.0,
    "beta": 0.0,
    "vllm_gpu_memory_utilization": 0.3,
    "ds3_gather_for_generation": True,
}
"""Defaults of trl.SFTConfig and trl.GRPOConfig 1.16, of the arguments that a plan reads."""
_OWNED = {
    "output_dir": "the run folder has a place for it: 'output'",
    "seed": "it is the run's: 'seed'",
    "max_steps": "it is the stage's: 'steps'",
    "num_train_epochs": "it is the stage's: 'epochs'",
    "max_length": "a prompt is never cut; rows that do not fit are refused before training",
    "remove_unused_columns": "images are opened from columns that the trainer would drop",
    "reward_weights": "they are the tasks': choose with 'rewards'",
    "shuffle_dataset": "the mixture and the probe order the rows",
    "save_strategy": "resuming needs the checkpoints; 'save_steps' says how often",
    "resume_from_checkpoint": "it is an option of the command line: --resume",
    "use_cpu": "it is the run's: 'device'",
    "ddp_timeout": "it is the run's: 'timeout_s'",
    "report_to": "it is the run's: 'track', one tracked run for all stages",
    "run_name": "a tracked run has the name of the run folder, see 'track'",
    "project": "it is the run's: 'track_project'",
    "trackio_space_id": "set the environment variable TRACKIO_SPACE_ID, see 'track'",
    "eval_strategy": "the run evaluates after every stage: [eval]",
    "use_vllm": "it is the stage's: 'generation'",
    "vllm_mode": "it is the stage's: 'generation'",
    "vllm_server_base_url": "it is the stage's: 'vllm.url'",
    "vllm_server_host": "it is the stage's: 'vllm.url'",
    "vllm_server_port": "it is the stage's: 'vllm.port'",
    "vllm_gpu_memory_utilization": "it is the stage's: 'vllm.memory'",
    "vllm_max_model_length": "it is the stage's: 'vllm.max_model_len'",
    "use_transformers_continuous_batching": "TRL refuses it for models with images",
    "use_transformers_paged": "TRL refuses it for models with images",
    "fsdp": "it is the stage's: 'parallel'",
    "fsdp_config": "it is the stage's: 'parallel'",
    "deepspeed": "it is the stage's: 'parallel'",
}
"""Trainer arguments that the engine sets itself -> the key to set instead, or the reason."""


def _scheme(value: str) -> str:
    if value in SCHEMES or value.endswith((".yaml", ".yml")):
        return value
    raise ValueError(
        f"{value!r} is not one of {', '.join(SCHEMES)}, nor a .yaml file of accelerate"
    )


Parallel = Annotated[str, AfterValidator(_scheme)]


class Table(BaseModel):
    """A table of the configuration: unknown keys are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class _Training(Table):
    """Keys of SFT and GRPO."""

    steps: PositiveInt | None = None
    """Optimiser steps; either this or `epochs`."""
    epochs: PositiveFloat | None = None
    """Passes over the rows; either this or `steps`."""
    limit: PositiveInt | None = None
    """Largest number of samples per task, drawn with the seed; default: all."""
    tasks: list[str] | None = None
    """Tasks or prefixes of tasks; default: those of `weights`, or all of the run without it."""
    weights: dict[str, PositiveFloat] = {}
    """Shares of rows in this stage, in place of the tasks' own: a task or prefix and its weight.
    The tasks of a prefix share its weight by their numbers of samples. Tasks without data are left
    out, and the others keep their ratios."""
    processes: PositiveInt | None = None
    """Largest number of the run's processes that the stage uses; default: all."""
    freeze_vision: bool = False
    """True if the vision tower keeps its weights; `lora.targets` then leave it out."""
    parallel: Parallel | None = None
    """Way in which the processes share the model; default: the run's `parallel`."""
    trainer: dict[str, Any] = {}
    """Arguments of TRL's trainer, passed on unchanged."""

    @property
    def chosen(self) -> list[str] | None:
        """The tasks or prefixes that the stage names; `None`: all of the run."""
        return self.tasks if self.tasks is not None else list(self.weights) or None

    @model_validator(mode="after")
    def _all_weighted(self) -> _Training:
        for name in self.tasks or [] if self.weights else []:
            if not nearest(self.weights, name):
                raise ValueError(f"'tasks' names {name!r}, and 'weights' does not")
        return self

    @model_validator(mode="after")
    def _one_length(self) -> _Training:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("needs either 'steps' or 'epochs'")
        return self

    @field_validator("trainer")
    @classmethod
    def _not_owned(cls, trainer: dict[str, Any]) -> dict[str, Any]:
        refused = [f"{key!r} cannot be set here, {_OWNED[key]}" for key in trainer if key in _OWNED]
        if refused:
            raise ValueError("; ".join(refused))
        return trainer

    def trainer_arguments(self) -> dict[str, Any]:
        """Return `trainer` with TRL's defaults of the arguments that a plan reads."""
        return {**TRL_DEFAULTS, **self.trainer}

    def n_steps(self, *, rows: int, per_step: float) -> int:
        """Return the optimiser steps: as configured, or the epochs over the rows, at least 1."""
        if self.steps is not None:
            return self.steps
        return max(1, math.ceil((self.epochs or 0) * rows / per_step))


class SftStage(_Training):
    """Supervised fine-tuning; `trainer` holds arguments of trl.SFTConfig."""

    kind: Literal["sft"]


class ProbeStage(Table):
    """Measures the rewards of sampled completions, then chooses and orders the prompts of GRPO."""

    kind: Literal["probe"]
    prompts: PositiveInt = 128
    """Number of prompts that are tried, over all tasks."""
    limit: PositiveInt | None = None
    """Largest number of samples per task from which the prompts are drawn; default: all."""
    generations: Annotated[int, Field(ge=2)] = 4
    """Completions per prompt."""
    temperature: PositiveFloat = 0.9
    """Sampling temperature; best the same as in GRPO."""
    min_format_rate: Share = 0.5
    """Smallest share of completions with the right tags; a task below it fails the probe."""
    keep_flat: Share = 0.1
    """Largest share of prompts with constant rewards among those kept for GRPO."""
    batch_size: PositiveInt = 64
    """Rows per batch of generation, on each process."""
    tasks: list[str] | None = None
    """Tasks or prefixes of tasks; default: all of the run."""
    on_fail: Literal["stop", "warn"] = "stop"
    """Action if a task fails the probe."""

    @property
    def chosen(self) -> list[str] | None:
        """The tasks or prefixes that the stage names; `None`: all of the run."""
        return self.tasks


class VllmConfig(Table):
    """vLLM, for `generation` "vllm-colocate" or "vllm-server"; run on the CPU, not on a GPU."""

    url: str | None = None
    """Address of a running server, such as http://10.0.0.5:8000; default: the run starts one."""
    gpus: list[Annotated[int, Field(ge=0)]] | None = None
    """GPUs of the server that the run starts, numbered from 0 on its machine; default: those that
    the stage's processes leave free."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """Port of the server that the run starts."""
    memory: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Share of a GPU's memory that vLLM takes; default: 0.3 next to the trainer, 0.9 alone."""
    max_model_len: PositiveInt | None = None
    """Longest prompt with its completion, tokens; default: the model's context."""
    start_timeout_s: PositiveFloat = 600.0
    """Seconds within which the server that the run starts must answer."""
    timeout_s: PositiveFloat = 600.0
    """Seconds within which a server must answer a request while the stage trains."""


class GrpoStage(_Training):
    """Group-relative policy optimisation; `trainer` holds arguments of trl.GRPOConfig."""

    kind: Literal["grpo"]
    share_prompt: bool = True
    """True if a prompt is computed once for all its completions in a batch: faster, same losses.
    Where the model's layers or inputs do not allow it, training says so and goes without. Dropout,
    also that of adapters, leaves out the same of a prompt for all its completions."""
    merge_adapters: bool = True
    """True if adapters are merged into the weights while the trainer writes completions, on a copy:
    faster, same weights afterwards. Only in float32, where nothing is rounded away, and where each
    process has the whole model; vLLM gets merged weights anyway."""
    batch_size: PositiveInt | None = None
    """Rows per batch of generation on each process, of similar length; default: all rows of a step.
    vLLM forms its own batches."""
    generation: Generation = "transformers"
    """Source of the completions: the trainer, vLLM on the trainer's GPUs, or a vLLM server."""
    vllm: VllmConfig = VllmConfig()
    """Settings of vLLM."""

    @field_validator("generation", mode="before")
    @classmethod
    def _no_continuous_batching(cls, value: Any) -> Any:
        if value == "paged":
            raise ValueError(
                "continuous batching is refused by TRL for models with images; use vLLM"
            )
        return value


Stage = Annotated[SftStage | ProbeStage | GrpoStage, Field(discriminator="kind")]
