"""Reads the rows of a data set that `datasets` saved into a folder (`save_to_disk`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.errors import DataError
from geovlm.plugins.annotations.tables import features

if TYPE_CHECKING:
    from datasets import Dataset

_AT_ONCE = 64


def recognises(source: Path) -> bool:
    """True for a folder that `save_to_disk` wrote, of one split or of several."""
    return (source / "dataset_dict.json").is_file() or (
        (source / "state.json").is_file() and (source / "dataset_info.json").is_file()
    )


def columns(source: Path) -> tuple[str, ...]:
    """Return the columns of all splits, and `split` where there are several.

    Raises:
        DataError: the folder cannot be read.
    """
    parts = _parts(source)
    names = {name: None for part in parts.values() for name in part.column_names}
    return (*names, *(("split",) if "" not in parts and "split" not in names else ()))


def rows(source: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the values of each row; images as bytes or paths, classes by name.

    Raises:
        DataError: the folder cannot be read.
    """
    for split, part in _parts(source).items():
        own = part.features.to_dict()
        number = 0
        for batch in part.with_format("arrow").iter(_AT_ONCE):
            for row in batch.to_pylist():
                found = features.named(row, own)
                yield (
                    f"{source.name} {split} row {number}".replace("  ", " "),
                    ({"split": split, **found} if split else found),
                )
                number += 1


def _parts(source: Path) -> dict[str, Dataset]:
    """Return split -> rows; the name of the only split is empty if the folder has none."""
    import datasets

    try:
        found = datasets.load_from_disk(str(source))
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{source} cannot be read as a saved data set: {' '.join(str(error).split()):.200}",
            hint="save it again with save_to_disk",
        ) from error
    return dict(found) if isinstance(found, datasets.DatasetDict) else {"": found}
