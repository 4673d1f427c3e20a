"""Gives a GRPO stage its vLLM server: one machine starts it, the others wait for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from geovlm.config.model import source
from geovlm.run import devices
from geovlm.run.machines import Machine
from geovlm.run.vllm import server

if TYPE_CHECKING:
    from pathlib import Path

    from geovlm.config.schema import RunConfig
    from geovlm.run.folder import RunDir
    from geovlm.run.heartbeat import Heartbeat


class Server(NamedTuple):
    """A stage's server as the stage sees it."""

    variables: dict[str, str]
    """Variables for the processes of the stage."""
    check: Callable[[], None]
    """Raises if a server that this process started has ended."""


@contextlib.contextmanager
def serve(
    run: RunDir, *, config: RunConfig, index: int, heartbeat: Heartbeat | None
) -> Iterator[Server]:
    """Run the vLLM server of a stage while the context is open; most stages have none.

    The machine with the GPUs of the server starts it and publishes when it answers.

    Raises:
        RunFailedError: the server did not start, or a machine was lost meanwhile.
    """
    machine = heartbeat.machine if heartbeat is not None else Machine()
    placed = server.placement(config, index) if index >= 0 else None
    if placed is None:
        yield Server({}, lambda: None)
        return
    settings = config.stages[index].vllm  # type: ignore[union-attr]  # placement: a GRPO stage
    if placed.machine != machine.rank:
        assert heartbeat is not None
        heartbeat.wait(lambda: heartbeat.read(placed.machine, "vllm") == index)
        host = heartbeat.read(placed.machine, "host")
        yield Server({server.URL_VARIABLE: f"http://{host}:{settings.port}"}, lambda: None)
        return
    with server.serving(
        server.command(
            start_weights(run, config=config, index=index), config, settings, gpus=len(placed.gpus)
        ),
        variables=server.environment(devices.visible_gpus(), placed.gpus),
        port=settings.port,
        log=run.stage(index) / "vllm.txt",
        timeout_s=settings.start_timeout_s,
        check=heartbeat.check if heartbeat is not None else lambda: None,
    ) as alive:
        if heartbeat is not None:
            heartbeat.publish(vllm=index)
        url = f"http://127.0.0.1:{settings.port}"
        yield Server({server.URL_VARIABLE: url}, alive)


def start_weights(run: RunDir, *, config: RunConfig, index: int) -> str:
    """Return folder or hub name of a stage's first weights: those trained last, else the run's."""
    for earlier in range(index - 1, -1, -1):
        folder: Path = run.stage(earlier) / "model"
        if folder.is_dir():
            return str(folder)
    return source(config.model)
