"""Settings of what writes the answers of evaluations, probes and predictions."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from geovlm.config.stages import Table

VLLM = "vllm"
"""Value of `answering.generation` with which vLLM writes the answers."""


def _server(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an address such as http://127.0.0.1:8000")
    if parts.username or parts.password or parts.query or parts.fragment:
        # not repeated here: it may hold a key
        raise ValueError("an address has no user, password or query, which would be written")
    return re.sub(r"(/v1)?/*$", "", url)


class AnsweringConfig(Table):
    """Writer of the answers of evaluations, probes and predictions, see docs/vllm.md."""

    generation: Literal["transformers", "vllm"] = "transformers"
    """`transformers`, or `vllm`: in the process itself, or by the server at `url`. GRPO's
    completions have a key of their own, `stages.N.generation`."""
    url: Annotated[str, AfterValidator(_server)] | None = None
    """Address of a running server that has the run's model, as `geovlm serve` starts one; default:
    vLLM runs in the process. Requests keep to `served.timeout_s`, `served.retries` and
    `served.concurrency`."""
    name: str | None = None
    """Name of the model at the server; default: the only one that it has."""
    memory: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Share of a GPU's memory that vLLM takes in the process; default: 0.9."""
    max_model_len: PositiveInt | None = None
    """Longest prompt with its answer for which vLLM keeps room, tokens; default: the longest of the
    rows."""
    tolerance: PositiveFloat | None = None
    """Largest mean difference of the log-probabilities of vLLM and of transformers in the check
    before the first answer; default: 0.001 in float32, 0.05 in bfloat16."""

    @model_validator(mode="after")
    def _of_vllm(self) -> AnsweringConfig:
        given = [key for key, value in self.model_dump().items() if value is not None]
        if self.generation != VLLM and given != ["generation"]:
            raise ValueError(f"{given[1]} is of generation 'vllm'")
        if self.name is not None and self.url is None:
            raise ValueError("name is of the model at 'url', which is missing")
        return self
