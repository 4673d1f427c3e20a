"""Reads CHOICE as it is unpacked: `<level>/<dimension>/<task>/{images/, <task>.json}`.

Each JSON file is a list of `{"id", "image_path", "question", "answer"}`; choices are the last lines
of the question, the answer is a letter. In `visual_grounding` the answer is the four corners of a
box, `[x, y]` in shares of width and height. `referring_expression_segmentation` has `mask_path`
instead; masks are left out and counted. Format measured on the 460 rows of ShawnAn-WHU/CHOICE,
CHOICE_subset, eb6c430; the whole set is that of An-Xiao/CHOICE.

All rows are the split `test`. The split `train` is a folder `train` of the same layout, for
questions of your own: the benchmark has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from geovlm import files, raster
from geovlm.api import Json, LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_exams import listing

N_OFFICIAL = 10_507
"""Problems of the whole set, masks included; arXiv 2411.18145."""
_LEVELS = ("perception", "reasoning")
_INNER = (".", "CHOICE_subset", "CHOICE")
"""Folders of the levels: the data set's own, or that of the archive or clone."""


def official(ctx: LoadContext) -> int | None:
    """Return the number of problems of the whole set; `None` for the split `train`."""
    return N_OFFICIAL if ctx.split == "test" else None


def load(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the questions of a split, task by task in the order of the folders' names.

    The target of a question with choices has `choices`, `answer` (a letter), `type` (the task),
    `dimension`, and `layout`, the text around the choices. That of a grounded one has `boxes`, the
    box around the four corners, and `corners`, `[x, y]` in pixels.

    Raises:
        DatasetNotFoundError: the folder holds no `perception` and no `reasoning`.
        DataError: a file is not a list of objects, or a row is not of a known form; names it.
    """
    base = ctx.root if ctx.split == "test" else ctx.root / "train"
    inner = [
        base / each for each in _INNER if any((base / each / level).is_dir() for level in _LEVELS)
    ]
    if not inner:
        hint = "give the folder that holds perception/ and reasoning/"
        if ctx.split == "train":
            hint = (
                "CHOICE is a test set: evaluate on it, or put training questions of the same "
                "layout there"
            )
        raise DatasetNotFoundError("exams/choice", base / _LEVELS[0], hint=hint)
    return islice(_rows(ctx, inner[0]), ctx.limit)


def _rows(ctx: LoadContext, base: Path) -> Iterator[Sample]:
    for level in _LEVELS:
        for path in sorted((base / level).glob("*/*/*.json")):
            listed = files.read_json(path)
            if not isinstance(listed, list):
                raise DataError(f"{path} is not a list of questions")
            images = files.Images([path.parent / "images"])
            for number, row in enumerate(listed):
                sample = _sample(ctx, row, images, path=path, number=number)
                if sample is not None:
                    yield sample


def _sample(
    ctx: LoadContext, row: Any, images: files.Images, *, path: Path, number: int
) -> Sample | None:
    """Return the sample of a row; `None` if it is left out."""
    where = f"row {number} of {path}"
    named: dict[str, Any] = {
        key: row.get(key) if isinstance(row, dict) else None
        for key in ("id", "image_path", "question")
    }
    lacking = [key for key, value in named.items() if not isinstance(value, str)]
    if lacking:
        raise DataError(f"{where} has no text {lacking[0]!r}")
    name = Path(named["image_path"]).name
    if "answer" not in row:
        reason = "mask: there is no task for it" if "mask_path" in row else "no answer"
        ctx.skip(reason, where)
        return None
    image = images.find(name)
    if image is None:
        ctx.skip("image missing", str(path.parent / "images" / name))
        return None
    target = _target(row, image, where=where)
    kinds: dict[str, Json] = {"type": path.stem, "dimension": path.parent.parent.name}
    return Sample(
        id=f"{ctx.split}/{path.stem}/{named['id']}",
        images=(image,),
        target={**target, **kinds},
        question=named["question"].partition("\n")[0],
    )


def _target(row: dict[str, Any], image: Path, *, where: str) -> dict[str, Json]:
    answer = row["answer"]
    if isinstance(answer, str):
        try:
            listed = listing.parse(row["question"])
        except ValueError as error:
            raise DataError(f"{where}: {error}") from error
        if answer not in listing.LETTERS[: len(listed.choices)] or len(answer) != 1:
            raise DataError(f"{where}: the answer {answer!r} is no letter of its choices")
        return {"choices": list(listed.choices), "layout": list(listed.layout), "answer": answer}
    corners = _corners(answer)
    if corners is None:
        raise DataError(f"{where}: the answer is neither a letter nor four corners")
    width, height = raster.image_size(image)
    scaled = [(x * width, y * height) for x, y in corners]
    xs, ys = ([point[axis] for point in scaled] for axis in (0, 1))
    placed: list[Json] = [[x, y] for x, y in scaled]
    return {"boxes": [[min(xs), min(ys), max(xs), max(ys)]], "corners": placed}


def _corners(answer: Any) -> list[tuple[float, float]] | None:
    """Return four points in shares of the image; `None` if the answer is none."""
    if not isinstance(answer, list) or len(answer) != 4:
        return None
    found = [
        (each[0], each[1])
        for each in answer
        if isinstance(each, list) and len(each) == 2 and all(type(n) in (int, float) for n in each)
    ]
    sound = len(found) == 4 and all(0 <= n <= 1 for point in found for n in point)
    return found if sound else None
