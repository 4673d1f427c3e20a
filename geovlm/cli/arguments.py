"""Arguments of several commands, read the same way everywhere."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from geovlm.api import Json
from geovlm.errors import ConfigError

Machines = Annotated[
    int | None, typer.Option(help="Machines, each with --gpus or --processes; see docs/launch.md.")
]
MachineRank = Annotated[
    int | None, typer.Option(help="Which of them this is, from 0.", metavar="R")
]
MainAddress = Annotated[
    str | None,
    typer.Option(help="Machine 0; each stage takes a port from here on.", metavar="HOST:PORT"),
]
Parallel = Annotated[
    str | None, typer.Option(help="ddp, fsdp2, zero2, zero3, or a YAML file of accelerate.")
]
Launcher = Annotated[
    str | None, typer.Option(help="slurm: write a batch script that starts the run.")
]
Sbatch = Annotated[
    list[str] | None,
    typer.Option(help="For the batch script, such as time=24:00:00. Repeatable.", metavar="OPTION"),
]


def pair(text: str) -> tuple[str, Json]:
    """Return the key and value of `K=V`; a value that is no JSON is a string.

    Raises:
        ConfigError: there is no `=`, or nothing before it.
    """
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ConfigError(f"--option {text!r} is not of the form K=V", hint="such as hbb=drop")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value
