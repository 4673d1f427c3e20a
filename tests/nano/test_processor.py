from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from geovlm import nano
from geovlm.engine.models.processor import load_processor, save_processor
from tools.nano.batch import pixels, prompt, prompts
from tools.nano.questions import INSTRUCTION, draw
from tools.nano.scoring import answer, scores

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def processor():
    return load_processor(str(nano.path()))


@pytest.fixture(scope="module")
def model():
    from transformers import Qwen2_5_VLForConditionalGeneration

    torch.set_num_threads(1)
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(nano.path()).eval()


def _example(*, family: str = "count", seed: int = 0, tagged: float = 0.0):
    return draw(np.random.default_rng(seed), family=family, tagged=tagged)


def _chat(processor, example, **options):
    content = [{"type": "image", "image": Image.fromarray(image)} for image in example.images]
    content.append({"type": "text", "text": example.question})
    return processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        **options,
    )


def test_one_image_becomes_36_visual_tokens(processor):
    inputs = _chat(processor, _example())
    assert int((inputs["input_ids"] == processor.image_token_id).sum()) == 36


def test_two_images_become_72_visual_tokens(processor):
    inputs = _chat(processor, _example(family="damage count"))
    assert int((inputs["input_ids"] == processor.image_token_id).sum()) == 72
    assert inputs["image_grid_thw"].tolist() == [[1, 12, 12], [1, 12, 12]]


def test_a_large_square_image_becomes_as_many(processor):
    image = Image.new("RGB", (1024, 1024))
    inputs = processor(text=["<|image_pad|>"], images=[image], return_tensors="pt")
    assert inputs["input_ids"].shape == (1, 36)


def test_token_types_mark_the_visual_tokens(processor):
    inputs = _chat(processor, _example())
    marked = inputs["mm_token_type_ids"] == 1
    assert torch.equal(marked, inputs["input_ids"] == processor.image_token_id)


def test_the_recipe_builds_the_same_inputs_as_the_processor(processor):
    example = _example(family="damage level")
    chat, own = _chat(processor, example), prompts([example], processor.tokenizer)
    assert torch.equal(chat["input_ids"], own["input_ids"])
    assert torch.equal(chat["mm_token_type_ids"], own["mm_token_type_ids"])
    # float32 rounding of rescale and normalise
    assert torch.allclose(chat["pixel_values"], own["pixel_values"], atol=1e-5)


def test_the_chat_template_gives_the_prompt_of_the_recipe(processor):
    example = _example()
    content = [{"type": "image"}, {"type": "text", "text": example.question}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    assert text.replace("<|image_pad|>", "<|image_pad|>" * 36) == prompt(example)


def test_saving_and_loading_gives_the_same_inputs(processor, tmp_path):
    save_processor(processor, tmp_path)
    (tmp_path / "config.json").write_text((nano.path() / "config.json").read_text())
    before, after = _chat(processor, _example()), _chat(load_processor(str(tmp_path)), _example())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_saved_files_name_the_stock_classes(processor, tmp_path):
    save_processor(processor, tmp_path)
    images = json.loads((tmp_path / "preprocessor_config.json").read_text())
    tokens = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert images["image_processor_type"] == "Qwen2VLImageProcessor"
    assert images["processor_class"] == tokens["processor_class"] == "Qwen2_5_VLProcessor"
    assert (images["min_pixels"], images["max_pixels"]) == (84 * 84, 84 * 84)


def test_pixel_bounds_given_at_loading_win():
    small = load_processor(str(nano.path()), min_pixels=56 * 56, max_pixels=56 * 56)
    inputs = small(text=["<|image_pad|>"], images=[Image.new("RGB", (84, 84))], return_tensors="pt")
    assert inputs["input_ids"].shape == (1, 16)


def test_sizes_in_the_older_notation_are_read(tmp_path, processor):
    save_processor(processor, tmp_path)
    (tmp_path / "config.json").write_text((nano.path() / "config.json").read_text())
    path = tmp_path / "preprocessor_config.json"
    old = json.loads(path.read_text())
    old.pop("size")
    path.write_text(json.dumps(old))
    loaded = load_processor(str(tmp_path))
    assert loaded.image_processor.size["longest_edge"] == 84 * 84


def test_two_digits_are_one_token(processor):
    assert processor.tokenizer.tokenize("[12, 345]")[:2] == ["[", "12"]
    assert processor.tokenizer.tokenize("345") == ["34", "5"]


def test_numbers_survive_the_tokenizer(processor):
    text = "[7, 12, 84, 12.5], 2018 and 100"
    ids = processor.tokenizer(text)["input_ids"]
    assert processor.tokenizer.decode(ids, skip_special_tokens=True) == text


def test_tags_survive_decoding_without_special_tokens(processor):
    text = "<think> a road </think><answer> yes </answer>"
    ids = processor.tokenizer(text + "<|im_end|>")["input_ids"]
    assert processor.tokenizer.decode(ids, skip_special_tokens=True) == text


def test_any_text_survives_the_tokenizer(processor):
    text = "Wald, Äcker 森林 [1, 2]\n"
    assert processor.tokenizer.decode(processor.tokenizer(text)["input_ids"]) == text


def test_a_prompt_of_the_tasks_vocabulary_is_short(processor):
    text = "Transitional woodland, shrub; Broad-leaved forest; Inland waters"
    assert len(processor.tokenizer(text)["input_ids"]) <= 20


def test_training_and_generation_give_the_same_log_probabilities(model, processor):
    inputs = _chat(processor, _example(family="damage level", tagged=1.0))
    with torch.no_grad():
        made = model.generate(
            **inputs,
            max_new_tokens=12,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        start = inputs["input_ids"].shape[1]
        new = made.sequences[:, start:]
        types = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(new)], dim=1)
        logits = model(
            input_ids=made.sequences,
            attention_mask=torch.ones_like(made.sequences),
            mm_token_type_ids=types,
            pixel_values=inputs["pixel_values"],
            image_grid_thw=inputs["image_grid_thw"],
        ).logits[:, start - 1 : -1]
    stepwise = torch.stack(made.logits, dim=1).log_softmax(-1)
    assert torch.allclose(logits.log_softmax(-1), stepwise, atol=1e-4)


def test_the_shipped_weights_load_in_float32(model):
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert sum(weight.numel() for weight in model.parameters()) < 4_000_000


def test_the_shipped_weights_see_the_land_cover(model, processor):
    examples = [_example(family="land cover", seed=seed) for seed in range(10_000, 10_040)]
    swapped = [
        replace(example, images=other.images)
        for example, other in zip(examples, examples[1:] + examples[:1], strict=True)
    ]
    seen, unseen = (
        scores(examples, answer(model, processor.tokenizer, asked, max_new_tokens=16))
        for asked in (examples, swapped)
    )
    assert seen["land cover"] >= 0.7
    assert seen["land cover"] >= unseen["land cover"] + 0.3


def test_the_shipped_weights_answer_in_the_frame_when_told_to(model, processor):
    examples = [_example(family="presence", seed=seed, tagged=1.0) for seed in range(8)]
    texts = answer(model, processor.tokenizer, examples, max_new_tokens=64)
    assert examples[0].question.endswith(INSTRUCTION)
    assert sum("</think><answer>" in text and text.endswith("</answer>") for text in texts) >= 7


def test_pixels_come_in_the_order_of_the_images():
    dark, light = np.zeros((84, 84, 3), np.uint8), np.full((84, 84, 3), 255, np.uint8)
    values = pixels([dark, light])["pixel_values"]
    assert values[:144].max() < values[144:].min()
