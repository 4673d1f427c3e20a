"""Types of arguments and options that several commands share, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

_TASKS = "Names, prefixes or sets of tasks, separated by commas."
_MODEL = typer.Option(help="nano, a folder, or a name on the Hugging Face hub.")
_LIMIT = "Largest number of samples per task, spread over the split."

TasksArgument: TypeAlias = Annotated[str, typer.Argument(help=_TASKS)]
OptionalTasksOption: TypeAlias = Annotated[str | None, typer.Option(help=_TASKS)]
DataOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="Folder of all data sets, or of one; or a description of your own annotations. "
        "Repeatable. Default: generated data.",
        metavar="ROOT|NAME=DIR|FILE.toml",
    ),
]
DescriptionsOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        help="Description of your own annotations, whose data set and task are then known. "
        "Repeatable.",
        metavar="FILE.toml",
    ),
]
ModelOption: TypeAlias = Annotated[str, _MODEL]
AnyModelOption: TypeAlias = Annotated[
    str, typer.Option(help="nano, a folder, a name on the Hugging Face hub, or openai:NAME.")
]
BaseUrlOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Endpoint of a model openai:NAME, in front of /chat/completions; see docs/served.md.",
        metavar="URL",
    ),
]
ApiKeyOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Environment variable with its key; default: OPENAI_API_KEY.", metavar="NAME"
    ),
]
GenerationOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="What writes the answers: transformers or vllm, see docs/vllm.md. "
        "Default: transformers."
    ),
]
UrlOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Running vLLM server that has the model, such as one of geovlm serve; with "
        "--generation vllm.",
        metavar="URL",
    ),
]
OptionalModelOption: TypeAlias = Annotated[str | None, _MODEL]
LimitOption: TypeAlias = Annotated[int, typer.Option(min=1, help=_LIMIT)]
OptionalLimitOption: TypeAlias = Annotated[int | None, typer.Option(help=_LIMIT)]
SetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Set any key of the configuration, such as eval.batch_size=8. Repeatable.",
        metavar="KEY=VALUE",
    ),
]
ConfigArgument: TypeAlias = Annotated[
    Path | None,
    typer.Argument(help="Configuration, or description of annotations, as a TOML file."),
]
PresetOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Recipe to start from, see 'geovlm config presets'; the file and options override it. "
        "Default: nano."
    ),
]
RewardsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Set of rewards for training: paper or robust; default: from the preset."),
]
OutputOption: TypeAlias = Annotated[
    Path | None, typer.Option("--output", help="Run folder; default: runs/<tasks>.")
]
SeedOption: TypeAlias = Annotated[int | None, typer.Option(help="Seed of data order and sampling.")]
ProcessesOption: TypeAlias = Annotated[
    int | None, typer.Option(help="Number of processes per stage on the CPU.")
]
GpusOption: TypeAlias = Annotated[
    int | None, typer.Option(help="Number of GPUs, with one process each.")
]
MachinesOption: TypeAlias = Annotated[
    int | None,
    typer.Option(help="Number of machines, each with --gpus or --processes; see docs/launch.md."),
]
MachineRankOption: TypeAlias = Annotated[
    int | None, typer.Option(help="Rank of this machine, from 0.", metavar="R")
]
MainAddressOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Address of machine 0; stages use ports from this one on.", metavar="HOST:PORT"
    ),
]
ParallelOption: TypeAlias = Annotated[
    str | None, typer.Option(help="ddp, fsdp2, zero2, zero3, or a YAML file of accelerate.")
]
LauncherOption: TypeAlias = Annotated[
    str | None, typer.Option(help="slurm: write a batch script that starts the run.")
]
SbatchOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="Option of the batch script, such as time=24:00:00. Repeatable.", metavar="OPTION"
    ),
]
TrackOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Trackers of experiments, separated by commas: trackio, wandb, tensorboard, mlflow.",
        metavar="NAMES",
    ),
]
TrackProjectOption: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Project of the tracked run; default: geovlm.", metavar="NAME"),
]
DatasetArgument: TypeAlias = Annotated[str, typer.Argument(help="Name of the data set.")]
TaskArgument: TypeAlias = Annotated[str, typer.Argument(help="Name of the task.")]
PluginArgument: TypeAlias = Annotated[str, typer.Argument(help="Name of the plugin's entry point.")]
DryRunOption: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan and the command lines, and exit.")
]
ResumeOption: TypeAlias = Annotated[
    bool, typer.Option("--resume", help="Resume from the last checkpoint.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
