"""Processors for images and text, of any family, loaded and saved without torchvision.

transformers needs torchvision for videos only, yet cannot build most stock processors without it.
Here the parts for videos and sound are replaced by their settings, and images are processed with
Pillow. What `save_processor` writes, the stock `AutoProcessor` and vLLM read.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING, processor_class_from_name
from transformers.processing_utils import ProcessorMixin
from transformers.utils import cached_file

from geovlm.engine.models import limits
from geovlm.engine.rows import rendering
from geovlm.engine.speedups import patches
from geovlm.errors import ConfigError
from geovlm.files.jsontext import dumps

_USED = ("image_processor", "tokenizer")
"""Parts of a processor that are loaded."""
_BUNDLE, _IMAGES, _VIDEOS = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
)


class Unused:
    """Settings of a part of a processor that is not loaded, such as that for videos.

    Stock classes read some of them without a video too; one that the checkpoint does not state is
    `None`.
    """

    _auto_class = None  # transformers asks every part for it
    model_input_names: tuple[str, ...] = ()

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of protocols, such as that of copies
            raise AttributeError(name)
        return self.settings.get(name)


class StillProcessor(ProcessorMixin):
    """Mixin of a stock processor whose parts other than tokenizer and images are `Unused`."""

    bundle: Mapping[str, Any]
    """The checkpoint's `processor_config.json`, without the settings for images."""
    videos: Mapping[str, Any]
    """The checkpoint's `video_preprocessor_config.json`; empty if it has none."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        """Accept an `Unused` part; others as the stock class does."""
        if isinstance(argument, Unused):
            return Unused
        return super().check_argument_for_proper_class(argument_name, argument)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings of the parts that are loaded."""
        fields: dict[str, Any] = super().to_dict()
        return {key: value for key, value in fields.items() if not isinstance(value, Unused)}

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Write the files of the stock class, under the stock class's names."""
        folder = Path(save_directory)
        self.tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]  # a mixin's field
        return _write_stock_files(folder, self)


@functools.cache
def still(stock: Any) -> type[StillProcessor]:
    """Return the image-only form of a stock processor's class, under its name."""
    return type(stock.__name__, (StillProcessor, stock), {"__module__": __name__})


def load_processor(
    path_or_name: str,
    *,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    cache_patches: bool = True,
    template_values: Mapping[str, bool | int | float | str] = {},
) -> ProcessorMixin:
    """Return the processor of a checkpoint folder or hub name, with left padding.

    `min_pixels` and `max_pixels` bound the area of the resized image; None keeps the checkpoint's
    own. `cache_patches` keeps the patches of an image for its next use, in families whose
    processors make patches. For the chat template with its `template_values`, see
    `geovlm.engine.rows.rendering.settle`.

    Raises:
        ConfigError: its images need a package that is not installed, or cannot be bounded so; or
            the chat template knows no variable of such a name.
    """
    source: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    config = AutoConfig.from_pretrained(path_or_name, **source)
    stock = _stock_class(path_or_name, type(config), source=source)
    try:
        processor = (
            AutoProcessor.from_pretrained(path_or_name, **source)
            if stock is None
            else _still_processor(stock, path_or_name, source, cache_patches=cache_patches)
        )
    except ImportError as error:
        raise _missing(path_or_name, error) from error
    rendering.settle(processor, template_values)
    limits.bound(
        processor.image_processor,
        min_pixels=min_pixels,
        max_pixels=max_pixels,
        name=config.model_type,
    )
    return processor


def takes_any_size(processor: ProcessorMixin) -> bool:
    """Return True if a processor can take images at the size that they have."""
    return limits.makes_grid(processor.image_processor)  # type: ignore[attr-defined]


def take_as_sized(processor: ProcessorMixin) -> None:
    """Let a processor of which `takes_any_size` is True take images at the size that they have.

    Sides must be multiples of patch and merge size. What `save_processor` writes stays as it is.
    """
    processor.image_processor.do_resize = False  # type: ignore[attr-defined]  # a mixin's field


def save_processor(processor: ProcessorMixin, folder: Path | str) -> None:
    """Write the files from which `load_processor`, `AutoProcessor` and vLLM load it again."""
    processor.save_pretrained(folder)


def build(
    stock: Any,
    *,
    image_processor: Any,
    tokenizer: Any,
    bundle: Mapping[str, Any],
    videos: Mapping[str, Any],
) -> StillProcessor:
    """Return the image-only form of a stock processor, made of its parts.

    `bundle` are the contents of `processor_config.json`, the chat template included; `videos` those
    of `video_preprocessor_config.json`.
    """
    kind: Any = still(stock)
    module = sys.modules[stock.__module__]
    if getattr(module, "num2words", True) is None:
        # SmolVLM's class wants this package, which names the numbers of a video's frames
        module.num2words = _no_videos  # type: ignore[attr-defined]
    parts: list[Any] = []
    for name in kind.get_attributes():
        if name in _USED:
            parts.append(image_processor if name == "image_processor" else tokenizer)
            continue
        own = bundle.get(name) or (videos if name == "video_processor" else {})
        # MiniCPM-V reads settings of both when it is built; they are alike in images and videos
        parts.append(Unused({**image_processor.to_dict(), **own}))
    template = bundle.get("chat_template") or tokenizer.chat_template
    processor = kind.from_args_and_dict(parts, {**bundle, "chat_template": template})
    if tokenizer.chat_template is None:
        tokenizer.chat_template = template
    left_out = {"chat_template", "image_processor"}
    processor.bundle = {key: value for key, value in bundle.items() if key not in left_out}
    processor.videos = dict(videos)
    return processor


def _still_processor(
    stock: type[ProcessorMixin], path: str, source: dict[str, Any], *, cache_patches: bool
) -> StillProcessor:
    """Return the image-only form of a checkpoint's processor."""
    revision = source["revision"] or "main"
    bundle, _ = stock.get_processor_dict(path, revision=revision)
    image_processor: Any = AutoImageProcessor.from_pretrained(path, backend="pil", **source)
    if cache_patches and patches.can_cache(image_processor):
        kind: Any = patches.cached(image_processor.__class__)
        image_processor = kind.from_pretrained(path, revision=revision)
    return build(
        stock,
        image_processor=image_processor,
        tokenizer=AutoTokenizer.from_pretrained(path, **source),
        bundle=bundle,
        videos=_read(path, _VIDEOS, revision=source["revision"]),
    )


def _stock_class(
    path: str, config: type[Any], *, source: Mapping[str, Any]
) -> type[ProcessorMixin] | None:
    """Return the stock class of a checkpoint's processor; `None` for code that comes with it."""
    for file in (_BUNDLE, _IMAGES, "tokenizer_config.json"):
        settings = _read(path, file, revision=source["revision"])
        if source["trust_remote_code"] and "AutoProcessor" in settings.get("auto_map", {}):
            return None
        named = settings.get("processor_class")
        found = processor_class_from_name(named) if named else None
        if found is not None:
            return found  # type: ignore[no-any-return]  # of an untyped function
    mapped: Any = PROCESSOR_MAPPING.get(config, None)
    return mapped  # type: ignore[no-any-return]  # a class of the lazy mapping


def _read(path: str, file: str, *, revision: str | None) -> dict[str, Any]:
    """Return an object of a JSON file of a checkpoint; empty if there is no such file."""
    try:
        found: Any = cached_file(path, file, revision=revision)
    except OSError:
        return {}
    read: dict[str, Any] = json.loads(Path(found).read_text(encoding="utf-8"))
    return read


def _missing(path: str, error: ImportError) -> ConfigError:
    """Return what to install for a processor that cannot be loaded."""
    said = " ".join(str(error).split())
    package = next((name for name in ("torchvision", "num2words") if name in said.lower()), None)
    if package is None:
        return ConfigError(
            f"the processor of model {path!r} cannot be loaded: {said}",
            hint="install the package that is named",
        )
    return ConfigError(
        f"the processor of model {path!r} needs {package}, which is not installed",
        hint=f"pip install {package}"
        + (", in the version that fits torch" if package == "torchvision" else ""),
    )


def _no_videos(*_: Any) -> str:
    raise NotImplementedError("the text of a video needs num2words: pip install num2words")


def image_settings(images: Any) -> dict[str, Any]:
    """Return the settings of an image processor as its file states them."""
    settings: dict[str, Any] = images.to_dict() | {"do_resize": type(images).do_resize}
    size = settings.get("size") or {}
    if limits.makes_grid(images) and {"shortest_edge", "longest_edge"} <= set(size):
        # the names of earlier versions, which still win where a file has both
        settings |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    return settings


def _write_stock_files(folder: Path, processor: StillProcessor) -> list[str]:
    """Write the settings of images, videos and the processor itself; returns the files."""
    stock = type(processor).__name__
    images = processor.image_processor  # type: ignore[attr-defined]  # a mixin's field
    files: dict[str, Mapping[str, Any]] = {_IMAGES: image_settings(images)}
    if processor.videos:
        files[_VIDEOS] = processor.videos
    if processor.bundle:
        files[_BUNDLE] = processor.bundle
    # left from a processor that was here before
    (folder / _BUNDLE).unlink(missing_ok=True)
    tokens = "tokenizer_config.json"
    files[tokens] = json.loads((folder / tokens).read_text(encoding="utf-8"))
    for name, value in files.items():
        text = dumps({**value, "processor_class": stock}, indent=2, ascii=False)
        (folder / name).write_text(f"{text}\n", encoding="utf-8")
    return [str(folder / name) for name in files]
