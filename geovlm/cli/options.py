"""Arguments and options of several commands: one type, one name, one sentence of help each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

_TASKS = "Tasks or prefixes of tasks, with commas between."
_MODEL = typer.Option(help="nano, a folder, or a name on the Hugging Face hub.")
_LIMIT = "At most so many samples of each task, spread over the split."

TasksArgument: TypeAlias = Annotated[str, typer.Argument(help=_TASKS)]
TasksOption: TypeAlias = Annotated[str, typer.Option(help=_TASKS)]
OptionalTasksOption: TypeAlias = Annotated[str | None, typer.Option(help=_TASKS)]
DataOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="Folder of all data sets, or of one. Repeatable. Without it, data are generated.",
        metavar="ROOT|NAME=DIR",
    ),
]
ModelOption: TypeAlias = Annotated[str, _MODEL]
OptionalModelOption: TypeAlias = Annotated[str | None, _MODEL]
LimitOption: TypeAlias = Annotated[int, typer.Option(min=1, help=_LIMIT)]
OptionalLimitOption: TypeAlias = Annotated[int | None, typer.Option(help=_LIMIT)]
SetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any key of a run, such as eval.batch_size=8. Repeatable.",
        metavar="KEY=VALUE",
    ),
]
ConfigArgument: TypeAlias = Annotated[
    Path | None, typer.Argument(help="A TOML file; see 'geovlm config schema'.")
]
PresetOption: TypeAlias = Annotated[
    str | None, typer.Option(help="nano (default) or geovlm-r1; below the file and options.")
]
RewardsOption: TypeAlias = Annotated[
    str | None, typer.Option(help="Which set trains: paper or robust; default: the preset's.")
]
OutputOption: TypeAlias = Annotated[
    Path | None, typer.Option("--output", help="Run directory; default runs/<tasks>.")
]
SeedOption: TypeAlias = Annotated[int | None, typer.Option(help="Seed of data order and sampling.")]
ProcessesOption: TypeAlias = Annotated[
    int | None, typer.Option(help="Processes per stage on the CPU.")
]
GpusOption: TypeAlias = Annotated[int | None, typer.Option(help="GPUs, one process each.")]
MachinesOption: TypeAlias = Annotated[
    int | None, typer.Option(help="Machines, each with --gpus or --processes; see docs/launch.md.")
]
MachineRankOption: TypeAlias = Annotated[
    int | None, typer.Option(help="Which of them this is, from 0.", metavar="R")
]
MainAddressOption: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Machine 0; each stage takes a port from here on.", metavar="HOST:PORT"),
]
ParallelOption: TypeAlias = Annotated[
    str | None, typer.Option(help="ddp, fsdp2, zero2, zero3, or a YAML file of accelerate.")
]
LauncherOption: TypeAlias = Annotated[
    str | None, typer.Option(help="slurm: write a batch script that starts the run.")
]
SbatchOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="For the batch script, such as time=24:00:00. Repeatable.", metavar="OPTION"),
]
DatasetArgument: TypeAlias = Annotated[str, typer.Argument(help="Name of the data set.")]
TaskArgument: TypeAlias = Annotated[str, typer.Argument(help="Name of the task.")]
PluginArgument: TypeAlias = Annotated[
    str, typer.Argument(help="Name of the plugin, as its entry point has it.")
]
DryRunOption: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan and the command lines, and stop.")
]
ResumeOption: TypeAlias = Annotated[
    bool, typer.Option("--resume", help="Go on with what was interrupted.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
