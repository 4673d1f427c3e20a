"""Answers an evaluation by a model behind an endpoint, several requests at a time.

Answers are kept by the content of their requests: equal requests are asked once, and an evaluation
that is resumed asks only what is missing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from geovlm.api import ModelProfile
from geovlm.config.schema import RunConfig
from geovlm.engine.evaluation.answerer import counted
from geovlm.engine.generation.answering import PromptSet, Texts
from geovlm.engine.rows.rows import Row, pictures
from geovlm.engine.stage import Stage
from geovlm.errors import StoppedError
from geovlm.run.served import limits, request
from geovlm.run.served.cache import AnswerCache
from geovlm.run.served.client import Client
from geovlm.run.served.faults import EndpointError
from geovlm.run.served.limits import Budget
from geovlm.run.served.reply import Reply

_KEPT = "the answers so far are kept: go on with --resume"
_SEEDS = 2**31
"""Seeds are below it: some servers take signed numbers of 32 bits."""


class _Job(NamedTuple):
    """One answer to be had."""

    prompts: str
    """Name of the prompt set."""
    row: Row
    number: int
    """Position among the temperatures of the prompt set."""
    temperature: float
    seed: int


@dataclass(eq=False, kw_only=True)
class Served:
    """A model behind an endpoint as an `Answerer`, for a run of one process."""

    model: str
    """Its name there."""
    profile: ModelProfile
    config: RunConfig
    _replies: dict[tuple[str, str, int], Reply] = field(default_factory=dict, init=False)
    """Prompt set, row key, position of the temperature -> answer."""
    _reused: set[tuple[str, str, int]] = field(default_factory=set, init=False)
    """Those that were not asked for, because an equal request had been answered."""

    @property
    def template(self) -> str:
        """The chat template is the server's, and not known."""
        return ""

    @property
    def decoding(self) -> str:
        """`greedy`, unless the temperature is not 0."""
        settings = self.config.served
        if "temperature" in settings.omit:
            return "temperature of the server"
        given = settings.parameters.get("temperature", 0)
        return "greedy" if given == 0 else f"temperature {given}"

    def max_new_tokens(self, stage: Stage) -> int:
        """Return `served.max_tokens`, or the longest answer of any task."""
        tasks = [stage.task(name) for name in stage.task_names]
        return self.config.served.max_tokens or stage.max_new_tokens(tasks)

    def answer(
        self, stage: Stage, prompts: Sequence[PromptSet], *, folder: Path, name: str
    ) -> dict[str, Texts]:
        """See `Answerer.answer`; answers are kept in the cache, and nothing in `folder`.

        Raises:
            EndpointError: a request was not answered, or a limit of cost or tokens is reached; the
                answers of those that were under way are kept.
            StoppedError: on request.
        """
        jobs = list(_jobs(prompts, seed=stage.config.seed))
        stage.meter.begin(
            f"evaluate {name}", unit="answer", total=len(jobs), detail=counted(prompts)
        )
        place = self.config.served.cache
        with closing(AnswerCache(Path(place) if place else stage.run.served)) as cache:
            asyncio.run(_Round(self, stage, cache, jobs).run())
        found: dict[str, dict[str, list[str]]] = {each.name: {} for each in prompts}
        for job in jobs:
            reply = self._replies[job.prompts, job.row.key, job.number]
            found[job.prompts].setdefault(job.row.key, []).append(reply.text)
        return dict(found)

    def cut(self, stage: Stage, rows: Sequence[Row], texts: Sequence[str]) -> list[bool]:
        """See `Answerer.cut`; the server says so."""
        return [self._greedy(row).cut for row in rows]

    def facts(self, rows: Sequence[Row]) -> Mapping[str, Any]:
        """Return `served`: the endpoint's model, counts of answers without content, tokens, cost.

        Refusals, empty answers and those that were cut are counted among the greedy ones.
        """
        keys = {row.key for row in rows}
        settings = self.config.served
        greedy = [self._greedy(row) for row in rows]
        own = {place: reply for place, reply in self._replies.items() if place[1] in keys}
        prompt = sum(reply.prompt_tokens for reply in own.values())
        completion = sum(reply.completion_tokens for reply in own.values())
        return {
            "served": {
                "base_url": settings.base_url,
                "models": sorted({reply.model for reply in own.values()} - {""}),
                "images": request.described(settings),
                "omitted": list(settings.omit),
                "refused": sum(reply.refused for reply in greedy),
                "empty": sum(reply.empty for reply in greedy),
                "cut": sum(reply.cut for reply in greedy),
                "finish": dict(Counter(reply.finish for reply in greedy)),
                "answers": len(own),
                "reused": len(self._reused & own.keys()),
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "cost": limits.cost(settings, prompt, completion),
            }
        }

    def keep(self, job: _Job, reply: Reply, *, reused: bool) -> None:
        """Note the answer to a job."""
        place = (job.prompts, job.row.key, job.number)
        self._replies[place] = reply
        if reused:
            self._reused.add(place)

    def _greedy(self, row: Row) -> Reply:
        return self._replies["model", row.key, 0]


class _Round:
    """Answers jobs by as many tasks as requests may be under way at the same time."""

    def __init__(
        self, served: Served, stage: Stage, cache: AnswerCache, jobs: Sequence[_Job]
    ) -> None:
        self._served, self._stage, self._cache = served, stage, cache
        self._jobs = iter(jobs)
        self._limit = served.max_new_tokens(stage)
        self._budget = Budget(served.config.served)
        self._locks: dict[str, asyncio.Lock] = {}
        self._failure: EndpointError | None = None
        self._halt = False

    async def run(self) -> None:
        """Answer all jobs.

        Raises:
            EndpointError, StoppedError: see `Served.answer`.
        """
        settings = self._served.config.served
        async with Client(settings, halted=self._ending) as client:
            await asyncio.gather(*(self._work(client) for _ in range(settings.concurrency)))
        if self._failure is not None:
            hint = "; ".join(filter(None, [self._failure.hint, _KEPT]))
            raise EndpointError(str(self._failure.args[0]), hint=hint)
        over = self._budget.over()
        if self._halt and over is not None:
            raise EndpointError(f"a limit of the evaluation is reached: {over}", hint=_KEPT)
        if self._halt:
            raise StoppedError(f"evaluating: {_KEPT}")

    def _ending(self) -> bool:
        """Return True if no failed request is sent again."""
        return self._stage.stop.requested or self._failure is not None

    def _halted(self) -> bool:
        """Return True if no further request is sent."""
        self._halt = self._halt or self._ending() or self._budget.over() is not None
        return self._halt

    async def _work(self, client: Client) -> None:
        for job in self._jobs:
            made = self._request(job)
            key = made.key()
            async with self._locks.setdefault(key, asyncio.Lock()):
                reply = self._cache.get(key)
                reused = reply is not None
                if reply is None:
                    if self._halted():
                        return
                    try:
                        reply = await client.ask(made)
                    except EndpointError as error:
                        self._halt = True
                        if not self._ending():
                            self._failure = _named(error, job.row)
                        return
                    self._budget.spend(reply)
                    self._cache.put(key, reply)
            self._served.keep(job, reply, reused=reused)
            self._stage.meter.advance(1, fresh=not reused)

    def _request(self, job: _Job) -> request.Request:
        return request.make(
            self._served.model,
            question=job.row.question,
            images=pictures(job.row, cache=self._stage.cache),
            settings=self._served.config.served,
            max_tokens=self._limit,
            temperature=job.temperature,
            seed=job.seed,
        )


def _jobs(prompts: Sequence[PromptSet], *, seed: int) -> Iterator[_Job]:
    """Yield every answer to be had; greedy ones have the run's seed, each sampled one its own."""
    for each in prompts:
        for row in each.rows:
            for number, temperature in enumerate(each.temperatures):
                own = seed if temperature == 0 else _seed(seed, row.key, number)
                yield _Job(each.name, row, number, temperature, own)


def _seed(*parts: Any) -> int:
    """Return a seed that depends on the run's seed, the sample and the number of the answer."""
    text = "\t".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % _SEEDS


def _named(error: EndpointError, row: Row) -> EndpointError:
    return EndpointError(
        f"{error.args[0]} (sample {row.sample_id!r} of task {row.task!r})", hint=error.hint
    )
