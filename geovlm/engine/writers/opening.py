"""Opens what writes the answers, as the run configures it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from geovlm.config.answering import VLLM
from geovlm.config.model import inspect, served_name
from geovlm.config.schema import RunConfig
from geovlm.engine.models import load
from geovlm.engine.writers.endpoint import Endpoint
from geovlm.engine.writers.server import Server
from geovlm.engine.writers.vllm import Vllm
from geovlm.engine.writers.writer import Transformers, Writer
from geovlm.plugins.registry import Registry
from geovlm.run.vllm import answering


@contextlib.contextmanager
def writer(path: str, config: RunConfig, *, registry: Registry) -> Iterator[Writer]:
    """Yield the writer of a run for the weights at `path`; what it started ends with the block.

    Raises:
        ConfigError: see `load.load_reader`; or vLLM is not installed.
    """
    made = _made(path, config, registry=registry)
    try:
        yield made
    finally:
        made.close()


def _made(path: str, config: RunConfig, *, registry: Registry) -> Writer:
    if served_name(config.model) is not None:
        profile = inspect(config, registry=registry, served=True).profile
        assert profile is not None
        return Endpoint(config, profile)
    settings = config.answering
    if settings.generation != VLLM:
        return Transformers(load.load(path, config, registry=registry))
    answering.check(config)
    processor, profile = load.load_reader(path, config, registry=registry)
    if settings.url is not None:
        return Server(path, config, registry, processor, profile)
    return Vllm(path, config, registry, processor, profile)
