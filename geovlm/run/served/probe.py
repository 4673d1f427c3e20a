"""Asks an endpoint one question about one real image, before an evaluation begins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from geovlm import raster
from geovlm.api import ModelProfile
from geovlm.config.model import served_name
from geovlm.data.prompts import Prompt, visual_tokens
from geovlm.errors import ConfigError
from geovlm.run.served import request
from geovlm.run.served.client import Client
from geovlm.run.served.reply import Reply

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig

_TOKENS = 16
"""Longest answer to the probe; its text does not matter."""


def check(config: RunConfig, prompt: Prompt, *, profile: ModelProfile, instruction: str) -> None:
    """Send a sample's images and question; its answer is not kept.

    Raises:
        EndpointError: the endpoint does not answer, or takes no images.
        ConfigError: the server makes fewer tokens of the prompt than its images should have.
    """
    model = served_name(config.model)
    assert model is not None
    opened = [raster.open_image(image) for image in prompt.sample.images]
    sizes = prompt.picture_sizes
    made = request.make(
        model,
        question=f"{prompt.question.strip()} {instruction}".strip(),
        images=[each.resize(size) for each, size in zip(opened, sizes, strict=True)],
        settings=config.served,
        max_tokens=_TOKENS,
        temperature=0.0,
        seed=config.seed,
    )
    _require_whole_images(asyncio.run(_ask(config, made)), prompt, config, profile=profile)


async def _ask(config: RunConfig, made: request.Request) -> Reply:
    async with Client(config.served) as client:
        return await client.ask(made, patient=False)


def _require_whole_images(
    answered: Reply, prompt: Prompt, config: RunConfig, *, profile: ModelProfile
) -> None:
    """Refuse a server that shrinks images of a family whose boxes are pixels of what it sees."""
    if profile.box_frame != "input_pixels" or config.served.family is None:
        return
    expected = visual_tokens(prompt.picture_sizes, profile=profile)
    if 0 < answered.prompt_tokens < expected:
        raise ConfigError(
            f"{config.model} makes {answered.prompt_tokens} tokens of a prompt whose images alone "
            f"have {expected}: the server shrinks images, so boxes would be read at a wrong scale",
            hint="set max_pixels to the server's limit",
        )
