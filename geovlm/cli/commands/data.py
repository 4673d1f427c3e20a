"""`geovlm data`: writes a small sample, checks a copy, prints statistics, finds leaks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from geovlm.api import Split
from geovlm.cli import datasets, options, output
from geovlm.cli.arguments import offered, pair
from geovlm.cli.describing import add
from geovlm.cli.groups import subcommands
from geovlm.errors import ConfigError, DataError
from geovlm.plugins import registry

app = subcommands("Write a small sample of a data set, check a copy, print statistics, find leaks.")


@app.command()
def sample(
    dataset: options.DatasetArgument,
    out: Annotated[Path, typer.Option(help="Folder to write to; must be new or empty.")],
    n: Annotated[
        int, typer.Option("-n", min=1, help="Records per split.")
    ] = datasets.MINIATURE_RECORDS,
    seed: Annotated[
        int, typer.Option(help="Seed of the generated data; the same seed gives the same files.")
    ] = 0,
) -> None:
    """Write generated data in the on-disk layout of the data set."""
    from geovlm.data.loading import generator

    spec = registry.load().dataset(dataset)
    make = generator(spec)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"--out {str(out)!r} is not an empty folder",
            hint="nothing is overwritten; give another folder",
        )
    out.mkdir(parents=True, exist_ok=True)
    make(out, n, seed)
    output.say(f"generated data, not {spec.name} itself: {n} records per split")
    print(out)


app.command()(add)


@app.command()
def check(
    dataset: options.DatasetArgument,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of the data set, or of several data sets; NAME=DIR for one of them; or a "
            "description of your own annotations. Repeatable.",
            metavar="<path>",
        ),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every image, not only its header.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="Option of the data set, K=V: --set data.NAME.options.K=V. Repeatable.",
            metavar="K=V",
        ),
    ] = None,
    model: options.OptionalModelOption = None,
    set_: options.SetOption = None,
    json: options.JsonOption = False,
) -> None:
    """Check a copy of a data set; exit code 1 if it is unfit for training.

    A copy is unfit if it has no record, if a split cannot be read, if an id occurs twice, or if an
    image is missing, unreadable, too narrow for models or not of the declared size. Skipped
    records, odd boxes and labels, and images in several splits occur in many official releases and
    are only reported, and so are boxes that are too small for the model that a run would train. An
    interrupted check continues where it stopped.
    """
    from geovlm.config.options import parse
    from geovlm.data import check as inspection

    offered(data or [])
    loaded = registry.load()
    spec = loaded.dataset(dataset)
    if not data and spec.root is None:
        raise ConfigError("missing option '--data'", hint="give the folder of the data set")
    root, config = datasets.locate(spec, data, overrides=set_ or [], registry=loaded, model=model)
    given = config.data_options(spec)
    if option:
        known = dataclasses.asdict(given) if given is not None else {}
        given = parse(spec.options, known | dict(map(pair, option)), path="--option")
    report = inspection.inspect(
        spec,
        root=root,
        options=given,
        decode=decode,
        profile=datasets.facts(config, registry=loaded).profile,
        model=config.model,
        progress=output.progress,
    )
    if json:
        output.print_json(report.as_json())
    else:
        output.fields(report.lines())
    if not report.fit:
        output.say(f"data set {spec.name!r} in {root} is not fit for training, see above")
        raise typer.Exit(1)


@app.command()
def stats(
    tasks: options.TasksArgument,
    data: options.DataOption = None,
    model: Annotated[
        str, typer.Option(help="nano, a folder, a name in the local hub cache, or a model family.")
    ] = "nano",
    split: Annotated[Split, typer.Option(help="Split that is read.")] = "train",
    limit: options.LimitOption = 2000,
    set_: options.SetOption = None,
    json: options.JsonOption = False,
) -> None:
    """Print samples, answers, tokens, and the share of each task in rows and compute.

    Nothing is downloaded. For a model family, such as qwen2_5_vl, the pixel limits are those of the
    family, and text is counted in tokens of the built-in model, which gives more tokens.
    """
    from geovlm.config import model as modelfacts
    from geovlm.config.tasks import configured, weights_of
    from geovlm.plan import statistics

    reader, chosen = datasets.reader(tasks, data=data, overrides=set_ or [], model=model)
    profile = reader.model.profile or modelfacts.limited(
        reader.registry.profile(model), reader.config
    )
    counter = modelfacts.token_counter(reader.model)
    if counter is None:
        output.say(
            f"the tokenizer of {model} is not on this machine: text is counted in tokens of nano"
        )
        built_in = reader.config.model_copy(update={"model": "nano"})
        counter = modelfacts.token_counter(modelfacts.inspect(built_in, registry=reader.registry))
    assert counter is not None  # nano comes with the package
    found = []
    for declared, explicit in chosen:
        task = configured(declared, reader.config, profile=profile)
        try:
            found.append(
                statistics.of_task(
                    task,
                    reader,
                    profile=profile,
                    count_tokens=counter,
                    split=split,
                    limit=limit,
                    options=reader.config.task_options(task),
                )
            )
        except DataError as error:
            if explicit:
                raise
            output.say(f"omitted: {error}")
    weights = weights_of(reader.config, {each.task: each.samples[split] for each in found})
    shared = statistics.with_shares(found, weights=weights) if found else []
    if json:
        output.print_json({"model": model, "tasks": [each.as_json() for each in shared]})
        return
    for number, each in enumerate(shared):
        if number:
            print()
        output.fields(each.lines())


@app.command()
def leaks(
    tasks: options.TasksArgument,
    data: options.DataOption = None,
    fail: Annotated[
        bool, typer.Option("--fail", help="Exit with 1 if anything is shared.")
    ] = False,
    set_: options.SetOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with every pair.")] = False,
) -> None:
    """Find images, events and scenes that training splits share with held-out ones.

    The train splits of all data sets of the tasks are compared with val and test. Copies that were
    re-encoded, resized or brightened are found; cropped, rotated or mirrored ones are not.
    'geovlm run --deduplicate' omits training samples that the evaluation shares.
    """
    from geovlm.data import leaks as leakage
    from geovlm.plan import leaks as plan_leaks

    reader, chosen = datasets.reader(tasks, data=data, overrides=set_ or [])
    specs = [task for task, _ in chosen]
    train, held_out = plan_leaks.parts(reader, specs, held_out=("val", "test"))
    if not train or not held_out:
        raise DataError(
            f"tasks {tasks!r} have no {'held-out' if train else 'training'} split to compare",
            hint="see 'geovlm data check'",
        )
    found = leakage.find(train, held_out, progress=output.progress)
    if json:
        output.print_json(found.as_json())
    else:
        output.fields(found.lines())
    if fail and (found.images or found.grounds):
        output.say(f"{len(found.images)} images, {len(found.grounds)} events or scenes are shared")
        raise typer.Exit(1)
