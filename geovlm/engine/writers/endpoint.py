"""Answers by a model behind any chat endpoint, of which nothing is on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from geovlm.api import ModelProfile
from geovlm.config.model import served_name
from geovlm.config.schema import RunConfig
from geovlm.config.served import ServedConfig
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row, pictures
from geovlm.engine.writers.writer import Expected
from geovlm.run.served import request
from geovlm.run.served.client import Client
from geovlm.run.served.reply import Reply


@dataclass(frozen=True)
class Endpoint:
    """The model `openai:NAME` of a run; the chat template is the server's."""

    config: RunConfig
    profile: ModelProfile
    processor: Any = None
    """There is none here."""

    def expect(self, job: Expected) -> None:
        """Nothing is to be started."""

    def complete(
        self,
        rows: Sequence[Row],
        *,
        cache: ImageCache,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """See `Writer.complete`; a refusal is an empty text.

        Raises:
            EndpointError: a request was not answered.
        """
        settings, name = self.config.served, served_name(self.config.model)
        assert name is not None
        requests = [
            request.make(
                name,
                question=row.question,
                images=pictures(row, cache=cache),
                settings=settings,
                max_tokens=settings.max_tokens or max_new_tokens,
                temperature=temperature,
                seed=seed,
            )
            for row in rows
        ]
        return [each.text for each in ask(requests, settings)]

    def close(self) -> None:
        """The server is not this process's."""


def ask(requests: Sequence[request.Request], settings: ServedConfig) -> list[Reply]:
    """Return the answers to requests, `settings.concurrency` of them under way at a time.

    Raises:
        EndpointError: the first one that was not answered; the others are given up.
    """

    async def together() -> list[Reply]:
        free = asyncio.Semaphore(settings.concurrency)
        async with Client(settings) as client:

            async def one(each: request.Request) -> Reply:
                async with free:
                    return await client.ask(each)

            return list(await asyncio.gather(*map(one, requests)))

    return asyncio.run(together())
