"""`geovlm report`: writes the HTML report of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]) -> None:
    """Write report.html from the current state of a run, and print its path."""
    from geovlm.report.page import write

    print(write(run))
