"""Holds the command `geovlm eurosat-split`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def split(data: Annotated[Path, typer.Option(help="Folder of EuroSAT.")]) -> None:
    """Print each tile of a copy of EuroSAT and its split, separated by a tab."""
    from geovlm_eurosat.data import split_of, tiles

    for path in tiles(data):
        print(f"{path.name}\t{split_of(path.stem)}")
