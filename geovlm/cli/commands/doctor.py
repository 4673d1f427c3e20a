"""`geovlm doctor`: checks if this machine can do a run, or shows a row as a model gets it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geovlm.cli import configuration, options, output
from geovlm.cli.arguments import settings
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
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of future runs, whose disk is checked; default: runs. With --model: "
            "folder for a picture per task, the boxes of the target drawn on the stored image."
        ),
    ] = None,
    deadline: Annotated[
        float, typer.Option(min=1.0, help="Limit in seconds for joining and for all-reduce, each.")
    ] = 120.0,
    model: options.OptionalModelOption = None,
    tasks: options.OptionalTasksOption = None,
    data: options.DataOption = None,
    set_: options.SetOption = None,
    json: options.JsonOption = False,
) -> None:
    """Check versions, plugins, PROJ, disks, GPUs, communication of ranks, a training step, vLLM.

    With --model, check instead that all stages of a run read one row of each task alike, and show
    the row as the model gets it; no weights are loaded. Without --tasks these are all installed
    tasks on generated data.

    Exit code 1 if a check fails.
    """
    from geovlm.plugins import registry
    from geovlm.run.doctor import machine

    if model is not None:
        if processes is not None or gpus is not None:
            raise ConfigError("--model needs no ranks", hint="omit --processes and --gpus")
        _read_alike(settings(tasks=tasks, data=data, model=model), set_ or [], out=out, json=json)
        return
    if tasks is not None or data or set_:
        raise ConfigError("--tasks, --data and --set are for --model", hint="give a --model")
    if processes is not None and gpus is not None:
        raise ConfigError("--processes and --gpus are both given", hint="give one of them")
    checks = [*machine.versions(), *machine.conflicts(), *machine.imports()]
    checks += machine.plugins(registry.load())
    checks += machine.geodata()
    checks += machine.disk(out or Path("runs"))
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
    return [*checks, *smoke.vllm(wanted, deadline_s=deadline)]


def _read_alike(
    given: Mapping[str, Any], overrides: Sequence[str], *, out: Path | None, json: bool
) -> None:
    """Print how a model reads one row per task, and what does not agree.

    Raises:
        GeoVLMError: the model, a chosen task or its data cannot be had.
    """
    from geovlm.plan import checks
    from geovlm.plan.trials import preflight, process
    from geovlm.plugins import registry
    from geovlm.run import adapters

    config = configuration.load(None, overrides=overrides, **given)
    known = registry.load()
    chosen = bool(config.tasks)
    if not chosen:
        usable = sorted(set(known.tasks) - set(known.unusable))
        # a stage that trains is among those that are compared
        names = [n for n in usable if "train" in known.dataset(known.task(n).dataset).splits]
        config = configuration.load(None, overrides=overrides, **{**given, "tasks": names})
    config = adapters.whole(config, merge=False).model_copy(update={"device": "cpu"})
    context = checks.Context(config=config, registry=known, elsewhere=True)
    checks.read(context, leave_out=not chosen)
    trial = preflight.trial(
        config, model=context.model, samples=context.reader.chosen, plans=context.tasks
    )
    if trial is None:
        raise ConfigError(
            f"the tokenizer and processor of model {config.model!r} are not on this machine",
            hint=f"hf download {config.model} --include '*.json' '*.jinja' '*.model'",
        )
    pictures = None if out is None else str(out.absolute())
    found = process.run([trial], on_cpu=True, pictures=pictures)
    refused = (f"{task}: {reason}" for task, reason in context.left_out.items())
    problems = [*found.problems[trial.name], *refused]
    if json:
        output.print_json({"ok": not problems, "problems": problems, **found.shown})
    else:
        for part in _about(found.shown):
            output.fields(part)
            print()
        for problem in problems:
            print(f"FAIL  {problem}")
        if not problems:
            print("ok    all stages read these rows alike")
    if problems:
        raise typer.Exit(1)


def _about(shown: Mapping[str, Any]) -> Iterator[Iterator[tuple[str, str]]]:
    """Yield the names and values to print: of the model, then of each row."""
    if shown:
        yield _about_model(shown)
        yield from map(_about_row, shown["rows"])


def _about_model(shown: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    order = {"xyxy": "x first", "yxyx": "y first"}[shown["box_order"]]
    by = {"multiples": "GeoVLM", "processor": "the processor"}[shown["resize"]]
    yield "family", f"{shown['model_type']}, profile {shown['profile']}"
    yield "boxes", f"{shown['box_frame']}, {order}" if shown["box_frame"] else "frame not known"
    yield "resize", f"by {by}, {shown['min_pixels']:,} to {shown['max_pixels']:,} pixels"
    yield "ends", " ".join(map(repr, shown["ends"]))


def _about_row(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    tokens = row["tokens"]
    yield "task", f"{row['task']}, sample {row['sample']!r}"
    for number, image in enumerate(row["images"], start=1):
        stored, seen = (f"{w} x {h} px" for w, h in (image["stored"], image["seen"]))
        yield f"image {number}", f"stored {stored}, seen {seen}, {image['tokens']:,} tokens"
    counted = f"{tokens['prompt']:,}, of images {tokens['images']:,}"
    yield "tokens", f"prompt {counted}; target {tokens['target']:,}"
    yield "prompt", row["prompt"]
    yield "prefill", repr(row["prefill"]) if row["prefill"] else "none"
    yield "target", row["target"] or "none: the run has no SFT"
    if row["boxes"]:
        yield "boxes", ", ".join(map(str, row["boxes"]))
    if row["picture"]:
        yield "picture", row["picture"]
