"""Asks a chat endpoint, with retries; every request ends within its time."""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from geovlm.config.options import near
from geovlm.config.served import KEY_VARIABLE, ServedConfig
from geovlm.errors import ConfigError
from geovlm.run.served import faults, reply
from geovlm.run.served.faults import EndpointError, Fault
from geovlm.run.served.limits import Pace
from geovlm.run.served.reply import Reply
from geovlm.run.served.request import Request

_SECRET_CHARS = 16
_LONGEST_BACKOFF_S = 60.0
_LONGEST_WAIT_S = 600.0
"""Longest time that an endpoint may ask to wait; for a longer one, the run stops instead."""


def key_of(settings: ServedConfig) -> str | None:
    """Return the key in the environment; `None` if the default variable is not set.

    Raises:
        ConfigError: a variable that the user named has no value, or the value cannot be sent.
    """
    key = os.environ.get(settings.api_key_env, "").strip()
    if not key and settings.api_key_env != KEY_VARIABLE:
        raise ConfigError(
            f"served.api_key_env: the environment has no variable {settings.api_key_env}",
            hint="export it with the key as its value",
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"the value of {settings.api_key_env} is not a key: it holds characters that no header "
            "takes"
        )
    return key or None


@dataclass
class Client:
    """Asks one endpoint; use it in `async with`.

    `halted` tells when no further attempt is to be made.
    """

    settings: ServedConfig
    halted: Callable[[], bool] = lambda: False
    jitter: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._key = key_of(self.settings)
        self._pace = Pace(self.settings.requests_per_minute)
        self.url = f"{self.settings.base_url}/chat/completions"

    async def __aenter__(self) -> Client:
        import httpx2

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        n = self.settings.concurrency
        self._http = httpx2.AsyncClient(
            headers=headers,
            timeout=None,  # one limit for the whole request, in `_attempt`
            limits=httpx2.Limits(max_connections=n, max_keepalive_connections=n),
            trust_env=not _is_here(self.url),  # proxies are for other machines
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, request: Request, *, patient: bool = True) -> Reply:
        """Return the answer to a request.

        With `patient`, a server that does not answer is asked again as well as one that says that
        it is busy.

        Raises:
            EndpointError: no attempt was answered; states what happened last.
        """
        body = await asyncio.to_thread(request.body)  # compresses images
        attempts = 0
        while True:
            await self._pace.wait()
            attempts += 1
            try:
                return await self._attempt(request.model, body)
            except Fault as fault:
                wait = self._wait(fault, attempts)
                patience = patient or fault.connected
                last = attempts > self.settings.retries or wait > _LONGEST_WAIT_S
                if not fault.again or not patience or last or self.halted():
                    raise await self._error(fault, request.model, attempts) from fault
            await asyncio.sleep(wait)

    async def _attempt(self, model: str, body: dict[str, Any]) -> Reply:
        """Send one request.

        Raises:
            Fault: it was not answered.
        """
        import httpx2

        seconds = self.settings.timeout_s
        unreachable = ""
        try:
            async with asyncio.timeout(seconds):
                response = await self._http.post(self.url, json=body)
        except TimeoutError:
            unreachable = f"{self.url} did not answer within {seconds:g} s"
        except httpx2.ConnectError as error:
            unreachable = f"no server answers at {self.url}: {_reason(error)}"
        except httpx2.InvalidURL as error:
            raise Fault(f"{self.url} is no address: {error}") from error
        except httpx2.TransportError as error:
            unreachable = f"{self.url}: the connection broke: {_reason(error)}"
        if unreachable:
            fault = Fault(unreachable, hint="is the server up?", again=True)
            fault.connected = False
            raise fault
        return self._read(response, model)

    def _read(self, response: Any, model: str) -> Reply:
        raw = response.content.decode("utf-8", "replace")
        text = faults.redacted(raw, self._key)
        status = response.status_code
        if status == 400 and faults.is_filtered(text):
            return reply.refusal()
        if status != 200:
            fault = faults.of_status(
                status, text, url=self.url, model=model, variable=self.settings.api_key_env
            )
            fault.after_s = _retry_after(response.headers.get("retry-after"))
            if fault.again and status == 429 and fault.after_s is not None:
                self._pace.hold(min(fault.after_s, _LONGEST_WAIT_S))
            raise fault
        try:
            # a short key is no secret, such as EMPTY, and may be a word of an answer
            found = reply.read(json.loads(text if len(self._key or "") >= _SECRET_CHARS else raw))
        except ValueError:
            found = None
        if found is None:
            kind = response.headers.get("content-type", "")
            raise faults.of_body(text, url=self.url, content_type=kind)
        return found

    def _wait(self, fault: Fault, attempts: int) -> float:
        """Return the seconds before the next attempt."""
        if fault.after_s is not None:
            return fault.after_s
        longest = min(_LONGEST_BACKOFF_S, self.settings.backoff_s * 2 ** (attempts - 1))
        return longest * (1 - self.jitter.random() / 2)

    async def _error(self, fault: Fault, model: str, attempts: int) -> EndpointError:
        times = f", {attempts} times" if attempts > 1 else ""
        hint = fault.hint
        if fault.after_s is not None and fault.after_s > _LONGEST_WAIT_S:
            hint = f"it asks to wait {fault.after_s:.0f} s"
        if "has no model" in str(fault):
            hint = await self._models_hint(model)
        return EndpointError(f"{fault}{times}", hint=hint)

    async def _models_hint(self, model: str) -> str:
        """Return which models the endpoint lists; empty where it lists none."""
        import httpx2

        try:
            async with asyncio.timeout(self.settings.timeout_s):
                response = await self._http.get(f"{self.settings.base_url}/models")
            names = [str(each["id"]) for each in response.json()["data"]]
        except (TimeoutError, httpx2.HTTPError, ValueError, KeyError, TypeError):
            return ""
        some = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        hint = near(model, names) or (f"it has {some}" if some else "")
        return faults.redacted(hint, self._key)


def _is_here(url: str) -> bool:
    """Return True if an address is of this machine."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _retry_after(value: str | None) -> float | None:
    """Return the seconds of a `Retry-After`, a number or a date; `None` if it says neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    """Return the reason of the system or of TLS, else the name of the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError | OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
