"""`geovlm report`: writes the HTML report of a run, or of runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geovlm.cli import results
from geovlm.errors import ConfigError

_COMPARISON = Path("compare.html")


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Folder of a run; several are compared. RUN:STAGE names a stage, such as "
            "runs/a:sft.",
        ),
    ],
    stage: Annotated[
        str | None,
        typer.Option(
            help="Stage of runs that name none, in a comparison; default: the last evaluated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help=f"File of a comparison; default: {_COMPARISON}.", metavar="FILE"),
    ] = None,
) -> None:
    """Write report.html of a run, or compare runs on their common samples; prints the file's path.

    A comparison also prints a line for each task and run. The first run is the one that the others
    are measured against.
    """
    from geovlm.plan import descriptions

    for word in runs:
        folder = word if Path(word).is_dir() else word.rpartition(":")[0]
        descriptions.adopt_around(Path(folder))
    if len(runs) > 1:
        _compare(runs, stage=stage, out=out or _COMPARISON)
        return
    for name, value in {"--stage": stage, "--out": out}.items():
        if value is not None:
            raise ConfigError(f"{name} is of a comparison", hint="give two runs, or leave it out")
    from geovlm.report.page import write

    print(write(Path(runs[0])))


def _compare(runs: list[str], *, stage: str | None, out: Path) -> None:
    from geovlm.report.compare import comparison, page

    found = comparison.of(runs, stage=stage)
    results.print_comparison(found)
    page.write(found, out)
    print(out)
