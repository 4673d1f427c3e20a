"""Reads facts of a model from its JSON files, without loading it or importing torch."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from geovlm import nano
from geovlm.api import ModelProfile
from geovlm.config import checkpoint, control_tokens
from geovlm.config.options import near
from geovlm.errors import ConfigError, UnknownNameError
from geovlm.plugins import profiles

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.plugins.registry import Registry

NANO = nano.NAME
SERVED = "openai:"
"""Begins the `model` of a run that is behind an endpoint."""
PROCESSOR = "preprocessor_config.json"
_BUNDLE = "processor_config.json"
"""File of transformers 5, which holds the settings for images as `image_processor`."""
_SHAPES = Path(__file__).with_name("shapes")
_LARGEST_CELL_PX = 32
"""Largest `ModelProfile.size_factor` of the families for which GeoVLM resizes, pixels."""
COUNTED_CHARS = 100_000
"""Characters of a text that are tokenized to count it; a megabyte would take seconds."""
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """The run's model; fields are `None` where its files are not on this machine."""

    name: str
    built_in: bool = False
    served: bool = False
    """True if it is behind an endpoint: nothing of it is on this machine."""
    folder: Path | None = None
    model_type: str | None = None
    profile: ModelProfile | None = None
    """With the pixel limits of the run, else of the checkpoint's processor."""
    parameters: int | None = None
    shipped: bool = False
    """True if `folder` holds the shape of a public checkpoint alone, see `geovlm.config.shapes`."""


def source(name: str) -> str:
    """Return the folder of the built-in model for `nano`; any other folder or hub name as it is."""
    return str(nano.path()) if name == NANO else name


def served_name(name: str) -> str | None:
    """Return the name of a model at its endpoint, without `SERVED`; `None` for any other model.

    Example:
        >>> served_name("openai:gpt-4o"), served_name("nano")
        ('gpt-4o', None)
    """
    return name.removeprefix(SERVED) if name.startswith(SERVED) else None


def hub_name(name: str) -> str | None:
    """Return the name of a model on the Hugging Face hub; `None` for `nano` and for a folder."""
    is_hub = HUB_NAME.fullmatch(name) and not Path(name).expanduser().exists()
    return name if is_hub and name != NANO else None


def base_of(folder: Path) -> Path | None:
    """Return the folder of the base model of adapters, if it is on this machine.

    A relative path counts from the working folder, or else from the folder of the adapters. A name
    on the hub is looked up in the local cache.
    """
    name = checkpoint.base_name(folder)
    if not name:
        return None
    for place in (Path(source(name)).expanduser(), folder / name):
        if (place / checkpoint.CONFIG).is_file():
            return place.absolute()
    from huggingface_hub import try_to_load_from_cache

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return None
    found = try_to_load_from_cache(name, checkpoint.CONFIG)
    return Path(found).parent if isinstance(found, str) else None


def inspect(
    config: RunConfig, *, registry: Registry, weights: bool = False, served: bool = False
) -> ModelFacts:
    """Return the facts in the model's files; with `weights`, all its files must be there and whole.

    A model behind an endpoint has no files here; it is refused unless `served`.

    A model of the hub that is not on this machine, or only its JSON files, is downloaded when it is
    loaded. Without `weights`, the shape that GeoVLM ships stands for its files.

    Raises:
        ConfigError: the model is a path that does not hold one, or is behind an endpoint.
        UnknownNameError: it is of a family without a profile, or of none that answers questions.
    """
    if served_name(config.model) is not None:
        if not served:
            raise ConfigError(
                f"model {config.model!r} is behind an endpoint, and this command needs its files",
                hint="geovlm eval asks an endpoint; give a folder or a name on the hub here",
            )
        return ModelFacts(name=config.model, served=True, profile=_served(config, registry))
    folder = _folder(config)
    if folder is None and (weights or not _is_family(config.model, registry)):
        _require_hub_name(config.model)
    if weights:
        _require_whole(folder, config.model)
    shape = _shape(config) if folder is None and not weights else None
    folder = folder or shape
    if folder is None:
        return ModelFacts(name=config.model)
    settings = checkpoint.read_object(folder / checkpoint.CONFIG)
    model_type = settings.get("model_type", "")
    profile = profile_of(settings, registry=registry)
    # of a model of the hub, the cache may hold some files without the template
    if hub_name(config.model) is None and checkpoint.lacks_chat_template(folder):
        raise no_chat_template(config.model)
    return ModelFacts(
        name=config.model,
        built_in=config.model == NANO,
        folder=folder,
        model_type=model_type,
        profile=limited(profile, config, folder=folder),
        parameters=checkpoint.parameters(folder),
        shipped=shape is not None,
    )


def _served(config: RunConfig, registry: Registry) -> ModelProfile:
    """Return the profile of a served model: the family's that the user names, else a neutral one.

    Where the family's processor resizes images, the server does it, and gets them at the size that
    they have, up to a limit.

    Raises:
        UnknownNameError: there is no such family.
    """
    profile = profiles.SERVED
    if config.served.family is not None:
        profile = registry.profile(config.served.family)
        if profile.resize == "processor":
            profile = dataclasses.replace(
                profiles.SERVED,
                name=profile.name,
                box_frame=profile.box_frame,
                box_order=profile.box_order,
                box_angle=profile.box_angle,
            )
    return limited(profile, config)


def profile_of(settings: Mapping[str, Any], *, registry: Registry) -> ModelProfile:
    """Return the profile of the family that a `config.json` names.

    Raises:
        UnknownNameError: there is none; states the reason, and what to give instead.
    """
    name = settings.get("model_type")
    return registry.profile(
        name if isinstance(name, str) else "", own_code=bool(settings.get("auto_map"))
    )


def no_chat_template(name: str) -> ConfigError:
    """Return the error about a model that has no chat template."""
    return ConfigError(
        f"model {name!r} has no chat template, so it answers no questions",
        hint="give the checkpoint that was tuned to instructions, often named -Instruct, -it or "
        "-Chat; GeoVLM asks every question as a chat",
    )


def limited(
    profile: ModelProfile, config: RunConfig, *, folder: Path | None = None
) -> ModelProfile:
    """Return the profile with the run's pixel limits, else the checkpoint's, else its own.

    The side of a cell is the checkpoint's too. Frame and order of boxes are those of `framed`.
    Where the processor resizes images, `geovlm.plan.sizes.bound` asks it for its limits.
    """
    low, high = PixelLimits()
    if folder is not None and profile.resize == "multiples":
        low, high = pixel_limits(folder, frames=profile.limit_frames)
        profile = _with_cells(profile, folder)
    return dataclasses.replace(
        framed(profile, config),
        min_pixels=config.min_pixels or low or profile.min_pixels,
        max_pixels=config.max_pixels or high or profile.max_pixels,
    )


def framed(profile: ModelProfile, config: RunConfig) -> ModelProfile:
    """Return the profile with the run's frame and order of boxes, else the family's own."""
    return dataclasses.replace(profile, **config.profile.model_dump(exclude_none=True))


def with_pixels(profile: ModelProfile, pixels: str | None) -> ModelProfile:
    """Return the profile with the pixel limits of a model.

    `pixels` is `nano`, a model folder with a `preprocessor_config.json`, or a largest area in
    pixels; `None` keeps the family's own limits.

    Raises:
        ConfigError: it is none of these, or the family's processor resizes images itself.
    """
    if pixels is None:
        return profile
    if profile.resize == "processor":
        raise ConfigError(
            f"--model-pixels {pixels!r}: the processor of {profile.name} resizes images itself",
            hint="give a folder of such a model",
        )
    if pixels.isdecimal() and int(pixels) > 0:
        largest = int(pixels)
        low = min(profile.min_pixels, largest)
        return dataclasses.replace(profile, min_pixels=low, max_pixels=largest)
    folder = Path(source(pixels))
    lowest, highest = pixel_limits(folder, frames=profile.limit_frames)
    if lowest is None or highest is None:
        raise ConfigError(
            f"--model-pixels {pixels!r} is not a model: {folder / PROCESSOR} has no pixel limits",
            hint=f"give 'nano', a folder with {PROCESSOR}, or a number of pixels",
        )
    return dataclasses.replace(_with_cells(profile, folder), min_pixels=lowest, max_pixels=highest)


class PixelLimits(NamedTuple):
    """Smallest and largest area of an image as a processor makes it, pixels."""

    lowest: int | None = None
    highest: int | None = None


def pixel_limits(folder: Path, *, frames: int = 1) -> PixelLimits:
    """Return the limits of a checkpoint's processor; `None` for those that it does not state.

    `frames` is `ModelProfile.limit_frames` of its family.
    """
    settings = _image_settings(folder)
    size = settings.get("size") or {}
    # transformers prefers `min_pixels` and `max_pixels` where a file has both
    low = settings.get("min_pixels") or size.get("shortest_edge")
    high = settings.get("max_pixels") or size.get("longest_edge")
    return PixelLimits(low and low // frames, high and high // frames)


def _with_cells(profile: ModelProfile, folder: Path) -> ModelProfile:
    """Return the profile of a family with the cells of a checkpoint, patch size x merge size."""
    settings = _image_settings(folder)
    patch, merge = settings.get("patch_size"), settings.get("merge_size")
    if not (isinstance(patch, int) and isinstance(merge, int)):
        return profile
    return dataclasses.replace(profile, size_factor=patch * merge)


def _image_settings(folder: Path) -> dict[str, Any]:
    """Return what a checkpoint's files state of its image processor; empty if nothing."""
    files = [folder / name for name in (_BUNDLE, PROCESSOR) if (folder / name).is_file()]
    read = [checkpoint.read_object(file) for file in files]
    settings: dict[str, Any] = {}
    for each in read:
        # as transformers does, which reads the single file where the bundle has no such part
        settings = settings or each.get("image_processor") or {}
    if not settings and files and files[-1].name == PROCESSOR:
        settings = read[-1]
    return settings


def loose_limits(lowest: int, highest: int) -> PixelLimits:
    """Return limits within which a second resize leaves every size of the first one as it is.

    A size may lie outside of its own limits: sides are rounded down to keep within the upper one,
    up to reach the lower one, and never below one cell.
    """
    # sides are at most 200 times each other, so their sum is below 15 roots of the area
    grown = lowest + 15 * _LARGEST_CELL_PX * math.isqrt(lowest) + _LARGEST_CELL_PX**2
    thin = _LARGEST_CELL_PX * (math.isqrt(200 * highest) + _LARGEST_CELL_PX)
    return PixelLimits(1, max(highest, grown, thin))


def token_counter(facts: ModelFacts) -> Callable[[str], int] | None:
    """Return a function that counts a text's tokens, or `None` without the tokenizer's file.

    Control tokens in the text are letters, as they are to the model. Of a text of more than
    `COUNTED_CHARS` characters the beginning is counted, and the rest estimated from it.
    """
    file = facts.folder / "tokenizer.json" if facts.folder is not None else None
    if file is None or not file.is_file():
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    escape = control_tokens.of_folder(file.parent, tokenizer).escape

    def count(text: str) -> int:
        counted = text[:COUNTED_CHARS]
        found = len(tokenizer.encode(escape(counted), add_special_tokens=False).ids)
        return found if counted == text else math.ceil(found * len(text) / len(counted))

    return count


def _folder(config: RunConfig) -> Path | None:
    """Return the folder of the model's files; `None` for a hub name that is not in the cache."""
    path = Path(source(config.model)).expanduser()
    if path.is_dir():
        checkpoint.require(path, name=config.model)
        return path.absolute()
    if path.is_file():
        raise ConfigError(
            f"model {config.model!r} is a file",
            hint=f"give the folder of the model, such as {path.parent}",
        )
    if not HUB_NAME.fullmatch(config.model) or config.model.startswith("."):
        raise ConfigError(
            f"model {config.model!r} does not exist",
            hint="give a folder with config.json, a name on the Hugging Face hub, or 'nano'",
        )
    from huggingface_hub import try_to_load_from_cache

    for file in (checkpoint.CONFIG, checkpoint.ADAPTERS):
        found = try_to_load_from_cache(config.model, file, revision=config.revision)
        if isinstance(found, str):
            checkpoint.require(Path(found).parent, name=config.model)
            return Path(found).parent
    return None


def _shape(config: RunConfig) -> Path | None:
    """Return the folder with the shape of a public checkpoint, if GeoVLM ships it."""
    folder = _SHAPES / config.model.replace("/", "--")
    return folder if "/" in config.model and folder.is_dir() else None


def _is_family(name: str, registry: Registry) -> bool:
    """Return True if a name is the `model_type` of a family, which has limits but no files."""
    try:
        registry.profile(name)
    except UnknownNameError:
        return False
    return True


def _require_hub_name(name: str) -> None:
    """Refuse a name that no model on the hub can have: it has no account before it."""
    if "/" not in name:
        raise ConfigError(
            f"model {name!r} is neither a folder nor in the local cache",
            hint=near(name, [NANO]) or "a name on the hub has the form ACCOUNT/NAME",
        )


def _require_whole(folder: Path | None, name: str) -> None:
    """Refuse weights that are not whole, and a download where the hub must not be asked."""
    from huggingface_hub import constants

    offline = constants.is_offline_mode()
    if folder is not None and (offline or hub_name(name) is None):
        checkpoint.require_whole(folder, name=name)
    elif folder is None and offline:
        cached = Path(constants.HF_HUB_CACHE).glob("models--*")
        known = [each.name.removeprefix("models--").replace("--", "/") for each in cached]
        raise ConfigError(
            f"model {name!r} is not in the local cache, and HF_HUB_OFFLINE forbids to download it",
            hint=near(name, known) or f"unset it, or run hf download {name} where it is allowed",
        )
