"""Reads the answer of a chat endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from geovlm import answers

_REASONING = ("reasoning_content", "reasoning")
"""Keys under which servers put the reasoning that they cut off the answer; vLLM has had both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One answer, as it is kept in the cache."""

    text: str
    """Completion as the project's grammar has it; see `completion`."""
    finish: str
    """The server's `finish_reason`: `stop`, `length`, `content_filter`, …; empty if none."""
    refused: bool
    """True if the server or the model says that it does not answer."""
    prompt_tokens: int
    """As the server counts them; 0 where it does not."""
    completion_tokens: int
    model: str
    """Name of the model in the answer, which may hold a version; empty if there is none."""
    prompt_ids: list[int] = field(default_factory=list)
    """Token ids of the prompt, where vLLM was asked for them (`return_token_ids`)."""
    token_ids: list[int] = field(default_factory=list)
    """Token ids of the answer, likewise."""
    logprobs: list[float] = field(default_factory=list)
    """Log-probability of each token of the answer, where they were asked for."""

    @property
    def cut(self) -> bool:
        """True if the answer has the longest length and no end."""
        return self.finish == "length"

    @property
    def empty(self) -> bool:
        """True if there is no text, and no refusal that says why."""
        return not self.text.strip() and not self.refused


def read(body: Any) -> Reply | None:
    """Return the answer in the body of a response; `None` if it is none."""
    try:
        choice = body["choices"][0]
        message = choice["message"]
        usage = body.get("usage") or {}
        finish = str(choice.get("finish_reason") or "")
        refusal = message.get("refusal")
        return Reply(
            text="" if refusal else completion(message, cut=finish == "length"),
            finish=finish,
            refused=bool(refusal) or finish == "content_filter",
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            model=str(body.get("model") or ""),
            prompt_ids=[int(each) for each in body.get("prompt_token_ids") or ()],
            token_ids=[int(each) for each in choice.get("token_ids") or ()],
            logprobs=[
                float(each["logprob"])
                for each in (choice.get("logprobs") or {}).get("content") or ()
            ],
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None


def refusal() -> Reply:
    """Return the answer to a request that the endpoint's filter of contents turned down."""
    return Reply(
        text="",
        finish="content_filter",
        refused=True,
        prompt_tokens=0,
        completion_tokens=0,
        model="",
    )


def completion(message: Mapping[str, Any], *, cut: bool) -> str:
    """Return the completion that a model in this process would have written.

    Reasoning that the server cut off comes first, in `<think>` tags, unless the answer has such
    tags of its own; the thought stays open where the answer was cut before it began. An answer that
    begins inside a thought, as the chat template opened it, gets the opening tag.
    """
    content = message.get("content") or ""
    if isinstance(content, list):  # parts, as some servers write them
        content = "".join(str(part.get("text") or "") for part in content)
    text = str(content)
    first = answers.tag(text)
    if first == "</think>":
        return f"<think>{text}"
    thought = next((str(message[key]) for key in _REASONING if message.get(key)), "")
    if not thought or first == "<think>":
        return text
    if cut and not text:
        return f"<think>{thought}"
    return f"<think>{thought}</think>{text}"
