"""Finds out which column of a table holds what: the image, the question, the answer and so on.

The usual names are those of the files that other tools write: ms-swift, LLaVA, VLM-R1,
LLaMA-Factory, `datasets` and pandas.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from geovlm.errors import ConfigError

Columns: TypeAlias = Mapping[str, str | tuple[str, ...]]
"""Role -> its column, or its columns in their order."""

USUAL: Mapping[str, tuple[str | tuple[str, ...], ...]] = {
    "id": ("id", "uid", "sample_id", "question_id"),
    "image": (
        ("image_before", "image_after"),
        ("before", "after"),
        ("image_pre", "image_post"),
        ("pre_image", "post_image"),
        ("image_a", "image_b"),
        ("image1", "image2"),
        ("image_1", "image_2"),
        *("image", "images", "img", "image_path", "image_paths", "img_path", "image_file"),
        *("image_name", "file_name", "filename", "filepath", "file_path", "path", "file"),
    ),
    "messages": ("messages", "conversations", "conversation"),
    "question": (("instruction", "input"), "question", "query", "problem", "prompt", "instruction"),
    "answer": ("answer", "response", "solution", "output", "ground_truth", "target"),
    "label": ("label", "class", "category", "class_name", "label_name", "scene"),
    "captions": ("captions", "caption", "sentences", "sentence", "description"),
    "choices": (
        ("a", "b", "c", "d", "e"),
        ("a", "b", "c", "d"),
        ("a", "b", "c"),
        *("choices", "options"),
    ),
    "boxes": (
        *("objects", "boxes", "bboxes", "bbox", "box"),
        ("xmin", "ymin", "xmax", "ymax"),
        ("x0", "y0", "x1", "y1"),
        ("x1", "y1", "x2", "y2"),
    ),
    "phrase": ("phrase", "expression", "referring_expression", "ref", "normal_caption"),
    "type": ("type", "question_type", "qtype"),
    "split": ("split", "subset", "partition"),
}
"""Role -> the names that a column of it usually has, the best first; capitals do not matter."""
GROUPS = ("group", "group_id", "scene_id", "event", "event_id", "location_id", "site")
"""Usual names of a column that names what stays together in one split."""
REASONINGS = ("reasoning", "rationale", "thinking", "think", "cot")
"""Usual names of a column with the reasoning that leads to the answer."""
SEVERAL = frozenset({"image", "question", "captions", "choices", "boxes"})
"""Roles that may be spread over several columns."""


def guess(names: Iterable[str]) -> dict[str, str | tuple[str, ...]]:
    """Return the roles of columns by their usual names; a column has one role at most."""
    plain = {_plain(name): name for name in reversed(list(names))}
    found: dict[str, str | tuple[str, ...]] = {}
    for role, usual in USUAL.items():
        for each in usual:
            wanted = (each,) if isinstance(each, str) else each
            if all(name in plain for name in wanted):
                taken = tuple(plain.pop(name) for name in wanted)
                found[role] = taken if len(taken) > 1 else taken[0]
                break
    return found


def unused(names: Iterable[str], usual: Iterable[str], *, columns: Columns) -> str:
    """Return the first column without a role that has a usual name; empty if there is none."""
    taken = {name for value in columns.values() for name in listed(value)}
    free = {_plain(name): name for name in names if name not in taken}
    return next((free[name] for name in usual if name in free), "")


def listed(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns of a role as a tuple."""
    return (value,) if isinstance(value, str) else value


def check(columns: Columns, names: Iterable[str], *, source: object) -> None:
    """Refuse roles that do not exist and columns that the table lacks.

    Raises:
        ConfigError: names role or column, and the near ones.
    """
    there = list(names)
    for role, value in columns.items():
        if role not in USUAL:
            raise ConfigError(f"columns.{role} is not a role", hint=_near(role, USUAL))
        for name in listed(value):
            require(name, there, source=source)


def require(name: str, names: Iterable[str], *, source: object) -> None:
    """Refuse a column that a table lacks.

    Raises:
        ConfigError: names the column, and the near ones.
    """
    there = list(names)
    if name not in there:
        raise ConfigError(f"{source} has no column {name!r}", hint=_near(name, there))


def _near(name: str, known: Iterable[str]) -> str:
    there = list(known)
    lower = {each.lower(): each for each in there}
    near = difflib.get_close_matches(name.lower(), lower, n=3)
    if near:
        return f"did you mean {' or '.join(repr(lower[each]) for each in near)}?"
    return f"there are {', '.join(there)}"


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())
