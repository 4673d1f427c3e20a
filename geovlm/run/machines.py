"""Finds the place of this machine in a run, from options or from the variables of a launcher."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from geovlm.errors import ConfigError

_LAUNCHERS = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE"),
    *("ROLE_RANK", "ROLE_NAME", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("PMI_SIZE", "PMI_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    *("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
)
"""Variables of torchrun and MPI; a stage gets new ones."""
_ACCELERATE = ("ACCELERATE_USE_", "ACCELERATE_MIXED_", "ACCELERATE_DYNAMO_", "FSDP_")
"""Prefixes of variables that `accelerate launch` sets."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine of a run, or one process that a launcher started on it."""

    rank: int = 0
    count: int = 1
    host: str = "127.0.0.1"
    """Name or address of machine 0."""
    port: int = 0
    """First port of machine 0 for rendezvous, one per stage; 0: any free port."""
    waits: bool = False
    """True if torchrun started several processes and another one starts the stages."""
    local_processes: int | None = None
    """Number of processes that torchrun started on each machine."""

    @property
    def leads(self) -> bool:
        """True if this process plans the run and writes its files."""
        return self.rank == 0 and not self.waits

    @property
    def alone(self) -> bool:
        """True if no other process of `geovlm` takes part in the run."""
        return self.count == 1 and self.local_processes is None


def find(
    *,
    machines: int | None,
    machine_rank: int | None,
    main_address: str | None,
    variables: Mapping[str, str] = os.environ,
) -> Machine:
    """Return this machine, from the options or from a launcher's environment.

    With torchrun, which sets LOCAL_RANK, the first process of each machine starts the stages with
    as many ranks as torchrun started processes; the others wait. Operators of clusters set RANK,
    WORLD_SIZE, MASTER_ADDR and MASTER_PORT once per machine.

    Raises:
        ConfigError: options that are incomplete or contradict each other or the environment.
    """
    launched = _launched(variables)
    if machines is None and machine_rank is None and main_address is None:
        return launched
    if not launched.alone or launched.waits:
        raise ConfigError(
            "--machines, --machine-rank and --main-address are given inside a launched job: RANK "
            f"is {variables['RANK']} of {variables['WORLD_SIZE']}",
            hint="omit them, the job sets the same values; or unset RANK and WORLD_SIZE",
        )
    count = machines or 1
    if count == 1 and not machine_rank:
        return Machine()
    if machine_rank is None or main_address is None:
        missing = "--machine-rank" if machine_rank is None else "--main-address"
        raise ConfigError(
            f"{missing} is missing: the run has {count} machines",
            hint=f"on each: --machines {count} --machine-rank 0..{count - 1} "
            "--main-address HOST:PORT of machine 0",
        )
    if not 0 <= machine_rank < count:
        raise ConfigError(
            f"--machine-rank {machine_rank} of {count} machines",
            hint=f"machines are numbered from 0 to {count - 1}",
        )
    host, port = split_address(main_address)
    return Machine(rank=machine_rank, count=count, host=host, port=port)


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT, or refuse it."""
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdigit() and 1 <= int(port) <= 65_000):
        raise ConfigError(
            f"--main-address {address!r} is not HOST:PORT", hint="such as node01:29500"
        )
    return host.strip("[]"), int(port)


def without_launcher(variables: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables of a launcher that started this process."""
    return {
        name: value
        for name, value in variables.items()
        if name not in _LAUNCHERS and not name.startswith(("TORCHELASTIC_", *_ACCELERATE))
    }


def _launched(variables: Mapping[str, str]) -> Machine:
    if not ("RANK" in variables and "WORLD_SIZE" in variables):
        return Machine()
    rank, world = _number(variables, "RANK"), _number(variables, "WORLD_SIZE")
    if "LOCAL_RANK" not in variables:
        if world == 1:
            return Machine()
        host, port = _main(variables)
        return Machine(rank=rank, count=world, host=host, port=port)
    local_rank = _number(variables, "LOCAL_RANK")
    local_world = _number(variables, "LOCAL_WORLD_SIZE")
    if world % local_world:
        raise ConfigError(
            f"WORLD_SIZE {world} is not a multiple of LOCAL_WORLD_SIZE {local_world}",
            hint="start the same number of processes on every machine",
        )
    host, port = _main(variables)
    return Machine(
        rank=rank // local_world,
        count=world // local_world,
        host=host,
        port=port,
        waits=local_rank > 0,
        local_processes=local_world,
    )


def _main(variables: Mapping[str, str]) -> tuple[str, int]:
    """Return host and first port of machine 0; the port of the launcher itself is in use."""
    if "MASTER_ADDR" not in variables:
        raise ConfigError(
            "RANK and WORLD_SIZE are set, MASTER_ADDR is not",
            hint="set MASTER_ADDR and MASTER_PORT, or unset RANK and WORLD_SIZE",
        )
    return variables["MASTER_ADDR"], _number(variables, "MASTER_PORT") + 1


def _number(variables: Mapping[str, str], name: str) -> int:
    value = variables.get(name, "")
    if not value.isdigit():
        raise ConfigError(
            f"{name} is {value!r} in the environment, a number is needed",
            hint=f"set {name} as torchrun does, or unset RANK and WORLD_SIZE",
        )
    return int(value)
