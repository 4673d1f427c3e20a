"""`geovlm report`: write a run's HTML report again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
) -> None:
    """Write report.html from whatever the run has got to, and print where it lies."""
    from geovlm.report.page import write

    print(write(run))
