"""Reads XLRS-Bench-lite: Parquet files with questions, choices and the bytes of huge images.

Columns: `index`, `question`, `multi-choice options` (texts such as `(A) two`), `answer` (letters),
`category` (`<L2>/<L3>`), `l2-category`, `image` (list of `{bytes, path}`). Written from
EvolvingLMMs-Lab/lmms-eval, lmms_eval/tasks/xlrs, 13cba15; no row was at hand, and a row of another
form is refused by name. Images are written to the cache once, as files.

Images have about 10,000 x 10,000 px, and a model sees them within its largest area. With `windows`
it also sees n x n windows that tile the image, each within that area: the prompt is 1 + n² images
long.

All rows are the split `test`; `train` is a folder `train` of the same layout with rows of your own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from geovlm import files, raster
from geovlm.api import Json, LoadContext, Raster, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_exams import XlrsOptions, listing

SEVERAL = "Land use classification/Overall Land use classification"
"""The one category in which several letters are right."""
CATEGORIES = (
    "Complex reasoning/Anomaly Detection and Interpretation",
    "Complex reasoning/Environmental condition reasoning",
    "Complex reasoning/Route planning",
    "Counting/Counting with changing detection",
    "Counting/Counting with complex reasoning",
    "Counting/Overall counting",
    "Counting/Regional counting",
    SEVERAL,
    "Land use classification/Regional Land use classification",
    "Object properties/Object classification",
    "Object properties/Object color",
    "Object properties/Object motion state",
    "Object spatial relationship/Object spatial relationship",
)
"""Categories that lmms-eval knows; its macro average is over them."""
LISTED = "The choices are listed below:\n"
_COLUMNS = ("index", "question", "multi-choice options", "answer", "category", "image")
_OPTION = re.compile(r"(\(?([A-Z])[).:]\s*)(\S.*)", re.DOTALL)
_ENDINGS = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"II*\0": ".tif", b"MM\0*": ".tif"}


def load(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the questions of a split, file by file in the order of their names.

    The target has `choices`, `answer` (letters with blanks between), `type` (the category) and
    `layout`, the text around the choices without the request behind them.

    Raises:
        DatasetNotFoundError: there is no Parquet file.
        DataError: a file lacks a column, or a row is not of the known form; names it.
    """
    base = ctx.root if ctx.split == "test" else ctx.root / "train"
    found = sorted([*base.glob("*.parquet"), *base.glob("data/*.parquet")])
    if not found:
        hint = "download initiacms/XLRS-Bench-lite there"
        if ctx.split == "train":
            hint = "XLRS-Bench is a test set: evaluate on it, or put rows of your own there"
        raise DatasetNotFoundError("exams/xlrs", base / "*.parquet", hint=hint)
    return islice(_rows(ctx, found), ctx.limit)


def _rows(ctx: LoadContext, paths: list[Path]) -> Iterator[Sample]:
    import pyarrow.parquet as pq

    for path in paths:
        with pq.ParquetFile(path) as source:
            lacking = [name for name in _COLUMNS if name not in source.schema_arrow.names]
            if lacking:
                raise DataError(f"{path} has no column {lacking[0]!r}")
            batches = source.iter_batches(1, columns=list(_COLUMNS))  # a row has 100 MB
            for number, batch in enumerate(batches):
                (row,) = batch.to_pylist()
                yield _sample(ctx, row, where=f"row {number} of {path}")


def _sample(ctx: LoadContext, row: dict[str, Any], *, where: str) -> Sample:
    for key in ("question", "answer", "category"):
        if not isinstance(row[key], str) or not row[key]:
            raise DataError(f"{where} has no text {key!r}")
    if row["category"] not in CATEGORIES:
        raise DataError(f"{where}: category {row['category']!r} is none of XLRS-Bench-lite")
    layout, choices = _listing(row, where)
    letters = sorted(set(row["answer"]) - set(" ,"))
    allowed = set(listing.LETTERS[: len(choices)])
    alone = len(letters) == 1 or row["category"] == SEVERAL
    if not letters or not set(letters) <= allowed or not alone:
        raise DataError(f"{where}: the answer {row['answer']!r} is no letter of its choices")
    target: dict[str, Json] = {
        "choices": list(choices),
        "layout": list(layout),
        "answer": " ".join(letters),
        "type": row["category"],
    }
    own: XlrsOptions = ctx.options or XlrsOptions()
    return Sample(
        id=f"{ctx.split}/{row['index']}",
        images=_images(row["image"], windows=own.windows, where=where),
        target=target,
        question=row["question"],
    )


def _listing(row: dict[str, Any], where: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the text around the choices and the choices, as lmms-eval puts them together."""
    said = row["multi-choice options"]
    found = [_OPTION.fullmatch(each) if isinstance(each, str) else None for each in said or ()]
    if len(found) < 2 or [each and each[2] for each in found] != list(
        listing.LETTERS[: len(found)]
    ):
        raise DataError(f"{where}: 'multi-choice options' are not (A) …, (B) …")
    parts = [(each[1], each[3]) for each in found if each is not None]
    heads = [f"{row['question']}{LISTED}{parts[0][0]}", *(f"\n{mark}" for mark, _ in parts[1:])]
    return (*heads, "\n"), tuple(text for _, text in parts)


def _images(said: Any, *, windows: int, where: str) -> tuple[Path | Raster, ...]:
    """Return each image, and its windows behind it."""
    made: list[Path | Raster] = []
    for each in said or ():
        data = each.get("bytes") if isinstance(each, dict) else None
        known = data if isinstance(data, bytes) else b""
        ending = next((e for head, e in _ENDINGS.items() if known.startswith(head)), "")
        if not ending:
            raise DataError(f"{where}: an image is not the bytes of a JPEG, PNG or TIFF file")
        path = files.keep(known, folder="xlrs", ending=ending)
        made += [path, *_windows(path, n=windows)]
    if not made:
        raise DataError(f"{where} has no image")
    return tuple(made)


def _windows(path: Path, *, n: int) -> Iterator[Raster]:
    """Yield n x n windows that tile an image, row by row."""
    if not n:
        return
    width, height = raster.image_size(path)
    xs, ys = ([side * at // n for at in range(n + 1)] for side in (width, height))
    for row in range(n):
        for column in range(n):
            x, y = xs[column], ys[row]
            yield Raster(
                file=path,
                bands=("red", "green", "blue"),
                high=255,
                window=(x, y, xs[column + 1] - x, ys[row + 1] - y),
            )
