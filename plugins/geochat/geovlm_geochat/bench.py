"""Reads the rows of GeoChat-Bench that have a truth, as exchanges of the kinds of Instruct.

Field names are those of the official scripts (mbzuai-oryx/GeoChat:
geochat/eval/batch_geochat_*.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from geovlm import files
from geovlm.boxes import Box
from geovlm_geochat import grammar, turns
from geovlm_geochat.turns import ParsedTurn, RefusedTurn

FOLDER = "GeoChat-Bench"
FILES = (
    "aid",
    "UCmerced",
    "lrben",
    "hrben",
    "region_captioning",
    "referring",
    "grounding_description",
)
_BY_IMAGE_ID = ("region_captioning", "referring", "grounding_description")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One usable row."""

    key: str
    image: str
    turn: ParsedTurn
    pixels: tuple[Box, ...] = ()
    """True boxes of referring.jsonl, in pixels."""
    meta: dict[str, Any]


def present(root: Path) -> list[str]:
    """The files that exist."""
    return [name for name in FILES if _file(root, name).is_file()]


def stems(root: Path) -> frozenset[str]:
    """Names, without folder and suffix, of the images of the region and grounding files."""
    return frozenset(
        PurePosixPath(str(row["image_id"])).stem
        for name in present(root)
        if name in _BY_IMAGE_ID
        for _, row in files.json_lines(_file(root, name), skip=_elsewhere)
        if isinstance(row, dict) and row.get("image_id")
    )


def rows(root: Path, *, skip: Callable[[str, str], None]) -> Iterator[Row]:
    """Yield the usable rows in the order of `FILES`, reporting the others to `skip`."""
    for name in present(root):
        for number, row in files.json_lines(_file(root, name), skip=skip):
            key = f"bench/{name}/{number - 1:06d}"
            try:
                yield _row(name, key, row)
            except RefusedTurn as refused:
                skip(str(refused), key)


def _file(root: Path, name: str) -> Path:
    return files.find(root / FOLDER, f"{name}.jsonl")


def _elsewhere(reason: str, item: str) -> None:
    """Pass over a line: `rows` reports it."""


def _row(name: str, key: str, row: Any) -> Row:
    if not isinstance(row, dict):
        raise RefusedTurn("row that is not a JSON object")
    if name == "grounding_description":
        raise RefusedTurn("GeoChat-Bench publishes no boxes for grounding descriptions")
    kept = ("question_id", "type", "dataset", "size_group")
    meta = {field: row[field] for field in kept if isinstance(row.get(field), str)}
    if name in ("lrben", "hrben"):
        answer = row.get("ground_truth", row.get("answer"))
        if not isinstance(answer, str):
            raise RefusedTurn("GeoChat-Bench has no answers for its VQA files")
        turn = turns.vqa(_text(row, "text"), answer)
        return Row(key=key, image=_text(row, "image"), turn=turn, meta=meta)
    if name in ("aid", "UCmerced"):
        # The field ground_truth is unreliable there; the official scorer takes the folder too.
        label = _text(row, "question_id").partition("/")[0]
        turn = turns.classify(_text(row, "text"), label)
        return Row(key=key, image=_text(row, "image"), turn=turn, meta=meta)
    image = f"{_text(row, 'image_id').removesuffix('.png')}.png"
    question = _text(row, "question")
    if name == "region_captioning":
        turn = turns.caption(question, _text(row, "ground_truth"))
        return Row(key=key, image=image, turn=turn, meta=meta)
    pixels = _polygons(row.get("ground_truth"))
    asked = turns.flat(question)
    turn = ParsedTurn(
        kind="refer",
        question=asked,
        target={"phrase": grammar.phrase(question) or asked.rstrip(" .?")},
    )
    return Row(key=key, image=image, turn=turn, pixels=pixels, meta=meta)


def _text(row: dict[str, Any], field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise RefusedTurn(f"row without a text in field {field!r}")
    return value


def _polygons(truth: Any) -> tuple[Box, ...]:
    """Truth of referring.jsonl: polygons of four `[x, y]` corners, or eight numbers each."""
    found = []
    for polygon in truth if isinstance(truth, list) else ():
        flat = _numbers(polygon)
        if len(flat) != 8:
            raise RefusedTurn("truth that is not a list of polygons with four corners")
        found.append(grammar.from_polygon([flat[i : i + 2] for i in range(0, 8, 2)]))
    if not found:
        raise RefusedTurn("truth without a polygon")
    return tuple(found)


def _numbers(value: Any) -> list[float]:
    if isinstance(value, list):
        return [number for part in value for number in _numbers(part)]
    return [float(value)] if isinstance(value, (int, float)) else []
