"""`geovlm plan`: what a run would do, and whether its GPUs would hold it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geovlm.cli import output
from geovlm.cli.options import (
    DataOption,
    JsonOption,
    OptionalModelOption,
    OptionalTasksOption,
    ProcessesOption,
    SetOption,
)
from geovlm.errors import ConfigError

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig


def plan(
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file; see 'geovlm config schema'.")
    ] = None,
    tasks: OptionalTasksOption = None,
    data: DataOption = None,
    preset: Annotated[
        str | None, typer.Option(help="nano (default) or geovlm-r1; below the file and options.")
    ] = None,
    model: OptionalModelOption = None,
    rewards: Annotated[
        str | None, typer.Option(help="Which set trains: paper or robust; default: the preset's.")
    ] = None,
    set_: SetOption = None,
    processes: ProcessesOption = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs, which need not be here.")] = None,
    gpu_memory: Annotated[
        float | None,
        typer.Option(help="Of one GPU, GiB; default: that of the GPUs here, 80 without one."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--output", help="Run directory; default runs/<tasks>.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of data order and sampling.")] = None,
    json: JsonOption = False,
) -> None:
    """Steps, tokens per task, parameters and memory per GPU of a run, without starting it.

    The same options as 'run'. Where a stage would not fit, the nearest configuration that does is
    printed as options to add. The run is planned for GPUs, here or not; for the CPU with --set
    device=cpu, --processes, or the built-in model on a machine without GPU.
    """
    from geovlm.cli.commands.run import split_data, split_names
    from geovlm.config import load
    from geovlm.plan import build as planning
    from geovlm.plan import text
    from geovlm.plan.memory import shape as modelshape
    from geovlm.plan.memory import stages
    from geovlm.plugins import registry
    from geovlm.run import folder as rundir

    data_root, roots = split_data(data or [])
    given: dict[str, Any] = {
        "tasks": split_names(tasks),
        "data_root": data_root,
        "data": roots or None,
        "model": model,
        "rewards": rewards,
        "seed": seed,
        "output": out,
        "processes": processes,
        "gpus": gpus,
    }
    loaded = load.load(config, preset=preset, overrides=set_ or [], **given)
    folder = loaded.output or rundir.default_output(list(loaded.tasks)).absolute()
    resolved = loaded.model_copy(
        update={"device": _device(loaded, gpu_memory=gpu_memory), "output": folder}
    )
    made = planning.make(resolved, registry=registry.load(), output=folder)
    shape = modelshape.inspect(made.model, resolved)
    limit = stages.limit_of(resolved, gpu_gib=gpu_memory)
    found = stages.of(made, shape=shape, limit=limit)
    if json:
        output.print_json(text.table(made) | {"memory": stages.table(found)})
        return
    print("\n".join([*text.lines(made), *stages.lines(found)]))


def _device(config: RunConfig, *, gpu_memory: float | None) -> str:
    """Return what is planned for.

    Raises:
        ConfigError: the memory of a GPU is given for a run on the CPU, or is not above 0.
    """
    from geovlm.config.model import NANO
    from geovlm.run import launch

    if gpu_memory is not None and gpu_memory <= 0:
        raise ConfigError(f"--gpu-memory {gpu_memory:g} is not above 0", hint="such as 80, in GiB")
    if config.device == "cpu" and gpu_memory is not None:
        raise ConfigError("--gpu-memory is given with device 'cpu'", hint="leave one of them out")
    if config.device != "auto":
        return config.device
    small = config.model == NANO or config.processes > 1
    asked = config.gpus is not None or gpu_memory is not None
    return "cpu" if small and not asked and not launch.visible_gpus() else "cuda"
