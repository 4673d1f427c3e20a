"""Refuses answers by vLLM that cannot be had, before anything is read."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from geovlm.config.answering import VLLM
from geovlm.config.model import served_name
from geovlm.errors import ConfigError

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig

INSTALL = "pip install 'geovlm[vllm]'; without a GPU, 'make vllm' in a checkout"


def check(config: RunConfig, *, elsewhere: bool = False) -> None:
    """Refuse settings that do not go together, and a missing vLLM unless it runs `elsewhere`.

    Raises:
        ConfigError: names the setting, and what to give instead.
    """
    settings = config.answering
    if settings.generation != VLLM:
        return
    if served_name(config.model) is not None:
        raise ConfigError(
            f"generation 'vllm' and model {config.model!r}: its endpoint writes the answers",
            hint="leave out --generation",
        )
    answering = [
        index
        for index in range(-1, len(config.stages))
        if config.world_size(index) > 1 and (index >= 0) == bool(config.stages)
    ]
    if answering and settings.url is None:
        raise ConfigError(
            f"generation 'vllm' answers in one process, not in {config.world_size(answering[0])}",
            hint="leave out processes, gpus and machines; or start geovlm serve with several GPUs "
            "and give its --url",
        )
    if settings.url is None and not elsewhere:
        require_vllm("generation 'vllm'")


def require_vllm(who: str) -> None:
    """Refuse to go on without vLLM.

    Raises:
        ConfigError: it is not installed; says how.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(f"{who} needs vLLM, which is not installed", hint=INSTALL)
