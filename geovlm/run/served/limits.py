"""Keeps to a rate of requests, and to a limit of cost or tokens."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from geovlm.config.served import ServedConfig
from geovlm.run.served.reply import Reply


@dataclass
class Pace:
    """Spreads requests evenly over time."""

    per_minute: float | None
    _free: float = field(default=0.0, init=False)
    """Earliest time of the next request, of the monotonic clock."""

    async def wait(self) -> None:
        """Wait until one more request may start."""
        now = time.monotonic()
        start = max(now, self._free)
        if self.per_minute is not None:
            self._free = start + 60 / self.per_minute
        if start > now:
            await asyncio.sleep(start - now)

    def hold(self, seconds: float) -> None:
        """Let no request start for some time: the endpoint said that it gets too many."""
        self._free = max(self._free, time.monotonic() + seconds)


@dataclass
class Budget:
    """Counts what answers cost, and says when it is too much."""

    settings: ServedConfig
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def spend(self, reply: Reply) -> None:
        """Count an answer that the endpoint has given."""
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens

    def over(self) -> str | None:
        """Return which limit is reached, in words; `None` if none is."""
        tokens = self.prompt_tokens + self.completion_tokens
        limit = self.settings.token_limit
        if limit is not None and tokens >= limit:
            return f"{tokens:,} tokens, served.token_limit is {limit:,}"
        spent = cost(self.settings, self.prompt_tokens, self.completion_tokens)
        most = self.settings.cost_limit
        if most is not None and spent is not None and spent >= most:
            return f"{spent:.4g} by the prices given, served.cost_limit is {most:g}"
        return None


def cost(settings: ServedConfig, prompt_tokens: int, completion_tokens: int) -> float | None:
    """Return what tokens cost by the user's prices; `None` if a price is missing."""
    if settings.input_price is None or settings.output_price is None:
        return None
    return (prompt_tokens * settings.input_price + completion_tokens * settings.output_price) / 1e6
