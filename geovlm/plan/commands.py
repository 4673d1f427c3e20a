"""Lists the commands that a run starts on each machine, with ranks and GPUs; for `--dry-run`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geovlm.config.model import source
from geovlm.run import launch, parallel
from geovlm.run.machines import Machine
from geovlm.run.vllm import server as vllm_server

if TYPE_CHECKING:
    from geovlm.plan.build import Plan


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One command on one machine."""

    stage: str
    """Name of the stage's folder."""
    machine: int
    what: str
    """Ranks, or the server, in words."""
    gpus: tuple[int, ...]
    """Numbered from 0 among the visible ones of the machine; empty on the CPU."""
    argv: list[str]
    accelerate: dict[str, Any] | None = None
    """Contents of the command's accelerate.yaml; `None` without one. Port 0: any free port."""

    def describe(self) -> list[str]:
        """Return the launch as lines for people; the last one is the command."""
        gpus = f", GPUs {','.join(map(str, self.gpus))}" if self.gpus else ""
        head = f"# {self.stage}, machine {self.machine}: {self.what}{gpus}"
        return [head, f"$ {shlex.join(self.argv)}"]

    def table(self) -> dict[str, Any]:
        """Return the launch for programs."""
        return {
            "stage": self.stage,
            "machine": self.machine,
            "what": self.what,
            "gpus": list(self.gpus),
            "command": shlex.join(self.argv),
            "accelerate": self.accelerate,
        }


def launches(plan: Plan, *, machine: Machine | None = None) -> list[Launch]:
    """Return every command of a run on all its machines, stage by stage.

    The present machine knows the address of machine 0.
    """
    here = machine or Machine(count=plan.config.machines)
    folders = {index: stage.folder for index, stage in enumerate(plan.stages)} or {-1: "eval"}
    return [
        each
        for index, folder in folders.items()
        for each in _stage(plan, index, folder=folder, here=here)
    ]


def _stage(plan: Plan, index: int, *, folder: str, here: Machine) -> list[Launch]:
    config = plan.config
    on_cpu = config.device == "cpu"
    found = []
    placed = vllm_server.placement(config, index) if index >= 0 else None
    if placed is not None:
        settings = config.stages[index].vllm  # type: ignore[union-attr]  # placement: a GRPO stage
        server = vllm_server.command(_weights(plan, index), config, settings, gpus=len(placed.gpus))
        found.append(
            Launch(
                stage=folder,
                machine=placed.machine,
                what=f"vLLM server on port {settings.port}",
                gpus=placed.gpus,
                argv=server,
            )
        )
    port = here.port + max(index, 0) if here.port else 0
    for rank in range(config.machines):
        there = Machine(rank=rank, count=config.machines, host=here.host, port=here.port)
        ranks = parallel.layout(config, index, machine=there)
        if not ranks.local:
            continue
        scheme = config.scheme(index)
        first, last = ranks.ranks[0], ranks.ranks[-1]
        names = f"rank {first}" if first == last else f"ranks {first} to {last}"
        at = f", rendezvous {here.host}:{port}" if port else ""
        yaml = accelerate = None
        if not launch.is_alone(ranks, scheme=scheme):
            yaml = plan.output / "stages" / folder / launch.accelerate_file(there)
            accelerate = parallel.accelerate_config(
                ranks, on_cpu=on_cpu, port=port, parallel=scheme
            )
        found.append(
            Launch(
                stage=folder,
                machine=rank,
                what=f"{names} of {ranks.world_size}, {scheme}{at}",
                gpus=() if on_cpu else tuple(range(ranks.local)),
                argv=launch.command(
                    yaml,
                    run=plan.output,
                    stage=launch.stage_name(index),
                    module=launch.worker(config),
                ),
                accelerate=accelerate,
            )
        )
    return found


def _weights(plan: Plan, index: int) -> str:
    """Return folder or hub name of the weights that a stage starts from."""
    trained = [stage.folder for stage in plan.stages[:index] if stage.kind != "probe"]
    if trained:
        return str(plan.output / "stages" / trained[-1] / "model")
    return source(plan.config.model)
