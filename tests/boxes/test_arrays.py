"""Boxes of many texts are those of each text alone, and so are the rewards."""

from __future__ import annotations

import random
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geovlm import answers, boxes
from geovlm.api import ModelProfile, RewardContext
from geovlm.boxes import Box, arrays, reading
from geovlm.plugins.profiles import INTERNVL, QWEN2_5_VL
from geovlm.rewards import boxes as rewards_boxes
from geovlm.rewards.reading import box_lists

NUMBER = st.one_of(
    st.integers(-40, 400).map(str),
    st.floats(-20, 320).map(lambda value: f"{value:.1f}"),
    st.sampled_from(["1e3", "1e999", "-0", ".5", "5.", "nan", "1_0", "--1", "", "٣", "90", "180"]),
)
GAP = st.sampled_from([", ", ",", " ", "  ,", " | ", ",,", "\n"])
BOX = st.tuples(st.lists(NUMBER, min_size=3, max_size=6), GAP, st.sampled_from(["[]", "()", "{}"]))
TEXTS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 260), st.integers(0, 260), st.integers(0, 200)).map(
            lambda three: f"[{three[0]}, {three[1]}, {three[0] + three[2]}, 280, {three[2] % 7}]"
        ),
        BOX.map(lambda box: f"{box[2][0]}{box[1].join(box[0])}{box[2][1]}"),
        st.sampled_from(["none", "[", "[[1, 2, 30, 40]]", "(1, 2),(30, 40)", "x"]),
        st.sampled_from([notation.example for notation in boxes.NOTATIONS]),
    ),
    max_size=6,
).map(", ".join)


Y_FIRST = ModelProfile(name="y", model_types=("y",), box_frame="norm1", box_order="yxyx")
FAMILIES = {"qwen": QWEN2_5_VL, "internvl": INTERNVL, "y first": Y_FIRST}


def context(*, frame: str = "qwen", truth: object = (), **options: str) -> RewardContext:
    return RewardContext(
        task="t",
        sample_id="s",
        question="?",
        answer="",
        target={"boxes": truth},  # type: ignore[dict-item]
        image_sizes=((100, 100), (300, 200)),
        input_sizes=((112, 112), (308, 196)),
        profile=FAMILIES[frame],
        options=options,
    )


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(TEXTS, max_size=4), limit=st.integers(1, 5))
def test_many_texts_are_read_as_each_alone(texts: list[str], limit: int) -> None:
    frames = ["y first", "qwen", "internvl", "y first"]
    contexts = [context(frame=frame) for frame in frames[: len(texts)]]
    found, counts = arrays.parse(texts, contexts, limit=limit)
    expected = [
        boxes.parse(text, ctx, limit=limit) for text, ctx in zip(texts, contexts, strict=True)
    ]
    assert counts.tolist() == [len(each) for each in expected]
    flat = [box for each in expected for box in each]
    assert np.allclose(found, np.array(flat).reshape(-1, 5), rtol=1e-12)


@settings(max_examples=500, deadline=None)
@given(text=TEXTS)
def test_the_short_cut_of_plain_numbers_reads_what_the_grammar_does(text: str) -> None:
    def read() -> list[Box]:
        reading.read.cache_clear()
        return [Box(*numbers) for numbers in reading.read(text).numbers]

    quick = read()
    with mock.patch.object(reading, "_LISTS", mock.Mock(fullmatch=lambda text: None)):
        assert read() == quick
    reading.read.cache_clear()


def test_a_text_without_an_image_has_no_box() -> None:
    bare = context().__class__(
        task="t",
        sample_id="s",
        question="?",
        answer="",
        target={},
        image_sizes=(),
        input_sizes=(),
        profile=QWEN2_5_VL,
    )
    found, counts = arrays.parse(["[1, 2, 3, 4]"] * 2, [bare, context()], limit=9)
    assert counts.tolist() == [0, 1]
    assert len(found) == 1


@pytest.mark.parametrize("hbb", ["enclosing", "drop"])
@pytest.mark.parametrize("pairs", [1, 64, 1 << 15])
def test_rewards_of_a_batch_are_those_of_pairs_of_boxes(
    hbb: str, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewards_boxes, "_PAIRS", pairs)
    rng = random.Random(pairs)

    def some(most: int) -> list[list[float]]:
        listed = []
        for _ in range(rng.randrange(most + 1)):
            x, y = rng.randrange(200), rng.randrange(120)
            angle = rng.choice([0, 0, 30, 90, 180, -45])
            listed.append([x, y, x + rng.randrange(5, 90), y + rng.randrange(5, 70), angle])
        return listed

    contexts = [context(frame="internvl", truth=some(5), hbb=hbb) for _ in range(60)]
    completions = [f"<answer>{', '.join(map(str, some(7))) or 'none'}</answer>" for _ in contexts]
    best = rewards_boxes.detection(completions, contexts)
    matched = rewards_boxes.matched_iou(completions, contexts)
    for i, (completion, ctx) in enumerate(zip(completions, contexts, strict=True)):
        truth, found = box_lists(completion, ctx)
        if truth:
            tops = [max((boxes.iou(a, b) for b in found), default=0.0) for a in truth]
            assert best[i] == pytest.approx(sum(tops) / len(truth), abs=1e-12)
        else:
            assert best[i] == float(not found)
        shared = sum(value for *_, value in boxes.match(truth, found))
        larger = max(len(truth), len(found))
        assert matched[i] == pytest.approx(shared / larger if larger else 1.0, abs=1e-12)


def test_an_empty_batch_has_no_rewards() -> None:
    assert rewards_boxes.detection([], []) == []
    assert rewards_boxes.matched_iou([], []) == []


def test_a_lot_of_boxes_is_cut_and_scored() -> None:
    many = f"<answer>{', '.join(['[0, 0, 308, 98]'] * 1000)}</answer>"
    assert len(many) < answers.MAX_CHARS
    ctx = context(truth=[Box(0, 0, 300, 100)] * 300)
    assert rewards_boxes.detection([many], [ctx]) == [pytest.approx(1.0)]
    assert rewards_boxes.matched_iou([many], [ctx]) == [pytest.approx(256 / 300)]


def test_a_true_box_of_three_numbers_is_an_error() -> None:
    with pytest.raises(ValueError, match="four or five numbers, not 3"):
        rewards_boxes.detection(["<answer>none</answer>"], [context(truth=[[1, 2, 3]])])
