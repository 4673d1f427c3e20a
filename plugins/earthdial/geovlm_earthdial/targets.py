"""Makes the target of a sample of an exchange, kind by kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from geovlm import answers
from geovlm.api import Json, Size
from geovlm.boxes import Box
from geovlm_earthdial import EarthDialOptions, edits, facts, grammar
from geovlm_earthdial.folders import Folder
from geovlm_earthdial.kinds import Exchange

PLACED = frozenset({"refer", "locate", "ground"})
"""Kinds whose answers hold boxes."""
_PAIRS = (("yes", "no"), ("rural", "urban"))
"""Answers that exclude each other."""


class Target(NamedTuple):
    """The target, `None` if the exchange is left out, and the reasons to report."""

    fields: dict[str, Json] | None
    problems: list[str] = []  # noqa: RUF012


def of(
    exchange: Exchange,
    row: dict[str, Any],
    *,
    folder: Folder,
    size: Size,
    own: EarthDialOptions,
) -> Target:
    """Return the target of an exchange about images, the last of which has this size in pixels."""
    kind, question, truth = exchange.kind, exchange.question, exchange.truths[0].strip()
    if kind in ("classify", "series"):
        return _label(question, truth, part=folder.set_name, own=own)
    if kind == "vqa":
        return _word(truth, row.get("ttype"))
    if kind in ("refer", "locate"):
        return _boxes(question, truth, size=size, own=own)
    if kind == "ground":
        return _grounded(truth, size=size, own=own)
    if kind in ("caption", "change"):
        return _captions(exchange.truths, changes=kind == "change")
    if not truth:
        return Target(None, ["row without question and answer"])
    stated = facts.of_damage(truth) if kind == "damage" else facts.of_region(truth)
    target: dict[str, Any] = {"captions": [truth]}
    if stated.facts:
        target |= {"facts": stated.facts, "fact_vocabularies": stated.vocabularies}
    return Target(target)


def _label(question: str, truth: str, *, part: str, own: EarthDialOptions) -> Target:
    """Return answer, labels and vocabulary; classes are spelt as the answer is."""
    if not truth:
        return Target(None, ["row without question and answer"])
    listed = grammar.classes(question)
    known = [truth if _same(each, truth) else each for each in listed] or _excluding(truth)
    labels = [truth]
    if listed and truth not in known:
        several = list(answers.labels(truth, listed))
        if len(several) > 1:
            labels = several
        elif own.outside == "drop":
            return Target(None, ["answer that is not among the classes in the question"])
        else:
            known = [*known, truth]
    target: dict[str, Json] = {"answer": truth, "labels": [*labels], "type": part}
    return Target(target | {"vocabulary": [*known]} if known else target)


def _word(truth: str, kind: Any) -> Target:
    if not truth:
        return Target(None, ["row without question and answer"])
    named = edits.answer(kind) if isinstance(kind, str) else "all"
    target: dict[str, Json] = {"answer": truth, "type": named}
    known = _excluding(truth)
    return Target(target | {"vocabulary": [*known]} if known else target)


def _boxes(question: str, truth: str, *, size: Size, own: EarthDialOptions) -> Target:
    written = grammar.percents(truth)
    held = _placed(written, size=size, own=own)
    problems = ["box without area in the image"] * (len(written) - len(held))
    if not held:
        return Target(None, [*problems, "row without a usable box"])
    label = grammar.phrase(question) or "object"
    return Target({"boxes": _listed(held), "label": label}, problems)


def _grounded(truth: str, *, size: Size, own: EarthDialOptions) -> Target:
    found: list[Json] = []
    held: list[Box] = []
    lost = 0
    for piece in grammar.pieces(truth):
        placed = _placed(piece.boxes, size=size, own=own)
        lost += len(piece.boxes) - len(placed)
        found.append([piece.words, len(placed)])
        held += placed
    problems = ["box without area in the image"] * lost
    if not held:
        return Target(None, [*problems, "row without a usable box"])
    text = grammar.words_of(" ".join(piece.words for piece in grammar.pieces(truth)))
    return Target({"text": text, "boxes": _listed(held), "pieces": found}, problems)


def _captions(truths: Sequence[str], *, changes: bool) -> Target:
    """Return all captions as they lie; if the second is blank, the first or the list in it."""
    several = len(truths) > 1 and bool(truths[1].strip())
    kept = list(truths) if several else _json_list(truths[0]) or [truths[0]]
    stated = [each for each in kept if each.strip()]
    if not stated:
        return Target(None, ["row without question and answer"])
    target: dict[str, Json] = {"captions": [*kept]}
    if changes:
        target["changed"] = not all(map(answers.says_unchanged, stated))
    return Target(target)


def _json_list(text: str) -> list[str]:
    """Return the members of a JSON list of texts; none if the text is no such list."""
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        return []
    is_list = isinstance(listed, list) and all(isinstance(each, str) for each in listed)
    return listed if is_list else []


def _placed(written: Sequence[Sequence[int]], *, size: Size, own: EarthDialOptions) -> list[Box]:
    placed = [grammar.place(each, size=size, form=own.boxes) for each in written]
    return [box for box in placed if box is not None]


def _listed(held: Sequence[Box]) -> list[Json]:
    return [list(box[:4]) for box in held]


def _excluding(truth: str) -> list[str]:
    """Return both answers of a pair, in the spelling of this one; none without a pair."""
    pair = next((each for each in _PAIRS if truth.lower() in each), ())
    return [each.capitalize() if truth[:1].isupper() else each for each in pair]


def _same(a: str, b: str) -> bool:
    """True if two classes differ in blanks, case and a final stop only."""
    return "".join(a.split()).lower().rstrip(".") == "".join(b.split()).lower().rstrip(".")
