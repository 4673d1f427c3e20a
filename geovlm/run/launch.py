"""Runs each stage as processes: command, environment, output, exit status.

Each stage has a process tree of its own: memory is freed, a crash ends one stage only, and a stage
resumes alone. `accelerate launch --cpu --num_processes 2` silently starts one process
(accelerate 1.15); a configuration file with `MULTI_GPU` and `use_cpu` starts two.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.config.model import served_name
from geovlm.errors import GeoVLMError, RunFailedError, StoppedError
from geovlm.plugins import installed
from geovlm.plugins.installed import GROUP
from geovlm.run import devices, files, parallel
from geovlm.run.imports import PACKAGES, hidden, require_torchvision
from geovlm.run.machines import Machine
from geovlm.run.parallel import Layout
from geovlm.run.process import LAUNCHER, Outcome, execute, isolated, python
from geovlm.run.stopping import StopRequest
from geovlm.run.vllm import stage as vllm_stage

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.run.folder import RunDir
    from geovlm.run.heartbeat import Heartbeat
    from geovlm.run.status.writer import Status

WORKER = "geovlm.engine.worker"
SERVED_WORKER = "geovlm.engine.served"
"""Module that evaluates a served model; it loads no torch."""
_HINTS: dict[int, str] = {
    signal.SIGKILL: "out of memory? a smaller per_device_train_batch_size needs less; ",
    signal.SIGABRT: "NCCL ends a rank that waits longer than timeout_s for another: continue with "
    "--resume, or set a longer timeout_s; ",
}
"""Likely cause of a signal that ended a rank, as a hint."""


def accelerate_config(ranks: Layout, *, on_cpu: bool, port: int, scheme: str = "ddp") -> str:
    """Return the text of a stage's accelerate.yaml on one machine."""
    import yaml

    settings = parallel.accelerate_config(ranks, on_cpu=on_cpu, port=port, parallel=scheme)
    return yaml.safe_dump(settings, sort_keys=False)


def command(
    config_file: Path | None, *, run: Path, stage: str, resume: bool = False, module: str = WORKER
) -> list[str]:
    """Return the command line of a stage: `accelerate launch`, or its one process without it.

    `stage` is its position or `eval`; without `config_file`, there is no launcher, see `is_alone`.
    """
    start = ["-m", module]
    if config_file is not None:
        start = ["-m", LAUNCHER, "--config_file", str(config_file)]
        start += ["--module", module]
    return python(*start, "--run", str(run), "--stage", stage, *(["--resume"] if resume else []))


def worker(config: RunConfig) -> str:
    """Return the module that does the work of a run's stages."""
    return WORKER if served_name(config.model) is None else SERVED_WORKER


def is_alone(ranks: Layout, *, scheme: str) -> bool:
    """Return True if a stage is one process with the whole model, which needs no launcher.

    The launcher of accelerate imports torch only to set a few variables: 3.7 of the 19 seconds of
    CPU that a stage takes to start.
    """
    return ranks.world_size == 1 and scheme == "ddp"


def environment(local: int, *, on_cpu: bool) -> dict[str, str]:
    """Return the environment of a stage's ranks on this machine: their cores and GPUs.

    Waiting threads sleep (OMP_WAIT_POLICY=PASSIVE), because threads that spin on busy cores slow
    training down: 30 forward and backward passes of a small network took 7 to 13 s with two
    spinning threads on two busy cores, 2.1 s with sleeping ones.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    variables = isolated() | {
        "OMP_NUM_THREADS": _threads() or str(max(1, cores // local)),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY") or "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "ACCELERATE_USE_CPU": str(on_cpu).lower(),
    }
    if not on_cpu:  # with more visible GPUs than processes, the Trainer would use DataParallel
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(devices.visible_gpus()[:local])
    if sys.stderr.isatty():
        size = os.get_terminal_size(sys.stderr.fileno())
        variables |= {"TTY_COMPATIBLE": "1", "COLUMNS": str(size.columns)}
    return variables


def _threads() -> str:
    """Return the user's number of threads; empty if there is none.

    OpenMP takes `4,2`, one number per level, and reports and ignores what is not a number.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return first if first.isascii() and first.isdigit() and int(first) else ""


def start(program: str, *words: str, folder: Path, on_cpu: bool) -> None:
    """Run a program of `geovlm.engine.programs` to its end; its output is also kept in `folder`.

    Raises:
        ConfigError: the installed torchvision would break its imports.
        GeoVLMError: the program refused the job.
        RunFailedError: it failed.
    """
    require_torchvision()
    log = folder / "stderr.txt"
    argv = python("-m", f"geovlm.engine.programs.{program}", *words)
    outcome = execute(argv, variables=environment(1, on_cpu=on_cpu), log=log)
    raise_for(outcome, name=program, log=log)


def run_stage(
    run: RunDir,
    *,
    config: RunConfig,
    index: int,
    resume: bool,
    stop: StopRequest,
    heartbeat: Heartbeat | None = None,
) -> None:
    """Run this machine's part of one stage, -1 for an evaluation, to its end.

    Raises:
        StoppedError: it was stopped on request, and can be resumed.
        GeoVLMError: the worker refused the request.
        RunFailedError: it failed, or another machine was lost; names the stage and its log.
    """
    machine = heartbeat.machine if heartbeat is not None else Machine()
    ranks = parallel.layout(config, index, machine=machine)
    folder = run.stage(index)
    folder.mkdir(parents=True, exist_ok=True)
    with vllm_stage.serve(run, config=config, index=index, heartbeat=heartbeat) as server:

        def check() -> None:
            if stop.signal is None:  # a SIGTERM to all processes of a job ends the server first
                server.check()
            if heartbeat is not None:
                heartbeat.check()
                heartbeat.share_stop(stop)

        def done() -> bool:
            check()
            return run.is_done(index)

        if not ranks.local:
            assert heartbeat is not None  # the first machine has ranks
            heartbeat.wait(done)
            return
        on_cpu = config.device == "cpu"
        yaml = None
        if not is_alone(ranks, scheme=config.scheme(index)):
            port = machine.port + max(index, 0) if machine.port else free_port()
            text = accelerate_config(ranks, on_cpu=on_cpu, port=port, scheme=config.scheme(index))
            yaml = folder / accelerate_file(machine)
            files.write_text(yaml, text)
        log = folder / ("stderr.txt" if machine.rank == 0 else f"stderr.{machine.rank}.txt")
        outcome = execute(
            command(
                yaml,
                run=run.path,
                stage=stage_name(index),
                resume=resume,
                module=worker(config),
            ),
            variables=environment(ranks.local, on_cpu=on_cpu) | server.variables,
            log=log,
            check=check,
            stop=stop,
        )
    if outcome.status and not outcome.error and heartbeat is not None:
        heartbeat.explain_failure()
    raise_for(outcome, name=folder.name, log=log, by=stop.signal)


def accelerate_file(machine: Machine) -> str:
    """Return the name of a machine's accelerate.yaml in a stage's folder."""
    return "accelerate.yaml" if machine.rank == 0 else f"accelerate.{machine.rank}.yaml"


def stage_name(index: int) -> str:
    """Return the name of a stage on the command line of the worker."""
    return "eval" if index == -1 else str(index)


def run_stages(
    run: RunDir,
    *,
    config: RunConfig,
    resume: bool,
    heartbeat: Heartbeat | None = None,
    status: Status | None = None,
) -> None:
    """Run every unfinished stage in order, and record wall seconds; `status` follows them.

    A run without stages is an evaluation.

    Raises:
        StoppedError: SIGTERM or Ctrl-C came; the stage can be resumed, or was not started.
        GeoVLMError: as `run_stage`.
    """
    leads = heartbeat is None or heartbeat.machine.leads
    with StopRequest(worker=worker(config)) as stop:
        for index in range(len(config.stages)) or [-1]:
            name = run.stage(index).name
            kind = config.stages[index].kind if index >= 0 else "eval"
            if run.is_done(index):
                print(f"stage {name}: already done, skipped", file=sys.stderr, flush=True)
                if status is not None:
                    status.skip(index)
                continue
            # with other machines, the ranks agree in the stage: they would wait for a missing one
            if stop.signal is not None and (heartbeat is None or heartbeat.machine.count == 1):
                raise StoppedError(
                    f"stage {name} was not started", exit_code=_exit_code(stop.signal)
                )
            print(f"stage {name}", file=sys.stderr, flush=True)
            started = time.monotonic()
            followed = status.stage(index) if status is not None else contextlib.nullcontext()
            try:
                with followed:
                    run_stage(
                        run,
                        config=config,
                        index=index,
                        resume=resume,
                        stop=stop,
                        heartbeat=heartbeat,
                    )
            except BaseException:
                with contextlib.suppress(OSError):  # a full disk must not hide why the stage failed
                    _add_seconds(run, kind, started, leads=leads)
                raise
            _add_seconds(run, kind, started, leads=leads)


def _add_seconds(run: RunDir, kind: str, started: float, *, leads: bool) -> None:
    if leads and run.has_progress:
        run.add_seconds(kind, time.monotonic() - started)


def _exit_code(by: int | None) -> int:
    """Return the exit code of a stopped run: 0, so that it is requeued; 130 after Ctrl-C."""
    return 128 + signal.SIGINT if by == signal.SIGINT else 0


def raise_for(outcome: Outcome, *, name: str, log: Path, by: int | None = None) -> None:
    """Raise the error that the end of a stage stands for; nothing if it is done."""
    if outcome.stopped:
        raise StoppedError(f"stage {name}: {outcome.stopped}", exit_code=_exit_code(by))
    if outcome.status == 0:
        return
    if outcome.error and outcome.status in (1, 2):
        kind = GeoVLMError if outcome.status == 2 else RunFailedError
        raise kind(outcome.error)
    if outcome.status < 0:
        number = -outcome.status
        who = (
            f"rank {outcome.rank} of stage {name}" if outcome.rank is not None else f"stage {name}"
        )
        why = f"was killed by {signal.Signals(number).name}"
        hint = _HINTS.get(number, "")
        raise RunFailedError(f"{who} {why}", hint=f"{hint}its output is in {log}")
    found = [f"{each}: {each.fix}" for each in hidden()]
    found += map(str, installed.conflicts(group=GROUP, also=PACKAGES))
    causes = "".join(f"{each}; " for each in found)
    raise RunFailedError(
        f"stage {name} failed with exit status {outcome.status}; its traceback is above",
        hint=f"{causes}its output is in {log}",
    )


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
