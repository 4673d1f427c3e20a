"""Reads the messages of a conversation, as ms-swift, LLaVA, VLM-R1 and LLaMA-Factory write them.

Read are `{"role": "user", "content": …}`, `{"from": "human", "value": …}` and `{"human": …,
"assistant": …}`; content may be a list of parts. Each question with its answer is an exchange of
its own. System messages are left out: a run has its own instruction. In the texts of ms-swift
`<ref-object>` and `<bbox>` stand for the entries of `objects`, in their order.

Source: docs of ms-swift (Customization/Custom-dataset), data/README.md of LLaMA-Factory, README of
VLM-R1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from geovlm import answers
from geovlm.files.jsontext import dumps
from geovlm.plugins.annotations.records import BOX
from geovlm.plugins.annotations.tables import cells
from geovlm.plugins.annotations.tables.objects import Objects

_ROLES = {
    **dict.fromkeys(("user", "human", "query"), "user"),
    **dict.fromkeys(("assistant", "gpt", "response", "model", "bot"), "assistant"),
    "system": "system",
}
_IMAGE = re.compile(r"[ \t]*<image>\s*")
_MARK = re.compile(r"<ref-object>|<bbox>")
_THOUGHT = re.compile(r".*?</think>", re.DOTALL)


class Unread(ValueError):
    """The reason why a conversation is left out."""


class Said(NamedTuple):
    """One message."""

    role: str
    text: str
    """`{box}` where a box stands."""
    boxes: tuple[tuple[float, ...] | None, ...] = ()
    """Boxes in it, as they stand in the file."""
    phrases: tuple[str, ...] = ()
    """Per box the phrase before it, for a message without boxes its phrases."""
    bare: bool = False
    """True if there is nothing in it but boxes and phrases."""


class Exchange(NamedTuple):
    """A question and its answer."""

    question: Said
    answer: Said
    reasoning: str


def exchanges(value: Any, objects: Objects | None) -> Iterator[Exchange]:
    """Yield the exchanges of a conversation.

    Raises:
        Unread: it is none, or holds what is not read, such as calls of tools.
    """
    question: Said | None = None
    for said in _placed(_messages(value), objects):
        if said.role == "user":
            question = said
        elif said.role == "assistant" and question is not None:
            reasoning, answer = thought(said.text)
            yield Exchange(question, said._replace(text=answer), reasoning)
            question = None


def images(value: Any) -> list[str]:
    """Return the images that parts of messages name, in their order."""
    return [
        str(part.get("image") or part.get("path") or part.get("url"))
        for message in value or ()
        if isinstance(message, Mapping) and isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, Mapping) and part.get("type") == "image"
    ]


def bare(text: str) -> str:
    """Return a text without the tokens of images."""
    return _IMAGE.sub("", text).strip() if "<image>" in text else text


def thought(text: str) -> tuple[str, str]:
    """Return reasoning and answer of a text in which they have tags; else "" and the text."""
    if "</think>" not in text and "</answer>" not in text:
        return "", text
    answer = answers.answer_text(text) or _THOUGHT.sub("", text, count=1).strip()
    return answers.think_text(text), answer


def _messages(value: Any) -> Iterator[tuple[str, str]]:
    """Yield role and text of each message."""
    if isinstance(value, str):
        value = cells.listed(value)
    if not isinstance(value, list | tuple):
        raise Unread("conversation that is not a list of messages")
    for each in value:
        if not isinstance(each, Mapping):
            raise Unread("conversation that is not a list of messages")
        if "human" in each and "assistant" in each:
            yield "user", _content(each["human"])
            yield "assistant", _content(each["assistant"])
            continue
        role = str(each.get("role", each.get("from")))
        if role not in _ROLES:
            raise Unread(f"conversation with a message of {role!r:.40}")
        yield _ROLES[role], _content(each.get("content", each.get("value")))


def _content(value: Any) -> str:
    if _is_boxes(value):  # VLM-R1 has the numbers themselves
        return dumps(value)
    if isinstance(value, list | tuple):
        parts = (each.get("text") if isinstance(each, Mapping) else each for each in value)
        value = "\n".join(str(part) for part in parts if part)
    return bare(cells.text(value))


def _is_boxes(value: Any) -> bool:
    """True for a list of numbers, or of lists of numbers."""
    if not isinstance(value, list | tuple) or not value:
        return False
    first = value[0] if isinstance(value[0], list | tuple) else value
    return cells.numbers(first) is not None and not any(isinstance(each, str) for each in first)


def _placed(messages: Iterator[tuple[str, str]], objects: Objects | None) -> Iterator[Said]:
    """Yield the messages with the entries of `objects` in their places."""
    several = [(role, text) for role, text in messages if role != "system"]
    if objects is None:
        yield from (Said(role, text) for role, text in several)
        return
    boxes, phrases = iter(objects.boxes), iter(objects.labels)
    for role, text in several:
        made: list[str] = []
        held: list[tuple[float, ...] | None] = []
        named: list[str] = []
        spoken: list[str] = []
        rest = _MARK.split(text)
        for before, mark in zip(rest, [*_MARK.findall(text), ""], strict=True):
            made.append(before)
            if mark == "<bbox>":
                made.append(BOX)
                held.append(_next(boxes, "<bbox>"))
                named.append(spoken[-1] if spoken else "")
            elif mark:
                spoken.append(_next(phrases, "<ref-object>"))
                made.append(spoken[-1])
        yield Said(
            role,
            "".join(made).strip(),
            tuple(held),
            tuple(named) if held else tuple(spoken),
            bool(held) and not re.search(r"\w", "".join(rest)),
        )
    if next(boxes, None) is not None and any("<bbox>" in text for _, text in several):
        raise Unread("conversation with more boxes than <bbox>")


def _next(entries: Iterator[Any], mark: str) -> Any:
    for each in entries:
        return each
    raise Unread(f"conversation with more {mark} than entries in objects")
