"""`geovlm run`: the main job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geovlm.cli import output
from geovlm.errors import ConfigError, RunFailedError, StoppedError

if TYPE_CHECKING:
    from geovlm.config import RunConfig
    from geovlm.plan import Plan
    from geovlm.rundir import RunDir

_MAY_CHANGE = {"processes", "gpus", "device", "output", "preset", "health", "timeout_s"}
"""Fields that a resumed run may have other values of."""


def run(
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file; see 'geovlm config schema'.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Tasks or prefixes of tasks, with commas between.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of all data sets, or of one. Repeatable. Without it, data are generated.",
            metavar="ROOT|NAME=DIR",
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="nano (default) or geovlm-r1; below the file and options.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="nano, a folder, or a name on the Hugging Face hub.")
    ] = None,
    rewards: Annotated[
        str | None, typer.Option(help="Which set trains: paper or robust; default: the preset's.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any key, such as stages.0.steps=5. Repeatable.", metavar="KEY=VALUE"
        ),
    ] = None,
    processes: Annotated[int | None, typer.Option(help="Processes per stage on the CPU.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs, one process each.")] = None,
    out: Annotated[
        Path | None, typer.Option("--output", help="Run directory; default runs/<tasks>.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of data order and sampling.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and the command lines, and stop.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """SFT, probe, GRPO, evaluation and report on some tasks.

    Without --data the data are generated, without --model the built-in model is used: the whole job
    runs on a laptop without a network.
    """
    from geovlm import launch, plan_text, rundir

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
    loaded, folder = _configure(config, given, preset=preset, overrides=set_ or [], resume=resume)
    if not dry_run:
        rundir.check_writable(folder)
    plan = prepare(loaded, folder=folder)
    if not plan.stages:
        raise ConfigError("the configuration has no stages", hint="use 'geovlm eval' to score only")
    if dry_run:
        print_dry_run(plan, json=json)
        return
    for line in plan_text.lines(plan):
        output.say(line)
    directory = rundir.RunDir(folder)
    with directory.locked():
        write(directory, plan)
        try:
            launch.run_stages(directory, config=plan.config, resume=resume)
        except (KeyboardInterrupt, RunFailedError, StoppedError):
            output.say(f"to go on: geovlm run --resume --output {folder}")
            raise
        finish(directory, json=json)


def split_names(text: str | None) -> list[str] | None:
    """Return the names in `a,b`, or `None`."""
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()]


def split_data(values: Sequence[str]) -> tuple[Path | None, dict[str, dict[str, str]]]:
    """Return the common data root, and the folders of single data sets.

    Raises:
        ConfigError: two common roots.
    """
    root: Path | None = None
    roots: dict[str, dict[str, str]] = {}
    for value in values:
        name, sign, folder = value.partition("=")
        if sign and not Path(value).exists():
            roots[name] = {"root": folder}
        elif root is not None:
            raise ConfigError(
                f"--data {value}: the common folder is {root} already",
                hint="the folder of one data set is given as --data NAME=DIR",
            )
        else:
            root = Path(value)
    return root, roots


def prepare(config: RunConfig, *, folder: Path) -> Plan:
    """Resolve the device and return the plan of a run into `folder`."""
    from geovlm import launch, plan, registry

    device = launch.device(config, gpus=len(launch.visible_gpus()))
    resolved = config.model_copy(update={"device": device, "output": folder})
    return plan.make(resolved, registry=registry.load(), output=folder)


def print_dry_run(plan: Plan, *, json: bool) -> None:
    """Print the plan and the command lines to standard output."""
    import shlex

    from geovlm import plan_text

    if json:
        output.print_json(plan_text.table(plan))
        return
    print("\n".join(plan_text.lines(plan)))
    for argv in plan_text.commands(plan):
        print(f"$ {shlex.join(argv)}")


def write(directory: RunDir, plan: Plan) -> None:
    """Write `resolved.json` and `environment.json`.

    Raises:
        DataError: a run goes on whose data have changed.
    """
    from geovlm import environment, launch, registry, resuming

    resolved = resuming.take_over(directory, plan.resolved())
    gpus = len(launch.visible_gpus())
    described = environment.describe(plan, registry=registry.load(), gpus=gpus)
    directory.write_json(directory.environment, described)
    if plan.config.deduplicate != "off":
        directory.write_text(directory.deduplicated, plan.deduplicated.as_json())
    directory.write_json(directory.resolved, resolved)


def finish(directory: RunDir, *, json: bool) -> None:
    """Write the report and print the scores."""
    from geovlm.cli.results import print_results
    from geovlm.report import write as write_report

    page = write_report(directory.path)
    metrics = directory.read_metrics()
    if json:
        output.print_json({**metrics, "output": str(directory.path), "report": str(page)})
        return
    print_results(metrics)
    print(f"report: {page}")


def refuse_taken(folder: Path) -> None:
    """Refuse a folder that holds another run, or anything else.

    A run that stopped before it had anything to lose may be started again.

    Raises:
        ConfigError: it does.
    """
    from geovlm.rundir import LOCK, RunDir

    run = RunDir(folder)
    if run.is_run and not run.has_progress:
        return
    if run.is_run:
        raise ConfigError(
            f"{folder} holds a run already",
            hint="--resume goes on with it; or give another --output",
        )
    if folder.is_file() or (folder.is_dir() and any(p.name != LOCK for p in folder.iterdir())):
        raise ConfigError(f"{folder} is not an empty folder", hint="give another --output")


def _configure(
    file: Path | None,
    given: dict[str, Any],
    *,
    preset: str | None,
    overrides: Sequence[str],
    resume: bool,
) -> tuple[RunConfig, Path]:
    """Return the configuration and the run directory."""
    from geovlm import config_load, rundir

    said = {name for name, value in given.items() if value is not None} - _MAY_CHANGE
    if resume and file is None and not overrides and not said and given["output"] is not None:
        return _stored(rundir.RunDir(given["output"].absolute()), given)
    loaded = config_load.load(file, preset=preset, overrides=overrides, **given)
    if not resume:
        if loaded.output is not None:
            refuse_taken(loaded.output)
        return loaded, loaded.output or rundir.default_output(list(loaded.tasks)).absolute()
    folder = loaded.output or rundir.latest_output(list(loaded.tasks))
    if folder is None or not rundir.RunDir(folder).is_run:
        where = folder or Path("runs") / "_".join(loaded.tasks)
        raise ConfigError(
            f"nothing to resume: {where} holds no run", hint="leave out --resume to start one"
        )
    stored = rundir.RunDir(folder.absolute()).read_resolved()["config"]
    differing = differences(stored, loaded.model_dump(mode="json"))
    if differing:
        raise ConfigError(
            f"{folder} was started with other values of {', '.join(differing)}",
            hint="resume with the same ones, or start another run with --output",
        )
    return loaded, folder.absolute()


def _stored(directory: RunDir, given: dict[str, Any]) -> tuple[RunConfig, Path]:
    """Return the configuration that a run was started with, on other processes if asked for."""
    from geovlm.config import RunConfig

    if not directory.is_run:
        raise ConfigError(
            f"nothing to resume: {directory.path} holds no run",
            hint="leave out --resume to start one",
        )
    stored = directory.read_resolved()["config"]
    changed = {key: given[key] for key in ("processes", "gpus") if given[key] is not None}
    if changed:
        changed["device"] = "auto" if "gpus" in changed else stored["device"]
    return RunConfig.model_validate(stored | changed), directory.path


def differences(before: Any, after: Any, *, path: str = "") -> list[str]:
    """Return the paths of all keys whose values differ, except those that may."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [key for key in {**before, **after} if path or key not in _MAY_CHANGE]
        return [
            found
            for key in keys
            for found in differences(before.get(key), after.get(key), path=f"{path}.{key}")
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            found
            for i, (a, b) in enumerate(zip(before, after, strict=True))
            for found in differences(a, b, path=f"{path}.{i}")
        ]
    return [] if before == after else [path.lstrip(".")]
