from __future__ import annotations

import numpy as np
import pytest

from geovlm.engine.models.processor import load_processor
from tools.nano import architecture, corpus, questions, recipe, scoring


def test_the_recipe_writes_a_loadable_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "_measure", lambda *_, **__: {"count": 0.0})
    text = list(corpus.text(n=40))
    monkeypatch.setattr(corpus, "text", lambda **_: text)
    small = ["--steps", "2", "--vision-steps", "1", "--threads", "1", "--batch", "4"]
    recipe.main(["--out", str(tmp_path), *small])
    processor = load_processor(str(tmp_path))
    config = architecture.configuration(processor.tokenizer)
    assert config.image_token_id == processor.image_token_id
    assert "--vision-steps 1 --steps 2 --seed 0" in (tmp_path / "README.md").read_text()


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
