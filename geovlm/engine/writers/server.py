"""Answers by a vLLM server that has the run's model."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from geovlm.api import ModelProfile
from geovlm.config.model import loose_limits
from geovlm.config.schema import RunConfig
from geovlm.engine.generation import generate
from geovlm.engine.models import load
from geovlm.engine.rows import tokens
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row
from geovlm.engine.writers import endpoint, prompts, reference
from geovlm.engine.writers.vllm import NEVER, require_length
from geovlm.engine.writers.writer import Expected
from geovlm.errors import ConfigError
from geovlm.plugins.registry import Registry
from geovlm.run.served import request
from geovlm.run.served.reply import Reply

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # servers are local
_TIMEOUT_S = 10.0
_HINT = "start it with geovlm serve MODEL, or give the address of one that runs"


@dataclass(eq=False)
class Server:
    """A model behind vLLM's chat endpoint, compared with the run's model before the first answer.

    The server returns token ids, so answers are read as those of a model in this process.
    """

    path: str
    """Folder or hub name of the weights that the server should have."""
    config: RunConfig
    registry: Registry
    processor: Any
    profile: ModelProfile
    _expected: Expected | None = field(default=None, init=False)
    _name: str = field(default="", init=False)
    _parameters: dict[str, Any] = field(default_factory=dict, init=False)

    def expect(self, job: Expected) -> None:
        """See `Writer.expect`."""
        self._expected = job

    def complete(
        self,
        rows: Sequence[Row],
        *,
        cache: ImageCache,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """See `Writer.complete`; a sampled answer depends on its own row and the seed alone.

        Raises:
            ConfigError: no vLLM server answers there, or it has another model.
            RunFailedError: it does not answer as transformers does.
            EndpointError: a request was not answered.
        """
        if not self._name:
            self._check(rows)
        seeds = [prompts.seed_of(seed, row) if temperature else seed for row in rows]
        replies = self._ask(
            rows, seeds, cache=cache, max_tokens=max_new_tokens, temperature=temperature
        )
        return tokens.texts(self.processor, [each.token_ids for each in replies])

    def close(self) -> None:
        """The server is not this process's."""

    def _check(self, rows: Sequence[Row]) -> None:
        """Compare some answers with those of transformers.

        Raises:
            ConfigError, RunFailedError, EndpointError: see `complete`.
        """
        job = self._expected or Expected(rows, ImageCache(), reference.TOKENS)
        name = _model(self._url, self.config.answering.name)
        loaded = load.load(self.path, self.config, registry=self.registry)
        references = reference.answer(loaded, reference.choose(job.rows), cache=job.cache)
        dtype: torch.dtype = loaded.model.dtype
        never = generate.image_tokens(self.processor) or []
        self._parameters = {
            "stop_token_ids": list(loaded.chat.stops),
            "logit_bias": {str(each): NEVER for each in never},
            "return_token_ids": True,
            "logprobs": True,
        }
        if self.profile.resize == "multiples":  # images have their size
            loose = loose_limits(self.profile.min_pixels, self.profile.max_pixels)
            kwargs = {"min_pixels": loose.lowest, "max_pixels": loose.highest}
            self._parameters["mm_processor_kwargs"] = kwargs
        del loaded
        load.free()
        self._name = name
        asked = [each.row for each in references]
        replies = self._ask(
            asked, [0] * len(asked), cache=job.cache, max_tokens=reference.TOKENS, temperature=0.0
        )
        difference = reference.compare(
            references,
            [reference.Answer(each.prompt_ids, each.token_ids, each.logprobs) for each in replies],
            tolerance=self.config.answering.tolerance or reference.TOLERANCE[dtype],
            who=f"{self._url} (model {name!r})",
        )
        self._parameters["logprobs"] = False
        print(
            f"{self._url}: model {name!r}; log-probabilities of {len(asked)} samples are "
            f"{difference:.1g} from those of transformers per token",
            file=sys.stderr,
            flush=True,
        )

    @property
    def _url(self) -> str:
        assert self.config.answering.url is not None
        return self.config.answering.url

    def _ask(
        self,
        rows: Sequence[Row],
        seeds: Sequence[int],
        *,
        cache: ImageCache,
        max_tokens: int,
        temperature: float,
    ) -> list[Reply]:
        settings = self.config.served.model_copy(
            update={"base_url": f"{self._url}/v1", "parameters": self._parameters, "omit": []}
        )
        escape = tokens.control_tokens(self.processor).escape
        made = prompts.of(self.processor, rows, cache=cache)
        requests = [
            request.make(
                self._name,
                question=escape(row.question),
                images=prompt.images,
                settings=settings,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
            )
            for row, prompt, seed in zip(rows, made, seeds, strict=True)
        ]

        replies = endpoint.ask(requests, settings)
        for row, prompt, reply in zip(rows, made, replies, strict=True):
            if not reply.prompt_ids:
                raise ConfigError(
                    f"{self._url} returns no token ids, so it is no vLLM of a tested version",
                    hint="geovlm eval --model openai:NAME --base-url URL asks any endpoint",
                )
            require_length(row, prompt, len(reply.prompt_ids), profile=self.profile)
        return replies


def _model(url: str, wanted: str | None) -> str:
    """Return the name of the server's model.

    Raises:
        ConfigError: no server answers there, it has several models, or none of the name.
    """
    try:
        with _OPENER.open(f"{url}/v1/models", timeout=_TIMEOUT_S) as answer:
            listed = json.load(answer)["data"]
        names = [str(each["id"]) for each in listed]
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConfigError(f"no server answers at {url}: {reason}", hint=_HINT) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"the server at {url} lists no models", hint=_HINT) from error
    if wanted is not None and wanted not in names:
        raise ConfigError(
            f"the server at {url} has no model {wanted!r}", hint=f"it has {', '.join(names[:5])}"
        )
    if wanted is None and len(names) != 1:
        raise ConfigError(
            f"the server at {url} has {len(names)} models",
            hint=f"--set answering.name=NAME, one of {', '.join(names[:5])}",
        )
    return wanted or names[0]
