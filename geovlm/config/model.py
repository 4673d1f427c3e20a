"""What a model's JSON files say of it, without loading it or importing torch."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm import nano
from geovlm.api import ModelProfile
from geovlm.errors import ConfigError

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.plugins.registry import Registry

NANO = "nano"
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """The run's model; `None` where its files are not on this machine."""

    name: str
    built_in: bool
    folder: Path | None
    model_type: str | None
    profile: ModelProfile | None
    """With the pixel limits of the run, else of the checkpoint's processor."""
    parameters: int | None


def inspect(config: RunConfig, *, registry: Registry) -> ModelFacts:
    """Return what the model's files say.

    Raises:
        ConfigError: the model is named by a path that holds none.
        UnknownNameError: no plugin knows its family.
    """
    folder = _folder(config)
    if folder is None:
        return ModelFacts(
            name=config.model,
            built_in=False,
            folder=None,
            model_type=None,
            profile=None,
            parameters=None,
        )
    model_type = _read(folder / "config.json").get("model_type", "")
    profile = registry.profile(model_type)
    low, high = _pixel_limits(folder)
    return ModelFacts(
        name=config.model,
        built_in=config.model == NANO,
        folder=folder,
        model_type=model_type,
        profile=dataclasses.replace(
            profile,
            min_pixels=config.min_pixels or low or profile.min_pixels,
            max_pixels=config.max_pixels or high or profile.max_pixels,
        ),
        parameters=_parameters(folder),
    )


def token_counter(facts: ModelFacts) -> Callable[[str], int] | None:
    """Return a function that counts a text's tokens, or `None` without the tokenizer's file."""
    file = facts.folder / "tokenizer.json" if facts.folder is not None else None
    if file is None or not file.is_file():
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _folder(config: RunConfig) -> Path | None:
    """Return the folder of the model's files; `None` for a hub name that is not in the cache."""
    if config.model == NANO:
        return nano.path()
    path = Path(config.model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(
                f"model {config.model!r} is a folder without config.json",
                hint="give the folder that holds it, such as RUN/stages/2-grpo/model",
            )
        return path.absolute()
    if not HUB_NAME.fullmatch(config.model) or config.model.startswith("."):
        raise ConfigError(
            f"model {config.model!r} does not exist",
            hint="give a folder with config.json, a name on the Hugging Face hub, or 'nano'",
        )
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(config.model, "config.json", revision=config.revision)
    return Path(found).parent if isinstance(found, str) else None


def _pixel_limits(folder: Path) -> tuple[int | None, int | None]:
    """Return (fewest, most) pixels of the checkpoint's image processor."""
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        return None, None
    settings = _read(file)
    size = settings.get("size") or {}
    low = size.get("shortest_edge") or settings.get("min_pixels")
    return low, size.get("longest_edge") or settings.get("max_pixels")


def _parameters(folder: Path) -> int | None:
    """Return the number of weights in the safetensors files, from their headers."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return None
    total = 0
    for path in files:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(math.prod(t["shape"]) for name, t in header.items() if name != "__metadata__")
    return total


def _read(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}", hint="is the model complete?"
        ) from error
    return value
