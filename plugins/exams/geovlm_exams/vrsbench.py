"""Reads VRSBench as it is unpacked: two folders of images, three files of truths, one of training.

Images are 512 x 512 px. `VRSBench_EVAL_{vqa,referring,Cap}.json` are lists of `{"image_id",
"question", "ground_truth", "question_id", "type", …}`; a referring truth is `{<25><40><33><60>}`,
x0, y0, x1, y1 in hundredths of the image, and says whether it is `unique` in its class. Written
from lx709/VRSBench, prepare_eval_all.ipynb, d38cee1, which makes these files, and one published
row. `VRSBench_train.json` is a list of `{"image", "conversations": [{"from", "value"}, …]}`; a turn
of the user begins with `[vqa]`, `[refer]` or `[caption]`. No row of it was at hand. A row of
another form is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from geovlm import files
from geovlm.api import Json, LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError

Kind: TypeAlias = Literal["vqa", "refer", "caption"]
SIDE_PX = 512
CAPTION = "Describe the image in detail"
"""The question of `VRSBench_EVAL_Cap.json`."""
N_OFFICIAL: dict[Kind, dict[str, int]] = {
    "vqa": {"train": 85_813, "test": 37_409},
    "refer": {"train": 36_313, "test": 16_159},
    "caption": {"train": 20_264, "test": 9_350},
}
_TRUTHS: dict[Kind, str] = {
    "vqa": "VRSBench_EVAL_vqa.json",
    "refer": "VRSBench_EVAL_referring.json",
    "caption": "VRSBench_EVAL_Cap.json",
}
_TRAINING = "VRSBench_train.json"
_IMAGES = {"train": "Images_train", "test": "Images_val"}
_BOX = re.compile(r"\{<(\d{1,3})><(\d{1,3})><(\d{1,3})><(\d{1,3})>\}")
_PHRASE = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_TAG = re.compile(r"\s*(?:<image>)?\s*\[(vqa|refer|caption)\]\s*")
_KINDS = (
    (("how many", "number of"), "object quantity"),
    (("color", "colour"), "object color"),
    (("shape",), "object shape"),
    (("direction", "orient"), "object direction"),
    (("where", "located", "position"), "object position"),
    (("rural", "urban", "scene", "type of area", "land cover"), "scene type"),
    (("size", "larger", "smaller", "largest", "smallest"), "object size"),
)
"""Words of a training question, and its type."""
_SCENE = ("image", "rural or urban")
"""Types that the authors count as `scene type`."""


class Row(NamedTuple):
    """A question with its truth, wherever it stood."""

    name: str
    image: str
    question: str
    truth: str
    kind: str = ""
    unique: bool | None = None
    """True if the object is the only one of its class in the image."""


def load_vqa(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the questions of a split; the target has `answer` and `type`.

    The types of training questions follow from their words: the file names none.

    Raises:
        DatasetNotFoundError: the file of truths or the folder of images does not exist.
        DataError: the file is no list, or a row is not of the known form; names it.
    """
    return _samples(ctx, "vqa", _answer)


def load_refer(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the referring sentences of a split; errors as `load_vqa`.

    The target has `boxes` in pixels, `hundredths` (the truth as published) and, in the split test,
    `unique`. A box without width or height, as rounding down leaves some, is one hundredth wide.
    """
    return _samples(ctx, "refer", _boxes)


def load_caption(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the captions of a split; the target has `captions`; errors as `load_vqa`."""
    return _samples(ctx, "caption", lambda row: {"captions": [row.truth]})


def official_vqa(ctx: LoadContext) -> int:
    """Return the number of questions."""
    return N_OFFICIAL["vqa"][ctx.split]


def official_refer(ctx: LoadContext) -> int:
    """Return the number of referring sentences."""
    return N_OFFICIAL["refer"][ctx.split]


def official_caption(ctx: LoadContext) -> int:
    """Return the number of captions."""
    return N_OFFICIAL["caption"][ctx.split]


def hundredths(text: str) -> list[int] | None:
    """Return the box in a text such as `{<25><40><33><60>}`; `None` if it is not one box."""
    found = _BOX.fullmatch(text.strip())
    return [int(number) for number in found.groups()] if found else None


def _samples(
    ctx: LoadContext, kind: Kind, target: Callable[[Row], dict[str, Json]]
) -> Iterator[Sample]:
    path = files.find(ctx.root, _TRAINING if ctx.split == "train" else _TRUTHS[kind])
    if not path.is_file():
        hint = "download it from xiang709/VRSBench into the folder of the data set"
        raise DatasetNotFoundError(f"exams/vrsbench_{kind}", path, hint=hint)
    name = _IMAGES[ctx.split]
    folders = [each for each in (ctx.root / name / name, ctx.root / name) if each.is_dir()]
    if not folders:
        hint = f"unpack {name}.zip there"
        raise DatasetNotFoundError(f"exams/vrsbench_{kind}", ctx.root / name, hint=hint)
    rows = _training(path, kind) if ctx.split == "train" else _evaluation(path, kind)
    return islice(_found(ctx, rows, files.Images(folders), target), ctx.limit)


def _found(
    ctx: LoadContext,
    rows: Iterator[Row],
    images: files.Images,
    target: Callable[[Row], dict[str, Json]],
) -> Iterator[Sample]:
    for row in rows:
        image = images.find(row.image)
        if image is None:
            ctx.skip("image missing", row.image)
            continue
        yield Sample(
            id=f"{ctx.split}/{row.name}",
            images=(image,),
            target=target(row),
            question=row.question,
            image_sizes=((SIDE_PX, SIDE_PX),),
        )


def _evaluation(path: Path, kind: Kind) -> Iterator[Row]:
    """Yield the rows of a file of truths, in its order."""
    for number, row in enumerate(files.json_array(path)):
        where = f"row {number} of {path}"
        image, asked, truth = (
            _text(row, key, where) for key in ("image_id", "question", "ground_truth")
        )
        if kind == "refer" and hundredths(truth) is None:
            raise DataError(f"{where}: 'ground_truth' {truth[:60]!r} is not one box")
        said = row.get("type")
        made = Row(str(row.get("question_id", number)), image, asked, truth)
        if kind == "vqa":
            plain = str(said or "").strip().lower()
            made = made._replace(kind="scene type" if plain in _SCENE else plain)
        if kind == "refer":
            if not isinstance(row.get("unique"), bool):
                raise DataError(f"{where}: 'unique' is neither true nor false")
            made = made._replace(unique=row["unique"])
        yield made


def _training(path: Path, kind: Kind) -> Iterator[Row]:
    """Yield the exchanges of one kind, in the order of the file."""
    for number, record in enumerate(files.json_array(path)):
        where = f"row {number} of {path}"
        image = _text(record, "image", where)
        turns = record.get("conversations")
        if not isinstance(turns, list) or len(turns) % 2:
            raise DataError(f"{where}: 'conversations' is not a list of questions and answers")
        for turn in range(0, len(turns), 2):
            asked, said = (_text(each, "value", where) for each in turns[turn : turn + 2])
            tag = _TAG.match(asked)
            if tag is None:
                raise DataError(
                    f"{where}: a question begins with none of [vqa], [refer], [caption]"
                )
            if tag[1] == kind:
                yield _exchange(
                    f"{number}-{turn // 2}", image, asked[tag.end() :], said, kind, where
                )


def _exchange(name: str, image: str, asked: str, said: str, kind: Kind, where: str) -> Row:
    if kind == "caption":
        return Row(name, image, CAPTION, said)
    if kind == "vqa":
        return Row(name, image, asked.strip(), said, _kind_of(asked.lower(), said.lower()))
    phrase = _PHRASE.search(asked)
    if phrase is None or hundredths(said) is None:
        raise DataError(f"{where}: a question without <p>…</p>, or an answer that is not one box")
    return Row(name, image, phrase[1].strip(), said)


def _kind_of(asked: str, said: str) -> str:
    """Return the type of a training question by a rule of ours: the file names none."""
    if said.strip(" .") in ("yes", "no"):
        return "object existence"
    return next((kind for words, kind in _KINDS if any(each in asked for each in words)), "")


def _answer(row: Row) -> dict[str, Json]:
    return {"answer": row.truth, **({"type": row.kind} if row.kind else {})}


def _boxes(row: Row) -> dict[str, Json]:
    truth = hundredths(row.truth)
    assert truth is not None  # the row was refused
    x0, y0, x1, y1 = truth
    wide = (x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))
    made: dict[str, Json] = {
        "boxes": [[value * SIDE_PX / 100 for value in wide]],
        "hundredths": list(truth),
    }
    return made if row.unique is None else {**made, "unique": row.unique}


def _text(row: Any, key: str, where: str) -> str:
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where} has no text {key!r}")
    return value
