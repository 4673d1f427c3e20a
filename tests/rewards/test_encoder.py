"""Which sentence encoder is taken, what is embedded when, and what is said where none is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from geovlm.errors import GeoVLMError
from geovlm.rewards import encoder, paper


class Axes:
    """An encoder that turns each word count into its own direction and records its calls."""

    tokenizer = None

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts, **kwargs):
        import numpy as np

        self.calls.append(list(texts))
        return np.eye(9)[[len(text.split()) for text in texts]]


@pytest.fixture
def axes(monkeypatch) -> Axes:
    model = Axes()
    monkeypatch.setattr(encoder, "_load", lambda where: model)
    monkeypatch.setattr(encoder, "_KNOWN", {})
    return model


def test_one_call_per_batch_and_references_are_embedded_once(axes) -> None:
    values = encoder.similarities(["a b", "a"], [["c d"], ["c d", "e"]], name="x")
    assert values == [1.0, 1.0]
    encoder.similarities(["a b c"], [["c d"]], name="x")
    assert axes.calls == [["a b", "a", "c d", "e"], ["a b c"]]


def test_the_cache_of_references_is_bounded(axes, monkeypatch) -> None:
    monkeypatch.setattr(encoder, "MAX_REFERENCES", 2)
    assert encoder.similarities(["a"], [["b", "c d", "e f g"]], name="x") == [1.0]
    assert list(encoder._KNOWN["x"]) == ["c d", "e f g"]


def test_empty_text_is_worth_nothing(axes) -> None:
    assert encoder.similarities(["", "a"], [[""], [" "]], name="x") == [0.0, 0.0]


def test_a_lone_surrogate_is_embedded_as_a_question_mark(axes) -> None:
    encoder.similarities(["a \ud800"], [["b c"]], name="x")
    assert axes.calls == [["a ?", "b c"]]


def test_a_configured_encoder_comes_first() -> None:
    assert encoder.find("some/folder") == "some/folder"


def test_without_any_encoder_the_error_names_three_ways_out(monkeypatch) -> None:
    monkeypatch.setattr(encoder, "PACKAGE", "no_such_package_of_an_encoder")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **kwargs: None)
    with pytest.raises(GeoVLMError, match=r"geovlm\[sbert\].*reward_options\.encoder.*cache"):
        encoder.find(None)


def test_an_encoder_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    missing = str(tmp_path / "nothing")
    with pytest.raises(GeoVLMError, match="nothing"):
        encoder.similarities(["a"], [["b"]], name=missing)


def test_hslr_is_the_mean_of_meaning_and_wording(axes, reward_ctx) -> None:
    ctx = reward_ctx(target={"captions": ["two ships"]}, options={"encoder": "x"})
    same = "<think> x </think><answer> two ships </answer>"
    other = "<think> x </think><answer> two chips </answer>"
    # two words each: meaning 1; wording of the second: 18 letters, 16 of them shared
    assert paper.hslr([same, other], [ctx, ctx]) == [1.0, pytest.approx((1 + 16 / 18) / 2)]


@pytest.mark.parametrize(
    ("right", "other"),
    [
        ("เรือสามลำจอดอยู่ที่ท่าเรือ", "ถนนผ่านหมู่บ้าน"),
        ("ទូកបីនៅក្នុងកំពង់ផែ", "ផ្លូវឆ្លងកាត់ភូមិ"),
    ],
)
def test_sentences_of_unknown_words_are_not_all_alike(right: str, other: str) -> None:
    pytest.importorskip(encoder.PACKAGE)
    values = encoder.similarities([right, other, "a road"], [[right]] * 3)
    assert values == [1.0, 0.0, 0.0]


def test_an_english_reference_is_still_compared_by_meaning() -> None:
    pytest.importorskip(encoder.PACKAGE)
    (value,) = encoder.similarities(["two boats at a quay"], [["two ships at the pier"]])
    assert 0.5 < value < 1.0


@pytest.mark.parametrize("name", ["/none", "no such name", "nobody/nothing"])
def test_an_encoder_that_is_not_on_this_machine_is_refused_without_loading_it(name: str) -> None:
    with pytest.raises(GeoVLMError, match="is neither a model folder nor in the local"):
        encoder.check(name)


def test_a_folder_with_an_encoder_passes(tmp_path: Path) -> None:
    with pytest.raises(GeoVLMError, match="neither a model folder"):
        encoder.check(str(tmp_path))
    (tmp_path / "modules.json").write_text("[]")
    encoder.check(str(tmp_path))


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "modules.json").write_text("[]")
    monkeypatch.setattr(encoder, "find_spec", lambda name: None)
    with pytest.raises(GeoVLMError, match=r"sentence-transformers.*geovlm\[sbert\]"):
        encoder.check(str(tmp_path))
