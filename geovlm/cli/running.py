"""Steps that `geovlm run` and `eval` share from the plan on: stages and results."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.cli import output, planning
from geovlm.errors import (
    RunFailedError,
    StoppedError,
)

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.plan.build import Plan
    from geovlm.run.folder import RunDir
    from geovlm.run.heartbeat import Heartbeat
    from geovlm.run.machines import Machine
    from geovlm.run.status.writer import Status


def write(directory: RunDir, plan: Plan) -> None:
    """Write `resolved.json` and `environment.json`.

    Raises:
        DataError: a resumed run's data have changed.
    """
    from geovlm.plan import descriptions
    from geovlm.plugins import registry
    from geovlm.run import files, resuming

    found = planning.described(plan)
    versions = resuming.other_versions(directory, found)
    resolved = resuming.take_over(directory, plan.resolved(), versions=versions)
    files.write_json(directory.environment, found | resuming.beginning(directory))
    if plan.config.deduplicate != "off":
        files.write_text(directory.deduplicated, plan.deduplicated.as_json())
    descriptions.keep(directory, registry.load(), [task.dataset for task in plan.tasks])
    files.write_json(directory.resolved, resolved)


@contextlib.contextmanager
def records(directory: RunDir, plan: Plan) -> Iterator[None]:
    """Keep the plan's records in the run folder for its processes, and no longer in memory."""
    from geovlm.data import snapshots

    try:
        while plan.records:
            (dataset, split), found = plan.records.popitem()
            contents = plan.checksums[dataset][split]["sha256"]
            snapshots.write(directory.records(dataset, split), found, contents=contents)
            del found
        yield
    finally:
        shutil.rmtree(directory.records("", "").parent, ignore_errors=True)


@contextlib.contextmanager
def heartbeat(
    config: RunConfig, folder: Path, machine: Machine, *, alone: bool = False
) -> Iterator[Heartbeat | None]:
    """Send heartbeats to the other processes; yields `None` if there are none or nothing runs."""
    if machine.alone or alone:
        yield None
        return
    from geovlm.run.folder import RunDir
    from geovlm.run.heartbeat import Heartbeat

    with Heartbeat(RunDir(folder), machine, timeout_s=config.machine_timeout_s) as others:
        yield others


def follow(config: RunConfig, folder: Path, machine: Machine, *, resume: bool) -> None:
    """Run the stages on a machine other than the first, or wait if another process does it.

    Machine 0 plans the run and writes its files, from which the configuration is read.

    Raises:
        RunFailedError: a stage failed, or a machine was lost.
    """
    from geovlm.config.schema import RunConfig
    from geovlm.plan import descriptions
    from geovlm.run import devices, launch
    from geovlm.run.folder import RunDir

    directory = RunDir(folder)
    with heartbeat(config, folder, machine) as others:
        assert others is not None
        if machine.waits:
            others.wait(lambda: others.read(0, "state") == "done")
            return
        output.say(f"machine {machine.rank} of {machine.count}: waiting for the plan of machine 0")
        others.wait(lambda: others.read(0, "planned") is True)
        resolved = RunConfig.model_validate(directory.read_resolved()["config"])
        descriptions.adopt(directory)
        devices.device(resolved)
        launch.run_stages(directory, config=resolved, resume=resume, heartbeat=others)
        # until machine 0 has scored and written everything
        others.wait(lambda: others.read(0, "state") == "done")


def run_stages(
    plan: Plan,
    directory: RunDir,
    *,
    resume: bool,
    others: Heartbeat | None,
    again: str,
    status: Status,
) -> None:
    """Write the plan and run its stages, as the process that planned them; `again` resumes them.

    Raises:
        RunFailedError: a stage failed, or a machine was lost; prints how to continue.
    """
    from geovlm.run import launch
    from geovlm.run.tracking import processes as tracking

    write(directory, plan)
    status.begin(plan.config, plan.resolved()["samples"], resume=resume)
    try:
        with records(directory, plan):
            if others is not None:
                others.publish(planned=True)
                others.wait_for_all()
            with tracking.following(directory, plan.config):
                launch.run_stages(
                    directory, config=plan.config, resume=resume, heartbeat=others, status=status
                )
        status.doing("writing the report")
    except (KeyboardInterrupt, RunFailedError, StoppedError):
        everywhere = "" if others is None else ", with the same --machines … on each"
        output.say(f"to continue: {again}{everywhere}")
        raise


def finish(directory: RunDir, *, json: bool, more: Mapping[str, Any] | None = None) -> None:
    """Write verdict and report and print the scores, or with `json` one document and `more`."""
    from geovlm.cli.results import print_results, print_verdict
    from geovlm.report import page, verdict

    metrics = directory.read_metrics()
    directory.write_verdict(verdict.of(metrics, directory.read_resolved()))
    written = page.write(directory.path)
    metrics = directory.read_metrics()
    if json:
        places = {"output": str(directory.path), "report": str(written)}
        output.print_json({**metrics, **(more or {}), **places})
        return
    print_results(metrics)
    print()
    print_verdict(metrics["verdict"])
    print(f"report: {written}")
