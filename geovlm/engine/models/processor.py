"""Processors without torchvision: an image-only form of the Qwen-VL family's, loaded and saved.

transformers imports torchvision for video only, yet cannot build the stock processor without it.
What `save_processor` writes, the stock `AutoProcessor` and vLLM read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoProcessor, AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from geovlm.engine.speedups.patches import CachedImageProcessor
from geovlm.files.jsontext import dumps

_STOCK = {
    "qwen2_vl": ("Qwen2VLProcessor", "Qwen2VLVideoProcessor"),
    "qwen2_5_vl": ("Qwen2_5_VLProcessor", "Qwen2VLVideoProcessor"),
    "qwen3_vl": ("Qwen3VLProcessor", "Qwen3VLVideoProcessor"),
    "qwen3_vl_moe": ("Qwen3VLProcessor", "Qwen3VLVideoProcessor"),
}
"""model_type -> names of the stock processor and of its video processor."""


class ImageProcessorAndTokenizer(Qwen2_5_VLProcessor):
    """Qwen-VL's processor for images and text.

    The three generations differ in patch size and pixel statistics, which the image processor
    holds, and in video, which is absent here.
    """

    model_type = "qwen2_5_vl"

    def __init__(
        self,
        image_processor: Qwen2VLImageProcessorPil | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        chat_template: str | None = None,
    ) -> None:
        assert tokenizer is not None
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Save like the stock class, under the stock class's names."""
        written = super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        _write_stock_files(Path(save_directory), self)
        return written


def load_processor(
    path_or_name: str,
    *,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    cache_patches: bool = True,
) -> ProcessorMixin:
    """Return the processor of a checkpoint folder or hub name.

    Qwen2-VL, Qwen2.5-VL and Qwen3-VL get the image-only form with left padding; every other family
    gets that of `AutoProcessor`. `min_pixels` and `max_pixels` bound the area of the resized image;
    None keeps the checkpoint's own. `cache_patches` keeps the patches of an image for its next use,
    in the Qwen-VL families.
    """
    source: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    model_type = AutoConfig.from_pretrained(path_or_name, **source).model_type
    bounds = {"min_pixels": min_pixels, "max_pixels": max_pixels}
    given = {name: value for name, value in bounds.items() if value is not None}
    if model_type not in _STOCK:
        return AutoProcessor.from_pretrained(path_or_name, **source, **given)
    tokenizer = AutoTokenizer.from_pretrained(path_or_name, **source)
    tokenizer.padding_side = "left"
    kind = CachedImageProcessor if cache_patches else Qwen2VLImageProcessorPil
    image_processor = kind.from_pretrained(path_or_name, revision=revision or "main")
    size = image_processor.size
    image_processor.size = type(size)(
        shortest_edge=size["shortest_edge"] if min_pixels is None else min_pixels,
        longest_edge=size["longest_edge"] if max_pixels is None else max_pixels,
    )
    processor = ImageProcessorAndTokenizer(
        image_processor, tokenizer, chat_template=tokenizer.chat_template
    )
    processor.model_type = model_type
    return processor


def take_as_sized(processor: ProcessorMixin) -> None:
    """Let a processor of the Qwen-VL family take images at the size that they have.

    Sides must be multiples of patch and merge size. Processors of other families stay as they are,
    and so does what `save_processor` writes.
    """
    images = processor.image_processor  # type: ignore[attr-defined]  # a mixin's field
    if isinstance(images, Qwen2VLImageProcessorPil):
        images.do_resize = False


def save_processor(processor: ProcessorMixin, folder: Path | str) -> None:
    """Write the files from which `load_processor`, `AutoProcessor` and vLLM load it again."""
    processor.save_pretrained(folder)


def _write_stock_files(folder: Path, processor: ImageProcessorAndTokenizer) -> None:
    stock, video = _STOCK[processor.model_type]
    images = processor.image_processor
    settings = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(images.image_mean),
        "image_std": list(images.image_std),
        "resample": int(images.resample),
        "rescale_factor": images.rescale_factor,
        "size": {
            "shortest_edge": images.size["shortest_edge"],
            "longest_edge": images.size["longest_edge"],
        },
        "min_pixels": images.size["shortest_edge"],
        "max_pixels": images.size["longest_edge"],
        "patch_size": images.patch_size,
        "temporal_patch_size": images.temporal_patch_size,
        "merge_size": images.merge_size,
        "processor_class": stock,
    }
    still = settings | {"image_processor_type": "Qwen2VLImageProcessor"}
    # The bundle file would shadow the two single ones; only these are read by every version.
    (folder / "processor_config.json").unlink(missing_ok=True)
    _write(folder / "preprocessor_config.json", still)
    _write(folder / "video_preprocessor_config.json", settings | {"video_processor_type": video})
    tokenizer_config = folder / "tokenizer_config.json"
    known = json.loads(tokenizer_config.read_text(encoding="utf-8"))
    _write(tokenizer_config, known | {"processor_class": stock})


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(dumps(value, indent=2, ascii=False) + "\n", encoding="utf-8")
