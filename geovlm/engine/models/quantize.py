"""QLoRA: the text decoder in 4 bits while it is trained, in full again when it is saved.

Dettmers et al. 2023 (arXiv 2305.14314): 4-bit NormalFloat, the scales quantised too, arithmetic in
bfloat16. The vision tower, the projector and the head stay as they are. Not tested on a GPU.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    PreTrainedModel,
)

from geovlm.api import ModelProfile
from geovlm.engine.models import adapters, structure


def options(
    path: str, profile: ModelProfile, *, common: Mapping[str, Any], device: str
) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that read the decoder in 4 bits."""
    config = AutoConfig.from_pretrained(
        path, revision=common["revision"], trust_remote_code=common["trust_remote_code"]
    )
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    where = device if device == "cpu" else f"cuda:{torch.cuda.current_device()}"
    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=common["dtype"],
            llm_int8_skip_modules=kept_whole(model, profile),
        ),
        "device_map": {"": where},
    }


def kept_whole(model: PreTrainedModel, profile: ModelProfile) -> list[str]:
    """Return the modules that are not quantised: the vision tower, and linear layers elsewhere.

    The linear layers of the text decoder (`linears`) are quantised.
    """
    tower = structure.tower(model, profile)
    quantised = set(linears(model))
    others = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and not name.startswith(f"{tower}.")
        and name not in quantised
    ]
    return [tower, *others]


def linears(model: PreTrainedModel) -> list[str]:
    """Return the names of the layers that are quantised: the decoder's, where adapters can go on.

    Adapters by parameter (`adapters.as_peft_takes`) need the weights in full precision.
    """
    return adapters.as_peft_takes(structure.targets(model), model=model).modules


def is_quantized(model: Any) -> bool:
    """Return True if a model, or the one below its adapters, is 4-bit."""
    return bool(getattr(model, "is_loaded_in_4bit", False))


def merged(model: PeftModel, *, scratch: Path) -> PreTrainedModel:
    """Return the trained model in full precision: 4-bit weights dequantised, adapters added.

    These are the weights that the adapters were trained on. Merged into 4 bits again, as peft does
    in place, they would be rounded once more; merged into the weights from before, they would
    correct errors that are not there. The 4-bit model is not to be used afterwards.
    """
    adapter = scratch / "adapter"
    model.save_pretrained(str(adapter))
    whole = model.unload().dequantize()
    result = PeftModel.from_pretrained(whole, str(adapter)).merge_and_unload()
    shutil.rmtree(adapter)
    return result
