"""The gate for texts: records that are left out, and turns that are refused.

A record is left out and counted, because one of half a million must not stop a run. A turn that a
task's prompt function writes is refused, because the task is at fault. The control tokens of a
model pass in both: the engine makes letters of them, see `geovlm.config.control_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geovlm import answers
from geovlm.api import Sample, Turn
from geovlm.errors import DataError

NO_ID = "an id that is blank or not text"
USED_ID = "an id that an earlier record has"
NO_QUESTION = "a question that is not text"
NO_ANSWER = "a correct answer without text"
TAGS = "an annotation with <think> or <answer> tags"
LONGEST = answers.MAX_CHARS - len("<think> x </think><answer>  </answer>")
"""Characters of the longest answer that a completion can give, beside a reasoning of one letter."""
LONG = f"an annotation of more than {LONGEST:,} characters"
_REMEMBERED = 4096
_NAMED_CHARS = 200


class Gate:
    """Finds the records of one split that are left out for their texts.

    The ids and all texts of question, target and meta must be Unicode without control characters,
    and ids unique. The texts of the target become correct answers, so they must also be without
    tags and not longer than `LONGEST`.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._image: Path | None = None
        """The last sound one: records of one image often follow one another."""
        self._sound: dict[int, Any] = {}  # by identity, which the value keeps alive

    def defect(self, record: Sample) -> str | None:
        """Return the reason to leave a record out; `None` for a sound one."""
        if not isinstance(record.id, str) or not record.id.strip():
            return NO_ID
        if not isinstance(record.question, str):
            return NO_QUESTION
        answer = record.target.get("answer", "-")
        if answer is None or (isinstance(answer, str) and not answer.strip()):
            return NO_ANSWER
        for image in record.images:
            if image is self._image or not isinstance(image, Path):
                continue
            found = answers.defect(str(image))
            if found is not None:
                return f"an image whose name holds {found}"
            self._image = image
        if self._suspicious(record):
            found = _defect([record.id, record.question, record.meta], correct=False)
            found = found or _defect(record.target, correct=True)
            if found is not None:
                return found
        if record.id in self._ids:
            return USED_ID
        self._ids.add(record.id)
        return None

    def _suspicious(self, record: Sample) -> bool:
        """Return True if a text of the record may have a defect; nearly all records have none.

        Python writes what is not printable with a backslash, and faster than a walk reads it. The
        lists and objects that records share, such as vocabularies, are read once.
        """
        parts = [record.id, record.question]
        fresh: list[Any] = []
        for part in (record.target, record.meta):
            if self._sound.get(id(part)) is part:
                continue
            parts += part
            if part is record.target:
                fresh.append(part)
            for value in part.values():
                if isinstance(value, str):
                    parts.append(value)
                elif self._sound.get(id(value)) is not value:
                    parts.append(repr(value))
                    fresh.append(value)
        text = "".join(parts)
        if not text.isprintable() or "\\" in text or "<" in text or len(text) > LONGEST:
            return True
        if len(self._sound) > _REMEMBERED:
            self._sound.clear()
        self._sound.update({id(value): value for value in fresh})
        return False


def _defect(value: Any, *, correct: bool) -> str | None:
    """Return the reason in a JSON value; `correct`: its texts become correct answers."""
    if isinstance(value, str):
        found = answers.defect(value)
        if found is not None:
            return f"a text with {found}"
        if correct and answers.tag(value):
            return TAGS
        return LONG if correct and len(value) > LONGEST else None
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if not isinstance(value, list | tuple):
        return None
    found_in = (_defect(each, correct=correct) for each in value)
    return next((found for found in found_in if found is not None), None)


def check_turn(turn: Turn, *, task: str, sample_id: str, thinks: bool = True) -> None:
    """Refuse a turn that cannot be asked or answered; reasoning and answer may be blank.

    `thinks` is False for a task without reasoning.

    Raises:
        DataError: a part is not text, holds half of a surrogate pair or a control character; the
            question is blank; reasoning or answer holds a tag; both are longer than
            `answers.MAX_CHARS` with their tags; there is reasoning where the task has none. Names
            the task and the sample.
    """
    parts = {"a question": turn.question, "reasoning": turn.reasoning, "an answer": turn.answer}
    for name, text in parts.items():
        why = _refusal(name, text)
        if why is not None:
            raise DataError(
                f"task {task!r} wrote {name} {why} for sample {shown(sample_id)!r}",
                hint="correct the record, or let the loader of the data set leave it out",
            )
    if turn.reasoning.strip() and not thinks:
        raise DataError(
            f"task {task!r} wrote reasoning for sample {shown(sample_id)!r}, and has "
            "reasoning='none'",
            hint="its prompt function must leave it out, or its TaskSpec have reasoning='think'",
        )
    length = len(turn.reasoning.strip()) + len(turn.answer.strip())
    if length > LONGEST + 1:
        raise DataError(
            f"task {task!r} wrote reasoning and answer of {length:,} characters for sample "
            f"{shown(sample_id)!r}, at most {LONGEST + 1:,} are read",
            hint="shorten the reasoning, or leave the record out",
        )


def _refusal(name: str, text: Any) -> str | None:
    if not isinstance(text, str):
        return f"that is not text, {text!r:.80},"
    found = answers.defect(text)
    if found is not None:
        return f"with {found}"
    if name == "a question":
        return None if text.strip() else "that is blank"
    found = answers.tag(text)
    return f"with the tag {found}" if found else None


def shown(item: str) -> str:
    """Return the name of a record or file as a line for people: printable, and not too long."""
    if not item.isprintable():
        item = ascii(item)[1:-1]
    return item if len(item) <= _NAMED_CHARS else f"{item[:_NAMED_CHARS]}…"
