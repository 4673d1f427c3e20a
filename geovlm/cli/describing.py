"""`geovlm data add`: describes annotations of your own by a TOML file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from geovlm.cli import options, output
from geovlm.errors import ConfigError
from geovlm.plugins import registry


def add(
    name: Annotated[str, typer.Argument(help="Name of the data set and of its task.")],
    source: Annotated[
        Path,
        typer.Argument(help="Annotation file or folder, or hub:OWNER/NAME@REVISION in its cache."),
    ],
    format_: Annotated[
        str,
        typer.Option("--format", help="auto looks at the source; else one of docs/your-data.md."),
    ] = "auto",
    task: Annotated[
        str,
        typer.Option(
            help="detect, refer, ground, vqa, classify, caption or mcq; auto looks at the records."
        ),
    ] = "auto",
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images; default: beside the source.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Labels or answers to ask for, separated by commas; default: all."),
    ] = None,
    label_field: Annotated[
        str,
        typer.Option(
            help="Column of a table, or field of a vector layer, that holds the label.",
            metavar="F",
        ),
    ] = "",
    bands: Annotated[
        str,
        typer.Option(
            help="Bands of a scene that are no picture: three as red, green and blue, or one.",
            metavar="R,G,B",
        ),
    ] = "",
    tile: Annotated[
        int, typer.Option(min=0, help="Side of the windows of a scene, pixels; 0: whole scenes.")
    ] = 0,
    overlap: Annotated[
        int, typer.Option(min=0, help="Pixels that neighbouring windows share.")
    ] = 0,
    question: Annotated[
        str,
        typer.Option(
            help="The question; {question} stands for the row's own, {label}, {labels}, {phrase} "
            "and {box} for what a sample has."
        ),
    ] = "",
    split: Annotated[
        str,
        typer.Option(
            help="Shares of training, validation and test, such as 80/10/10, or given; default: "
            "given where the source says it."
        ),
    ] = "",
    group_by: Annotated[
        str,
        typer.Option(
            help="What stays together in one split: image, or a column of a table; default: a "
            "column with a usual name, such as scene_id, else image."
        ),
    ] = "",
    reasoning: Annotated[
        str,
        typer.Option(
            help="auto (derived from boxes, or that of the row), none (answers alone), tags "
            "(<think> in the row's answer), or a column."
        ),
    ] = "auto",
    ask: Annotated[
        str,
        typer.Option(
            help="Questions of detect: one for each label, or one for all of them, whose answer "
            "names the label of each box.",
            metavar="[each|all]",
        ),
    ] = "each",
    seed: options.SeedOption = None,
    licence: Annotated[str, typer.Option(help="Licence of the data.")] = "",
    citation: Annotated[str, typer.Option(help="Publication to cite.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="TOML file to write; default: NAME.toml.")
    ] = None,
    json: options.JsonOption = False,
) -> None:
    """Describe your own annotations by a TOML file; nothing is converted or copied.

    The data set and its task then have this name in every command: `geovlm tasks preview NAME`,
    `geovlm run --tasks NAME`. Files that begin with [dataset] are found in the working folder.
    """
    from geovlm.data import texts
    from geovlm.plugins.annotations import adding, description, guessing, readers
    from geovlm.plugins.annotations.sources import hub

    file = (out or Path(f"{name}.toml")).absolute()
    if file.exists():
        raise ConfigError(f"{file} exists", hint="edit it, remove it, or give another --out")
    if name in registry.load().datasets:
        raise ConfigError(f"a data set {name!r} is installed", hint="choose another name")
    named, place = _from(source, file.parent), source
    if hub.is_named(source):
        place, named = hub.locate(source)
    draft = description.Description(
        name=adding.name_of(name),
        folder=file.parent,
        source=named,
        format=readers.recognise(place) if format_ == "auto" else format_,
        task="vqa" if task == "auto" else task,
        images=_from(images, file.parent) if images is not None else "",
        labels=tuple(part.strip() for part in labels.split(",")) if labels else (),
        columns={"label": label_field} if label_field else {},
        bands=tuple(part.strip() for part in bands.split(",")) if bands else (),
        tile=tile,
        overlap=overlap,
        question=question,
        split=split or "80/10/10",
        group_by=group_by or "image",
        reasoning=reasoning,
        seed=seed or 0,
        licence=licence,
        citation=citation,
    )
    description.check(draft)
    made = guessing.complete(draft, task="" if task == "auto" else task, group=group_by)
    made = dataclasses.replace(made, ask=ask)
    description.check(made)
    found = adding.survey(made, defect=texts.Gate().defect)
    made = adding.settle(made, found, split=split)
    text = adding.text(made)
    description.parse(text, file)
    file.write_text(text, encoding="utf-8")
    if json:
        output.print_json({"file": str(file), **dataclasses.asdict(found)})
        return
    output.fields(adding.lines(made, found))
    print(file)


def _from(path: Path, folder: Path) -> str:
    """Return a path as a TOML file in `folder` names it: relative where it lies below."""
    whole = path.expanduser().absolute()
    return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else str(whole)
