"""`geovlm doctor`: checks if this machine can do a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geovlm.cli import output
from geovlm.cli.options import JsonOption
from geovlm.errors import ConfigError

if TYPE_CHECKING:
    from geovlm.run.doctor.machine import Check


def doctor(
    processes: Annotated[
        int | None, typer.Option(min=1, help="Number of ranks on the CPU, as in a run.")
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(min=1, help="Number of ranks on GPUs; default: one if there is a GPU."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of future runs; its disk is checked.")] = Path(
        "runs"
    ),
    deadline: Annotated[
        float, typer.Option(min=1.0, help="Limit in seconds for joining and for all-reduce, each.")
    ] = 120.0,
    json: JsonOption = False,
) -> None:
    """Check versions, plugins, PROJ, disks, GPUs, communication of ranks, a training step, vLLM.

    Exit code 1 if a check fails.
    """
    from geovlm.plugins import registry
    from geovlm.run.doctor import machine

    if processes is not None and gpus is not None:
        raise ConfigError("--processes and --gpus are both given", hint="give one of them")
    checks = [*machine.versions(), *machine.conflicts(), *machine.imports()]
    checks += machine.plugins(registry.load())
    checks += machine.geodata()
    checks += machine.disk(out)
    checks += machine.shared_memory(ranks=gpus or processes or 1)
    checks += _smoke_tests(checks, processes=processes, gpus=gpus, deadline=deadline)
    failed = [each for each in checks if each.state == "FAIL"]
    if json:
        output.print_json({"ok": not failed, "checks": [each._asdict() for each in checks]})
    else:
        output.table(("check", "state", "found", "what to do"), checks)
    if failed:
        raise typer.Exit(1)


def _smoke_tests(
    before: Sequence[Check], *, processes: int | None, gpus: int | None, deadline: float
) -> list[Check]:
    """Run the smoke tests, if versions and GPUs are as needed."""
    from geovlm.config.schema import RunConfig
    from geovlm.run import devices
    from geovlm.run.doctor import smoke
    from geovlm.run.doctor.machine import Check

    if any(each.state == "FAIL" for each in before):
        return [Check("training step", "warn", "not tried", "fix the failures above first")]
    config = RunConfig(
        processes=processes or 1, gpus=gpus, device="auto" if processes is None else "cpu"
    )
    try:
        device = devices.device(config)
    except ConfigError as error:
        fix = "see nvidia-smi and CUDA_VISIBLE_DEVICES; on the CPU: --processes N"
        return [Check("GPUs", "FAIL", str(error.args[0]), fix)]
    wanted = smoke.Ranks(gpus or processes or 1, device)
    output.say(f"one training step on {wanted.number} x {device}: this takes a minute")
    checks = smoke.ranks(wanted, deadline_s=deadline)
    return [*checks, smoke.vllm(wanted, deadline_s=deadline)]
