"""Processors without torchvision: the same pixels and texts as the stock parts, read again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import AutoImageProcessor

from geovlm.engine.models.processor import load_processor, save_processor
from tools.families.checkpoints import CHECKPOINTS

Build = Callable[[str], Path]
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (333, 500, 3), dtype=np.uint8))
QUICK = ("qwen3_vl", "internvl3_5")


def every(*, quick: tuple[str, ...] = QUICK) -> list:
    """Return the names of the checkpoints; those beyond `quick` are of `make test-families`."""
    marks = [pytest.mark.families]
    return [pytest.param(name, marks=[] if name in quick else marks) for name in CHECKPOINTS]


def question(processor: object, images: int = 1) -> str:
    """Return the prompt of a question about images."""
    if not processor.chat_template:
        return processor.image_token * images + "Where?"
    content = [*({"type": "image"} for _ in range(images)), {"type": "text", "text": "Where?"}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )


@pytest.mark.parametrize("name", every())
def test_pixels_are_those_of_the_stock_image_processor(checkpoint: Build, name: str) -> None:
    processor = load_processor(str(checkpoint(name)))
    stock = AutoImageProcessor.from_pretrained(checkpoint(name), backend="pil")
    passed = {"return_tensors": "np"} | getattr(processor, "images_kwargs", {})
    made = processor(text=[question(processor)], images=[[NOISE]], return_tensors="np")
    expected = stock([[NOISE]], **passed)["pixel_values"]
    assert np.array_equal(np.asarray(made["pixel_values"]), np.asarray(expected))


@pytest.mark.parametrize("name", every())
def test_a_saved_processor_gives_the_same_inputs(
    checkpoint: Build, name: str, tmp_path: Path
) -> None:
    processor = load_processor(str(checkpoint(name)))
    save_processor(processor, tmp_path)
    shutil.copy(checkpoint(name) / "config.json", tmp_path)
    again = load_processor(str(tmp_path))
    text = question(processor)
    assert question(again) == text
    before, after = (
        each(text=[text], images=[[NOISE]], return_tensors="np") for each in (processor, again)
    )
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert np.array_equal(np.asarray(value), np.asarray(after[key])), key


@pytest.mark.parametrize("name", every())
def test_saved_files_state_what_the_checkpoint_states(
    checkpoint: Build, name: str, tmp_path: Path
) -> None:
    save_processor(load_processor(str(checkpoint(name))), tmp_path)
    for original in checkpoint(name).glob("*processor_config.json"):
        stated = json.loads(original.read_text(encoding="utf-8"))
        written = json.loads((tmp_path / original.name).read_text(encoding="utf-8"))
        for key, value in stated.items():
            if key.endswith("_processor_type"):  # an earlier version named the fast class
                value = value.removesuffix("Fast")
            assert written.get(key) == value, key


@pytest.mark.parametrize("name", QUICK)
def test_a_template_in_a_file_of_its_own_is_read(
    checkpoint: Build, name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "older"
    shutil.copytree(checkpoint(name), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    processor = load_processor(str(folder))
    assert processor.chat_template == template
    assert processor.tokenizer.chat_template == template
