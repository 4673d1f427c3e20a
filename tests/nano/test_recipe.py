from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from geovlm import nano
from geovlm.engine.models.processor import load_processor
from tools.nano import (
    architecture,
    batch,
    corpus,
    dense,
    optimizer,
    questions,
    recipe,
    scoring,
    tokenizer,
)


def test_the_recipe_writes_a_loadable_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "measure", lambda *_, **__: {"plain": {"count": 0.0}})
    text = list(corpus.text(n=40))
    monkeypatch.setattr(corpus, "text", lambda **_: text)
    small = ["--steps", "3", "--seeing-steps", "1", "--threads", "1", "--places", "2"]
    recipe.main(["--out", str(tmp_path), *small])
    processor = load_processor(str(tmp_path))
    config = architecture.configuration(processor.tokenizer)
    assert config.image_token_id == processor.image_token_id
    assert "--steps 3 --seeing-steps 1 --seed 0" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("family", questions.FAMILIES)
def test_every_family_frames_its_answer_when_told_to(family):
    example = questions.draw(np.random.default_rng(1), family=family, tagged=1.0)
    assert example.question.endswith(questions.INSTRUCTION)
    assert example.text.endswith(f"</think><answer> {example.answer} </answer>")


def test_examples_follow_from_the_generator():
    first, second = (questions.draw(np.random.default_rng(7)) for _ in range(2))
    assert (first.question, first.text) == (second.question, second.text)
    assert all(np.array_equal(a, b) for a, b in zip(first.images, second.images, strict=True))


def test_gold_answers_score_one():
    examples = scoring.held_out(n=2, tagged=0.5)
    values = scoring.scores(examples, [example.text for example in examples])
    assert set(values.values()) == {1.0}


def test_half_a_box_scores_half():
    example = questions.draw(np.random.default_rng(1), family="one box", tagged=0.0)
    x0, y0, x1, y1 = (int(word.strip("[],")) for word in example.answer.split())
    wide = f"[{x0}, {y0}, {2 * x1 - x0}, {y1}]"
    assert scoring.scores([example], [wide]) == {"one box": 0.5}


def test_shuffled_images_stay_in_their_family():
    examples = scoring.held_out(n=3, tagged=0.0)
    others = scoring.shuffled(examples)
    assert [e.question for e in others] == [e.question for e in examples]
    assert np.array_equal(others[0].images[0], examples[1].images[0])
    assert np.array_equal(others[2].images[0], examples[0].images[0])


def test_the_most_frequent_answer_scores_its_share():
    examples = [
        questions.Example(family="count", images=(), question="", text=text, answer=text)
        for text in ("2", "3", "2", "2")
    ]
    assert scoring.most_frequent(examples) == {"count": 0.75}


def test_packed_questions_cost_what_they_cost_alone():
    """The cross-entropy of a pack is that of the stock model asked one question at a time."""
    words = tokenizer.train(corpus.text(n=40))
    model = architecture.build(words).eval()
    rng = np.random.default_rng(1)
    packs = [questions.draw_pack(rng) for _ in range(3)]
    part = batch.pack([p.images for p, _ in packs], [own for _, own in packs], words)
    targets = dense.stack([dense.maps(s, before=b) for p, _ in packs for s, b in p.states])
    n = int((part.labels != -100).sum())
    alone, tokens = 0.0, 0
    with torch.no_grad():
        heads = dense.Heads(model.config.text_config.hidden_size)
        packed = recipe._losses(model, heads, part, targets, n=n)["answers"]
        for example in [example for _, own in packs for example in own]:
            asked = batch.prompts([example], words)
            said = torch.tensor([words.backend_tokenizer.encode(example.text + "<|im_end|>").ids])
            types = torch.cat([asked["mm_token_type_ids"], torch.zeros_like(said)], 1)
            logits = model(
                input_ids=torch.cat([asked["input_ids"], said], 1),
                mm_token_type_ids=types,
                pixel_values=asked["pixel_values"],
                image_grid_thw=asked["image_grid_thw"],
            ).logits[0, -said.shape[1] - 1 : -1]
            alone += float(torch.nn.functional.cross_entropy(logits, said[0], reduction="sum"))
            tokens += said.shape[1]
    assert tokens == n
    assert float(packed) == pytest.approx(alone / n, rel=1e-5)


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "measure", lambda *_, **__: {"plain": {"count": 0.0}})
    monkeypatch.setattr(recipe, "_SAVED_EVERY", 2)
    text = list(corpus.text(n=40))
    monkeypatch.setattr(corpus, "text", lambda **_: text)
    options = ["--steps", "4", "--seeing-steps", "1", "--threads", "1", "--places", "2"]
    recipe.main(["--out", str(tmp_path / "whole"), *options])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(recipe, "_progress", _interrupt)
        patch.setattr(recipe, "_SHOWN_EVERY", 3)
        recipe.main(["--out", str(tmp_path / "broken"), *options])
    recipe.main(["--out", str(tmp_path / "broken"), *options])
    whole, broken = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "broken")
    )
    assert whole == broken


def test_training_goes_on_from_the_weights_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "measure", lambda *_, **__: {"plain": {"count": 0.0}})
    options = ["--steps", "1", "--seeing-steps", "0", "--threads", "1", "--places", "1"]
    recipe.main(
        ["--out", str(tmp_path), *options, "--start", str(nano.path()), "--learning-rate", "0"]
    )
    before, after = (
        Qwen2_5_VLForConditionalGeneration.from_pretrained(folder).state_dict()
        for folder in (nano.path(), tmp_path)
    )
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert f"--start {nano.path()}" in (tmp_path / "README.md").read_text()


def _interrupt(*_, **__):
    raise KeyboardInterrupt


def test_muon_makes_an_update_orthogonal():
    matrix = torch.randn(32, 96, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(optimizer.orthogonal(matrix))
    # Newton-Schulz of five steps ends between 0.7 and 1.2 (Keller Jordan, Muon)
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
