"""The numbers of docs/models.md are those of the processors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from geovlm.config import load as configs
from geovlm.engine.models import load
from geovlm.plugins import registry
from tools.reference.models import FAMILIES, Family

TILED = [family for family in FAMILIES if family.tokens]


@pytest.mark.families
@pytest.mark.parametrize("family", TILED, ids=lambda family: family.profile.name)
def test_the_page_of_models_says_the_tokens_that_the_processor_makes(
    family: Family, checkpoint: Callable[[str], Path]
) -> None:
    for name in family.tried:
        config = configs.load(None, model=str(checkpoint(name)))
        _, profile = load.load_reader(config.model, config, registry=registry.load())
        assert profile.image_tokens is not None
        made = tuple(profile.image_tokens([(side, side)]) for side in (512, 1024))
        assert (name, made) == (name, family.tokens)
