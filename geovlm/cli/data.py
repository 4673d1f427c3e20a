"""`geovlm data`: a miniature of a data set in its real layout, and the check of a copy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geovlm import registry
from geovlm.api import DatasetSpec
from geovlm.cli import output
from geovlm.cli.arguments import pair
from geovlm.cli.groups import subcommands
from geovlm.errors import ConfigError, DatasetNotFoundError
from geovlm.registry import resolve

app = subcommands("Write a miniature of a data set, or validate a copy.")

MINIATURE_RECORDS = 16
"""Records per split of the miniature that stands in where no data is given."""


@app.command()
def sample(
    dataset: Annotated[str, typer.Argument(help="Name of the data set.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must be new or empty.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Records per split.")] = MINIATURE_RECORDS,
    seed: Annotated[int, typer.Option(help="Same seed, same files.")] = 0,
) -> None:
    """Write generated data in the data set's real on-disk layout."""
    spec = registry.load().dataset(dataset)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"--out {str(out)!r} is not an empty folder",
            hint="nothing is overwritten; name another",
        )
    make = resolve(spec.make_sample)
    out.mkdir(parents=True, exist_ok=True)
    make(out, n, seed)
    output.say(f"generated data, not {spec.name} itself: {n} records per split")
    print(out)


@app.command()
def check(
    dataset: Annotated[str, typer.Argument(help="Name of the data set.")],
    data: Annotated[Path, typer.Option(help="The data set's folder, or a folder of data sets.")],
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every image, not only its header.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the data set, K=V. Repeatable.", metavar="K=V"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Validate a copy of a data set; exit code 1 if it is not fit for training.

    Unfit: an image that is missing, unreadable, not of the size that the data set declares or so
    narrow that models refuse it, an id used twice, a split that cannot be read, no record at all.
    Skipped records, odd boxes and labels, and images in several splits belong to many official
    releases and are only reported. A check that is interrupted goes on where it stopped.
    """
    from geovlm import inspection
    from geovlm.config import DataConfig
    from geovlm.plan_data import parse_options

    spec = registry.load().dataset(dataset)
    root = locate(spec, data)
    own = DataConfig(options=dict(map(pair, option or ())))
    report = inspection.inspect(
        spec,
        root=root,
        options=parse_options(spec.options, own, path="--option"),
        decode=decode,
        progress=output.progress,
    )
    if json:
        output.print_json(report.as_json())
    else:
        output.fields(report.lines())
    if not report.fit:
        output.say(f"data set {spec.name!r} in {root} is not fit for training, see above")
        raise typer.Exit(1)


def locate(spec: DatasetSpec, data: Path | None, *, quiet: bool = False) -> Path:
    """Return the data set's folder: `data` itself, or what it holds; generated data if `None`.

    Raises:
        DatasetNotFoundError: `data` does not exist.
    """
    from geovlm.loading import find_root, sample_root

    if data is None:
        if not quiet:
            output.say(f"generated data, not {spec.name} itself; give yours with --data DIR")
        return sample_root(spec, n=MINIATURE_RECORDS, seed=0)
    if not data.is_dir():
        raise DatasetNotFoundError(spec.name, data, hint="--data takes an existing folder")
    if any((data / name).is_dir() for name in spec.folders):
        return find_root(spec, data_root=data)
    if not quiet and data.name not in spec.folders:
        output.say(f"{data} holds no {' or '.join(spec.folders)}: reading it as the set itself")
    return data
