"""Builds the processor of nano: the engine's image-only Qwen processor, fixed to 84 x 84 px."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from geovlm.engine.models import processor
from geovlm.engine.models.processor import StillProcessor
from tools.nano.architecture import IMAGE_SIDE_PX, PATCH_PX


def build(tokenizer: PreTrainedTokenizerBase) -> StillProcessor:
    """Return a processor that resizes every square image to 84 x 84 px, 36 visual tokens.

    The stock resize keeps the aspect ratio, so a long image gets fewer tokens.
    """
    area = IMAGE_SIDE_PX**2
    images = Qwen2VLImageProcessorPil(min_pixels=area, max_pixels=area, patch_size=PATCH_PX)
    settings = processor.image_settings(images)
    return processor.build(
        Qwen2_5_VLProcessor,
        image_processor=images,
        tokenizer=tokenizer,
        bundle={"chat_template": tokenizer.chat_template},
        videos={**settings, "video_processor_type": "Qwen2VLVideoProcessor"},
    )
