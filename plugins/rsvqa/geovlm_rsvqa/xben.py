"""Reads RSVQAxBEN as it is unpacked, and asks its questions.

`Images/<id>.tif` (uint8, B04, B03 and B02 of a BigEarthNet patch, 120 px) beside
`RSVQAxBEN_split_{train,val,test}_{images,questions,answers}.json`. The question lists of all splits
take several GB, so lists are read value by value and never held. That needs no search, because the
authors write the answers of a split in the order of its questions (syvlo/RSVQAxBEN,
BigEarthNetVQA.ipynb, 7e8e922): both lists are read side by side. Rows of other splits are stubs
`{"id": n, "active": false}`.

No official file of this size was at hand: the reader follows the notebook that wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from geovlm import files
from geovlm.api import Json, LoadContext, PromptContext, Sample, Turn
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_rsvqa import LandCoverOptions

UNSPLIT = "LRBENquestions.json"
SUFFIXES = {
    "presence": "Answer yes or no.",
    "LC": "Answer with the names of the classes, as in 'forests, pastures and water bodies', or "
    "with None.",
}
"""Type of a question -> the sentence after it, which is our own: the authors train a classifier."""
_NUMBER = {"train": 344_385, "val": 56_829, "test": 118_125}
_PER_IMAGE = 25
_AHEAD = 100_000
"""Largest number of answers that are held while the one of a question is searched."""


def load(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the questions of a split, image by image, with `answer`, `type` and `vocabulary`.

    Raises:
        DatasetNotFoundError: a list or the image folder does not exist.
        DataError: a list is not JSON or has other rows, or the answers are in another order than
            the questions; names the file.
    """
    folder = ctx.root / "Images"
    lists = {k: files.find(ctx.root, f"RSVQAxBEN_split_{ctx.split}_{k}.json") for k in _ROWS}
    absent = next((path for path in (*lists.values(), folder) if not path.exists()), None)
    if absent is not None:
        hint = "unpack Images.zip and the JSON files of the splits there"
        if files.find(ctx.root, UNSPLIT).is_file():
            hint = f"{UNSPLIT} is not split; {hint}"
        raise DatasetNotFoundError("rsvqa/xben", absent, hint=hint)
    return islice(_samples(ctx, folder, lists), ctx.limit)


def official(ctx: LoadContext) -> int | None:
    """Return the number of questions of a split; `None` if options leave some out.

    Source: the output of syvlo/RSVQAxBEN, BigEarthNetVQA.ipynb, 7e8e922.
    """
    own: LandCoverOptions = ctx.options or LandCoverOptions()
    if own.per_image is not None or set(own.types) != set(LandCoverOptions().types):
        return None
    return _NUMBER[ctx.split] * _PER_IMAGE


def prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask the published question, then for the form of the answer."""
    answer, kind = str(sample.target["answer"]), str(sample.target["type"])
    if kind == "LC":
        reasoning = "No other class is left." if answer == "None" else f"I see {answer}."
    else:
        reasoning = f"I look for the classes in the question. It {_HOLDS.get(answer, 'holds')}."
    question = f"{sample.question} {SUFFIXES[kind]}"
    return Turn(question=question, answer=answer, reasoning=reasoning)


def asks_for_list(question: str) -> bool:
    """Return whether a question asks for the names of classes, not for yes or no."""
    return question.strip().lower().startswith(("what", "which", "besides", "in addition"))


_HOLDS = {"yes": "is so", "no": "is not so"}
_ROWS: dict[str, dict[str, type]] = {
    "questions": {"id": int, "img_id": int, "type": str, "question": str},
    "answers": {"question_id": int, "answer": str},
}
"""List -> keys of its active rows, and the types of their values."""


def _samples(ctx: LoadContext, folder: Path, lists: dict[str, Path]) -> Iterator[Sample]:
    own: LandCoverOptions = ctx.options or LandCoverOptions()
    images = files.Images([folder])
    answered = _answered(ctx, lists)
    for image_id, rows in groupby(answered, key=lambda pair: pair[0]["img_id"]):
        pairs = list(rows)
        path = images.find(f"{image_id}.tif")
        if path is None:
            for row, _ in pairs:
                ctx.skip("image missing", f"question {row['id']}: {image_id}.tif")
            continue
        meta: dict[str, Json] = {"image": path.name, "sensor": "S2"}
        chosen = [pair for pair in pairs if pair[0]["type"] in own.types]
        if own.per_image is not None and own.per_image < len(chosen):
            chosen = [chosen[i * len(chosen) // own.per_image] for i in range(own.per_image)]
        for row, answer in chosen:
            yield Sample(
                id=str(row["id"]),
                images=(path,),
                question=row["question"],
                target=_target(row["type"], answer),
                meta=meta,
            )


def _answered(ctx: LoadContext, lists: dict[str, Path]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each question with its answer, in the order of the questions."""
    answers = _active(ctx, lists["answers"], "answers")
    waiting: dict[int, str] = {}
    for row in _active(ctx, lists["questions"], "questions"):
        while row["id"] not in waiting:
            answer = next(answers, None)
            if answer is None:
                break
            waiting[answer["question_id"]] = answer["answer"]
            if len(waiting) > _AHEAD:
                raise DataError(
                    f"{lists['answers']} is not in the order of {lists['questions'].name}: the "
                    f"answer of question {row['id']} is not among the next {_AHEAD:,}",
                    hint="use the official files of the split",
                )
        said = waiting.pop(row["id"], None)
        if said is None:
            ctx.skip("question without answer", str(row["id"]))
        elif row["type"] not in SUFFIXES:
            ctx.skip("question of an unknown type", f"question {row['id']}: {row['type']!r}")
        else:
            yield row, said


def _active(ctx: LoadContext, path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the active rows of a list; reports those that lack a value."""
    fields = _ROWS[kind]
    for key, rows in files.json_members(path):
        if key != kind or not isinstance(rows, Iterator):
            continue
        for number, row in enumerate(rows):
            if isinstance(row, dict) and not row.get("active", True):
                continue
            if isinstance(row, dict) and all(
                type(row.get(name)) is kept and row[name] != "" for name, kept in fields.items()
            ):
                yield row
            else:
                ctx.skip(
                    f"row of the {kind} without {' or '.join(fields)}", f"{path.name} {number}"
                )
        return
    raise DataError(f"{path} has no list {kind!r}", hint="use the official files of the split")


@lru_cache(maxsize=100_000)
def _target(kind: str, answer: str) -> dict[str, Json]:
    """Return the target of an answer, the same object for the same one: there are millions."""
    target: dict[str, Json] = {"answer": answer, "type": kind}
    return target | {"vocabulary": ["yes", "no"]} if kind == "presence" else target
