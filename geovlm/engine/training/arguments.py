"""Checks the `trainer` tables of a run against the arguments of TRL."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from trl import GRPOConfig, SFTConfig

from geovlm.config.options import near
from geovlm.errors import ConfigError

CONFIGS: Mapping[str, type] = {"sft": SFTConfig, "grpo": GRPOConfig}
"""Kind of stage -> the class whose arguments its `trainer` table holds."""

_COUNTS = frozenset(
    {"per_device_train_batch_size", "gradient_accumulation_steps", "max_completion_length"}
    | {"num_generations", "num_iterations", "steps_per_generation", "generation_batch_size"}
)
"""Arguments of which 0 fails in the first step, or without an error never makes one."""
_OF_THE_RUN: Mapping[str, str] = {
    "chat_template_kwargs": "set chat_template_kwargs of the run, which reaches all stages",
    "chat_template_path": "put the template into the folder of the model",
}
"""Arguments with which one stage would ask other prompts than the others -> the way out."""
_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True)


def check(kind: str, given: Mapping[str, Any], *, path: str) -> None:
    """Refuse a `trainer` table with unknown keys or values of another type.

    TRL itself takes any type and fails in the first step. A whole number passes for a float, a text
    does not pass for a number.

    Raises:
        ConfigError: names the key and what is expected.
    """
    cls = CONFIGS[kind]
    types = typing.get_type_hints(cls)
    for key, value in given.items():
        if key not in types:
            raise ConfigError(
                f"{path}: unknown key {key!r}",
                hint=near(key, list(types)) or f"it takes the arguments of trl.{cls.__name__}",
            )
        try:
            TypeAdapter(types[key], config=_STRICT).validate_python(value)
        except ValidationError as error:
            raise ConfigError(
                f"{path}.{key}: {error.errors()[0]['msg'].lower()}, not {value!r}",
                hint=f"it is an argument of trl.{cls.__name__}",
            ) from error
        if key in _OF_THE_RUN and value:
            raise ConfigError(
                f"{path}.{key}: the stages would ask different prompts", hint=_OF_THE_RUN[key]
            )
        if key in _COUNTS and value is not None and value < 1:
            raise ConfigError(f"{path}.{key}: {value!r} is less than 1", hint="give a count")
        if key == "dataloader_multiprocessing_context" and value in ("spawn", "forkserver"):
            raise ConfigError(
                f"{path}.{key}={value!r}: the rows of a stage stay in its process and those that "
                "it forks",
                hint="use 'fork', or leave it out",
            )
