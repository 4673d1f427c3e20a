"""Sorts the exchanges of a GeoChat conversation into tasks, with their targets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from geovlm_geochat import captions, grammar
from geovlm_geochat.grammar import Percent

Kind: TypeAlias = Literal["classify", "vqa", "caption", "refer", "ground"]
KINDS: tuple[Kind, ...] = ("classify", "vqa", "caption", "refer", "ground")

_TOKEN = re.compile(r"\[(identify|refer|grounding)\]", re.IGNORECASE)
_CLASSES = re.compile(r"\bclasses\s*:\s*(.+?)(?:\.\s*(?:\\n|\n|answer\b|$)|\n|\\n|$)", re.I | re.S)
_SHORT = re.compile(r"single word or|one word or", re.IGNORECASE)
_NUMBER = re.compile(r"\d[\d.,]*")


class RefusedTurn(ValueError):
    """The exchange belongs to no task; the message is the reason under which it is counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedTurn:
    """A usable exchange, boxes still in percent."""

    kind: Kind
    question: str
    """Without task token and tags; without the boxes of `pieces` if `kind` is "caption"."""
    target: Mapping[str, Any]
    """The target without its boxes."""
    pieces: tuple[grammar.Piece, ...] = ()
    """Question of "caption", answer of "ground": text and the boxes after it."""
    boxes: tuple[Percent, ...] = ()
    """All boxes, in order, as written."""


class Texts(NamedTuple):
    """The two texts of one exchange, as the file has them."""

    human: str
    gpt: str


def pairs(conversations: Any) -> Iterator[Texts]:
    """Yield the exchanges of a conversation; an answer without a question is skipped."""
    question: str | None = None
    for message in conversations if isinstance(conversations, list) else ():
        if not isinstance(message, dict) or not isinstance(message.get("value"), str):
            continue
        if message.get("from") in ("human", "user"):
            question = message["value"]
        elif question is not None:
            yield Texts(question, message["value"])
            question = None


def parse(human: str, gpt: str) -> ParsedTurn:
    """Sort an exchange into its task.

    Raises:
        RefusedTurn: it belongs to none, or its answer cannot be used.
    """
    token = _TOKEN.search(human)
    if token:
        return {"identify": caption, "refer": refer, "grounding": ground}[token.group(1).lower()](
            human, gpt
        )
    if _CLASSES.search(human):
        return classify(human, gpt)
    if _SHORT.search(human):
        return vqa(human, gpt)
    raise RefusedTurn("conversation or description: no task token and no short answer asked for")


def classify(human: str, gpt: str) -> ParsedTurn:
    """Read a question that lists its classes; the answer must be one of them."""
    listed = _CLASSES.search(human)
    if listed is None:
        raise RefusedTurn("scene question without a list of classes")
    vocabulary = tuple(
        dict.fromkeys(grammar.clean(name).strip(" .") for name in listed.group(1).split(","))
    )
    vocabulary = tuple(name for name in vocabulary if name)
    by_key = {class_key(name): name for name in vocabulary}
    label = by_key.get(class_key(gpt))
    if label is None:
        raise RefusedTurn("scene answer that is not among the listed classes")
    target = {"labels": [label], "vocabulary": list(vocabulary), "answer": label}
    return ParsedTurn(kind="classify", question=flat(human), target=target)


def vqa(human: str, gpt: str) -> ParsedTurn:
    """Read a question that asks for a word or a phrase."""
    answer = grammar.clean(gpt).rstrip(" .")
    if not answer:
        raise RefusedTurn("empty answer")
    kind = "other"
    if answer.casefold() in ("yes", "no"):
        kind = "yes_no"
    elif _NUMBER.fullmatch(answer):
        kind = "number"
    return ParsedTurn(kind="vqa", question=flat(human), target={"answer": answer, "type": kind})


def caption(human: str, gpt: str) -> ParsedTurn:
    """Read an [identify] exchange: a box in the question, a short description as the answer."""
    cut = grammar.pieces(human)
    held = tuple(box for piece in cut for box in piece.boxes)
    if not held:
        raise RefusedTurn("[identify] without a box in the question")
    text = grammar.clean(gpt).rstrip(" .")
    if not text or text.casefold() == "none":
        raise RefusedTurn("[identify] without a description")
    stated, vocabularies = captions.facts(text)
    return ParsedTurn(
        kind="caption",
        question=flat(human),
        target={"captions": [text], "facts": stated, "fact_vocabularies": vocabularies},
        pieces=cut,
        boxes=held,
    )


def refer(human: str, gpt: str) -> ParsedTurn:
    """Read a [refer] exchange: a phrase in the question, boxes as the answer."""
    held = grammar.parse_boxes(gpt)
    if not held:
        raise RefusedTurn("[refer] without a box in the answer")
    question = flat(human)
    return ParsedTurn(
        kind="refer",
        question=question,
        target={"phrase": grammar.phrase(human) or question.rstrip(" .?")},
        boxes=held,
    )


def ground(human: str, gpt: str) -> ParsedTurn:
    """Read a [grounding] exchange: a description with boxes after its phrases."""
    cut = grammar.pieces(gpt)
    held = tuple(box for piece in cut for box in piece.boxes)
    if not held:
        raise RefusedTurn("[grounding] without a box in the answer")
    # equal to `geovlm.boxes.strip` of the answer that the prompt writes
    text = " ".join(piece.text for piece in cut if piece.text)
    if not text:
        raise RefusedTurn("[grounding] without words in the answer")
    return ParsedTurn(
        kind="ground", question=flat(human), target={"text": text}, pieces=cut, boxes=held
    )


def class_key(name: str) -> str:
    """Return a form that spellings of a class share: `MediumResidential`, `medium residential`."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def folder_contradicts(image: str, vocabulary: Sequence[str], label: str) -> bool:
    """True if the image lies in a folder that is named after another of the listed classes."""
    folder = class_key(image.replace("\\", "/").rpartition("/")[0].rpartition("/")[2])
    return folder in {class_key(name) for name in vocabulary} and folder != class_key(label)


def flat(human: str) -> str:
    """Return the question on one line, without task token, tags and boxes."""
    return re.sub(r"\s+([.,;:?!])", r"\1", grammar.clean(human.replace("\\n", " ")))
