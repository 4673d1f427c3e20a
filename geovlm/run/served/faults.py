"""Puts what an endpoint answers instead of an answer into one line."""

from __future__ import annotations

import json
import re
from typing import Any

from geovlm.config.served import KEY_VARIABLE
from geovlm.errors import RunFailedError

RETRIED = frozenset({408, 409, 425, 429})
"""Statuses, below 500, after which the same request may succeed."""
_FILTERED = frozenset({"content_filter", "content_policy_violation"})
"""Codes of errors that are refusals to answer: Azure's and OpenAI's."""
_SHOWN_CHARS = 200


class EndpointError(RunFailedError):
    """An endpoint that does not answer as a chat endpoint does."""


class Fault(Exception):
    """An attempt that failed."""

    def __init__(
        self, what: str, *, hint: str = "", again: bool = False, after_s: float | None = None
    ) -> None:
        super().__init__(what)
        self.hint = hint
        self.again = again
        """True if another attempt may succeed."""
        self.after_s = after_s
        """Seconds to wait, as the endpoint says."""
        self.connected = True
        """False if no server answered at all."""


def of_status(status: int, text: str, *, url: str, model: str, variable: str) -> Fault:
    """Return the fault of a response that is not 200."""
    said = message(text)
    told = f"HTTP {status}" + (f": {said}" if said else "")
    if status in (401, 403):
        return Fault(f"{url} does not accept the key: {told}", hint=_key_hint(variable))
    if status == 404 and model.lower() in said.lower() and said:
        return Fault(f"{url} has no model {model!r}: {told}")
    if status == 404:
        return Fault(
            f"{url} does not exist: {told}",
            hint="--base-url is the part in front of /chat/completions; it often ends in /v1",
        )
    if 300 <= status < 400:
        return Fault(f"{url} leads elsewhere: {told}", hint="give the final address as --base-url")
    if status == 429 and _code(text) == "insufficient_quota":
        return Fault(f"{url}: the quota of the key is used up: {told}")
    if status in RETRIED or status >= 500:
        return Fault(f"{url}: {told}", again=True)
    return Fault(f"{url} refuses the request: {told}", hint=_refusal_hint(said))


def of_body(text: str, *, url: str, content_type: str) -> Fault:
    """Return the fault of a response 200 whose body holds no answer."""
    if "html" in content_type or text.lstrip()[:1] == "<":
        return Fault(
            f"{url} answers with a web page, not with JSON",
            hint="--base-url is the part in front of /chat/completions; it often ends in /v1",
        )
    try:
        found = json.loads(text)
    except ValueError:
        return Fault(f"{url} answers with JSON that ends too early or is none", again=True)
    said = message(text)
    status = found.get("error", {}).get("code") if isinstance(found, dict) else None
    again = isinstance(status, int) and (status in RETRIED or status >= 500)
    return Fault(f"{url} answers without a message: {said or _short(text)}", again=again)


def is_filtered(text: str) -> bool:
    """Return True if an error is the refusal of the endpoint's filter of contents."""
    return _code(text) in _FILTERED


def message(text: str) -> str:
    """Return the message in the body of an error, in one line; empty if there is none."""
    error = _error(text)
    if isinstance(error, dict):
        return _short(str(error.get("message") or ""))
    if isinstance(error, str):
        return _short(error)
    return "" if text.lstrip()[:1] in ("<", "{") else _short(text)


def redacted(text: str, key: str | None) -> str:
    """Return a text without the key, which a server may repeat in a message."""
    return text.replace(key, "***") if key else text


def _error(text: str) -> Any:
    try:
        body = json.loads(text)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    return body.get("error") or body.get("detail") or (body.get("message") and body)


def _code(text: str) -> str:
    error = _error(text)
    return str(error.get("code") or "") if isinstance(error, dict) else ""


def _short(text: str) -> str:
    line = re.sub(r"\s+", " ", "".join(c for c in text if c.isprintable() or c.isspace())).strip()
    return line if len(line) <= _SHOWN_CHARS else f"{line[: _SHOWN_CHARS - 3]}..."


def _key_hint(variable: str) -> str:
    other = f", or name another variable with --api-key-env; {variable} is read now"
    return f"set {variable} to a key that is valid there" + (
        other if variable == KEY_VARIABLE else ""
    )


def _refusal_hint(said: str) -> str:
    low = said.lower()
    if "max_completion_tokens" in low:
        return "--set served.max_tokens_key=max_completion_tokens"
    for name in ("temperature", "seed"):
        if name in low:
            return f"""leave it out with --set 'served.omit=["{name}"]'"""
    if any(word in low for word in ("image", "multimodal", "multi-modal", "vision", "mmproj")):
        return "does the model take images? give one that does"
    return ""
