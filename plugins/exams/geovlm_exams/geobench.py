"""Reads GEOBench-VLM as it is unpacked: `Single`, `Temporal` and `Ref-Det`, each with `qa.json`.

A row has `image_path` (a list in `Temporal`; relative to the folder that holds the parts),
`prompts` (several phrasings of one question), `task`, `question_id`; with choices also
`ground_truth_option` (a letter), `options_list` (texts), `options` (the texts with their letters in
one line) and `cls_description`. Written from The-AI-Alliance/GEO-Bench-VLM, eval_geobenchvlm,
bd07b00; no row was at hand. `ground_truth` of `Ref-Det`, for which the authors publish no code, is
read as a list of polygons in pixels, as third parties read it. A row of another form is refused by
name. Images of xBD were withdrawn from the archives: rows without their file are counted.

All rows are the split `test`; `train` is a folder `train` of the same layout with rows of your own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeGuard

from geovlm import files
from geovlm.api import Json, LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_exams import TemporalOptions, listing

Part: TypeAlias = Literal["Single", "Temporal", "Ref-Det"]
N_SINGLE = 3_211
"""Rows of `Single.parquet` of the release; `qa.json` may have others."""


def load_single(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the questions about one image; see `load_temporal`."""
    return _load(ctx, "Single")


def load_temporal(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the questions about a series, in the order of the file.

    The target has `choices`, `answer`, `type` (the task), `prompts`, `layout` (the text around the
    choices) and `description`. A record has all phrasings; the task makes one sample of each.

    Raises:
        DatasetNotFoundError: there is no `qa.json` of the part.
        DataError: it is not a list, or a row is not of the known form; names it.
    """
    return _load(ctx, "Temporal")


def load_refdet(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the referring sentences; the target has `boxes` around the polygons, in pixels."""
    return _load(ctx, "Ref-Det")


def official_single(ctx: LoadContext) -> int | None:
    """Return the number of rows of the release; `None` for the split `train`."""
    return N_SINGLE if ctx.split == "test" else None


def spread(options: str, texts: list[str]) -> tuple[str, ...]:
    """Return the text around the choices of a line such as `A. lake  B. road`.

    Raises:
        ValueError: the line does not hold each choice behind its letter, in order.

    Example:
        >>> spread("A. lake  B. road", ["lake", "road"])
        ('A. ', '  B. ', '')
    """
    around, at = [], 0
    for letter, text in zip(listing.LETTERS, texts, strict=False):
        mark = re.compile(rf"\s*\(?{letter}[.):]\s*{re.escape(text)}(?!\w)")
        found = mark.match(options, at)
        if found is None:
            raise ValueError(f"'options' does not hold {text[:40]!r} behind {letter!r}")
        around.append(options[at : found.end() - len(text)])
        at = found.end()
    if options[at:].strip(" .;,\n"):
        raise ValueError(f"'options' ends with {options[at:][:40]!r}, which 'options_list' lacks")
    return (*around, options[at:])


def _load(ctx: LoadContext, part: Part) -> Iterator[Sample]:
    base = ctx.root if ctx.split == "test" else ctx.root / "train"
    path = base / part / "qa.json"
    if not path.is_file():
        hint = f"unpack {part}.zip there"
        if ctx.split == "train":
            hint = "GEOBench-VLM is a test set: evaluate on it, or put rows of your own there"
        raise DatasetNotFoundError("exams/geobench", path, hint=hint)
    return islice(_rows(ctx, path, part), ctx.limit)


def _rows(ctx: LoadContext, path: Path, part: Part) -> Iterator[Sample]:
    for number, row in enumerate(files.json_array(path)):
        where = f"row {number} of {path}"
        if not isinstance(row, dict):
            raise DataError(f"{where} is not an object")
        images = [path.parent.parent / each for each in _paths(ctx, row, part, where)]
        missing = next((each for each in images if not each.is_file()), None)
        if missing is not None:
            ctx.skip("image missing", str(missing))
            continue
        prompts = row.get("prompts")
        if not _are_texts(prompts) or not prompts:
            raise DataError(f"{where}: 'prompts' is not a list of questions")
        shared: dict[str, Json] = {"prompts": list(prompts), "type": _text(row, "task", where)}
        own = _polygons(row, where) if part == "Ref-Det" else _choices(row, where)
        name = row.get("question_id", number)
        yield Sample(
            id=f"{ctx.split}/{part}/{number}-{name}",
            images=tuple(images),
            target={**shared, **own},
            question=prompts[0],
        )


def _paths(ctx: LoadContext, row: dict[str, Any], part: Part, where: str) -> list[str]:
    said = row.get("image_path")
    if part != "Temporal":
        return [_text(row, "image_path", where)]
    if not _are_texts(said) or len(said) < 2:
        raise DataError(f"{where}: 'image_path' is not a list of two images or more")
    own: TemporalOptions = ctx.options or TemporalOptions()
    return [said[0], said[-1]] if own.images == "ends" else list(said)


def _choices(row: dict[str, Any], where: str) -> dict[str, Json]:
    texts, letter = row.get("options_list"), row.get("ground_truth_option")
    if not _are_texts(texts) or len(texts) < 2:
        raise DataError(f"{where}: 'options_list' is not a list of choices")
    plain = letter.strip().rstrip(".").upper() if isinstance(letter, str) else ""
    if len(plain) != 1 or plain not in listing.LETTERS[: len(texts)]:
        raise DataError(f"{where}: 'ground_truth_option' {letter!r} is no letter of the choices")
    truth = row.get("ground_truth")
    if isinstance(truth, str) and truth in texts and texts[listing.LETTERS.index(plain)] != truth:
        raise DataError(f"{where}: {plain!r} is not the letter of 'ground_truth' {truth[:40]!r}")
    try:
        layout = spread(_text(row, "options", where), texts)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error
    described = row.get("cls_description")
    return {
        "choices": list(texts),
        "answer": plain,
        "layout": list(layout),
        "description": described if isinstance(described, str) else "",
    }


def _polygons(row: dict[str, Any], where: str) -> dict[str, Json]:
    """Return the box around each polygon, in pixels of the image."""
    found: list[Json] = []
    truth = row.get("ground_truth")
    for polygon in truth if isinstance(truth, list) else ():
        points = polygon if isinstance(polygon, list) else ()
        flat = [n for point in points if isinstance(point, list) and len(point) == 2 for n in point]
        if (
            len(points) < 3
            or len(flat) != 2 * len(points)
            or any(type(n) not in (int, float) for n in flat)
        ):
            raise DataError(f"{where}: 'ground_truth' is not a list of polygons [[x, y], …]")
        xs, ys = flat[::2], flat[1::2]
        found.append([min(xs), min(ys), max(xs), max(ys)])
    if not found:
        raise DataError(f"{where}: 'ground_truth' holds no polygon")
    return {"boxes": found}


def _are_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) and each for each in value)


def _text(row: dict[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where} has no text {key!r}")
    return value
