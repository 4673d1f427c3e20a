"""`geovlm plan`: prints the steps of a run, and estimates if it fits into GPU memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from geovlm.cli import configuration, options, planning
from geovlm.cli.arguments import in_place_of_configuration, settings
from geovlm.errors import ConfigError

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig


def plan(
    config: options.ConfigArgument = None,
    tasks: options.OptionalTasksOption = None,
    data: options.DataOption = None,
    preset: options.PresetOption = None,
    model: options.OptionalModelOption = None,
    rewards: options.RewardsOption = None,
    set_: options.SetOption = None,
    processes: options.ProcessesOption = None,
    gpus: Annotated[
        int | None, typer.Option(help="Number of GPUs, which need not be on this machine.")
    ] = None,
    gpu_memory: Annotated[
        float | None,
        typer.Option(
            help="Memory of one GPU in GiB; default: that of the GPUs here, or 80 without GPU."
        ),
    ] = None,
    out: options.OutputOption = None,
    seed: options.SeedOption = None,
    json: options.JsonOption = False,
) -> None:
    """Estimate steps, tokens per task, parameters and memory per GPU of a run, without starting it.

    The options are those of 'run'. If a stage does not fit, the nearest configuration that fits is
    printed as options to add. The run is planned for GPUs, which need not be on this machine. It is
    planned for the CPU with --set device=cpu, with --processes, or with the built-in model on a
    machine without GPU.
    """
    from geovlm.plan import build
    from geovlm.plan.memory import shape as modelshape
    from geovlm.plan.memory import stages
    from geovlm.plugins import registry
    from geovlm.run import adapters
    from geovlm.run.folder import default_output

    config, data = in_place_of_configuration(config, data)
    given = settings(
        tasks=tasks,
        data=data,
        model=model,
        rewards=rewards,
        seed=seed,
        output=out,
        processes=processes,
        gpus=gpus,
    )
    loaded = configuration.load(config, preset=preset, overrides=set_ or [], **given)
    loaded = adapters.whole(loaded, merge=False)
    folder = loaded.output or default_output(list(loaded.tasks)).absolute()
    device = _device(loaded, gpu_memory=gpu_memory)
    resolved = loaded.model_copy(update={"device": device, "output": folder})
    made = build.make(resolved, registry=registry.load(), output=folder, elsewhere=True)
    shape = modelshape.inspect(made.model, resolved)
    limit = stages.limit_of(resolved, gpu_gib=gpu_memory)
    memory = stages.of(made, shape=shape, limit=limit)
    planning.print_plan(
        made, lines=stages.lines(memory), table={"memory": stages.table(memory)}, json=json
    )


def _device(config: RunConfig, *, gpu_memory: float | None) -> str:
    """Return the device of the plan."""
    from geovlm.config.model import NANO
    from geovlm.run import devices

    if gpu_memory is not None and gpu_memory <= 0:
        raise ConfigError(f"--gpu-memory {gpu_memory:g} is not above 0", hint="such as 80, in GiB")
    if config.device == "cpu" and gpu_memory is not None:
        raise ConfigError("--gpu-memory is given with device 'cpu'", hint="omit one of them")
    if config.device != "auto":
        return config.device
    small = config.model == NANO or config.processes > 1
    asked = config.gpus is not None or gpu_memory is not None
    return "cpu" if small and not asked and not devices.visible_gpus() else "cuda"
