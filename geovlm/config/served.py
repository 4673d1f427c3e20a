"""Settings of a model behind an OpenAI-compatible endpoint, which the run's `model` names.

`openai:NAME` is the model NAME of the server at `served.base_url`. Such a model is evaluated only.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from geovlm.config.stages import Table

KEY_VARIABLE = "OPENAI_API_KEY"
_OWNED = ("model", "messages", "stream", "n")
"""Parts of a request that the user cannot set or leave out."""


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        # not repeated here: it may hold a key
        raise ValueError(
            "an address has no user, password or query, which would be written to files; the key "
            "is read from the environment, see served.api_key_env"
        )
    return url.rstrip("/")


def _variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        # not repeated here: it may be the key itself
        raise ValueError("it takes the name of an environment variable, never the key itself")
    return name


class ServedConfig(Table):
    """Endpoint of a served model: requests, limits, prices."""

    base_url: Annotated[str, AfterValidator(_address)] | None = None
    """Address of the endpoint, in front of `/chat/completions`, such as
    `http://localhost:8000/v1`."""
    api_key_env: Annotated[str, AfterValidator(_variable)] = KEY_VARIABLE
    """Name of the environment variable with the key. Without a value, no key is sent."""
    family: str | None = None
    """`model_type` of the model's family, such as `qwen2_5_vl`, if it is known: frame of boxes,
    sides and limits of images are then the family's. Default: images keep their size, and tasks
    with boxes need `profile.box_frame`."""
    image_format: Literal["png", "jpeg"] = "png"
    """Format in which images are sent; PNG loses nothing."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95
    """Quality of JPEG, without subsampling of colours."""
    image_detail: Literal["auto", "low", "high"] | None = None
    """The `detail` of OpenAI's images; default: it is not sent."""
    max_tokens: PositiveInt | None = None
    """Longest answer, tokens, the reasoning of a thinking model included; default: as for other
    models, the tasks' `max_answer_tokens` or `max_new_tokens`."""
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Name of that limit in a request; OpenAI's newer models take `max_completion_tokens`."""
    parameters: dict[str, JsonValue] = {}
    """More parameters of every request, such as `reasoning_effort`."""
    omit: list[str] = []
    """Parameters that the endpoint refuses and that are left out: `temperature`, `seed`. Without a
    temperature the server chooses its own, so that no answer is greedy; the scores say so."""
    concurrency: PositiveInt = 8
    """Largest number of requests at the same time."""
    requests_per_minute: PositiveFloat | None = None
    """Largest rate of requests, evenly spread; default: no limit."""
    timeout_s: PositiveFloat = 120.0
    """Longest time for one request from its start to the last byte of the answer, seconds."""
    retries: NonNegativeInt = 5
    """Further attempts after 408, 409, 425, 429, 5xx, a timeout or a lost connection."""
    backoff_s: PositiveFloat = 1.0
    """Wait before the first further attempt, seconds. It doubles each time, up to 60 s, and a
    random part of up to a half is taken off; `Retry-After` of the server takes its place."""
    input_price: NonNegativeFloat | None = None
    """Price of a million tokens of prompts, in any currency."""
    output_price: NonNegativeFloat | None = None
    """Price of a million tokens of answers, in the same currency."""
    cost_limit: PositiveFloat | None = None
    """Largest cost by these prices of one start of the command, after which it stops; it can be
    resumed, and then counts anew. At most `concurrency` requests go beyond it."""
    token_limit: PositiveInt | None = None
    """The same in tokens of prompts and answers together."""
    cache: str | None = None
    """Folder of a cache of answers that runs share; default: `served` in the run folder. A server
    that gives a name to other weights needs a cache of its own."""

    @model_validator(mode="after")
    def _consistent(self) -> ServedConfig:
        if self.cost_limit is not None and None in (self.input_price, self.output_price):
            raise ValueError("cost_limit needs input_price and output_price")
        for name in (*self.parameters, *self.omit):
            if name in _OWNED:
                raise ValueError(f"{name!r} of a request cannot be set or left out")
        if self.max_tokens_key in {*self.parameters, *self.omit}:
            raise ValueError(f"{self.max_tokens_key} is set by max_tokens")
        return self
