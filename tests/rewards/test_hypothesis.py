"""Ten thousand mangled completions: no reward raises or leaves its range; gold earns the most."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely.geometry import box as rectangle

from geovlm.api import RewardContext
from geovlm.plugins import builtin
from geovlm.plugins.profiles import QWEN2_5_VL
from geovlm.rewards import boxes as box_rewards
from geovlm.rewards import encoder
from tests.scored import alone, scored

GOLD = "<think> a pier </think><answer> two ships [10, 10, 60, 60] </answer>"
LEXICAL = [spec for spec in builtin.REWARDS if spec.name not in encoder.NEED_ENCODER]
PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "[",
        "]]",
        "1e999",
        "nan",
        "-3",
        ", ",
        "{<",
        "٣",
    ]
)
SIDE = st.integers(0, 279)


def context(**target: object) -> RewardContext:
    return RewardContext(
        task="test",
        sample_id="1",
        question="",
        answer="two ships",
        target=target,  # type: ignore[arg-type]
        image_sizes=((280, 280),),
        input_sizes=((280, 280),),
        profile=QWEN2_5_VL,
    )


FULL = context(
    labels=["ships"],
    vocabulary=["ships", "planes"],
    boxes=[[10, 10, 60, 60]],
    box_labels=["ships"],
    text="two ships",
)
BARE = context()


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    cut=st.integers(0, len(GOLD)),
    junk=st.lists(st.one_of(PIECES, st.text(max_size=12)), max_size=6),
)
def test_mangled_completions_stay_in_range_of_every_reward(cut: int, junk: list[str]) -> None:
    completion = GOLD[:cut] + "".join(junk) + GOLD[cut:]
    for spec in LEXICAL:  # a thousand examples, each for more than ten rewards
        for ctx in (FULL, BARE):
            assert spec.low <= scored(spec, completion, ctx) <= spec.high, spec.name


@settings(max_examples=200, deadline=None)
@given(
    truth=st.lists(st.tuples(SIDE, SIDE, SIDE, SIDE), min_size=1, max_size=4),
    said=st.lists(st.tuples(SIDE, SIDE, SIDE, SIDE), max_size=4),
)
def test_detection_agrees_with_shapely(truth, said) -> None:
    def proper(many):
        return [(a, b, c + 1 + a, d + 1 + b) for a, b, c, d in many]

    def inside(many):
        return [(a, b, min(c, 280), min(d, 280)) for a, b, c, d in proper(many)]

    true, predicted = inside(truth), inside(said)
    text = ", ".join(str(list(numbers)) for numbers in predicted) or "none"
    completion = f"<think> x </think><answer> {text} </answer>"
    expected = 0.0
    for one in true:
        shape = rectangle(*one)
        overlaps = [
            shape.intersection(rectangle(*b)).area / shape.union(rectangle(*b)).area
            for b in predicted
        ]
        expected += max(overlaps, default=0.0) / len(true)
    ctx = context(boxes=[list(numbers) for numbers in true])
    assert alone(box_rewards.detection, completion, ctx) == pytest.approx(expected)


GOLD_OF = {
    "recall": ("ships; planes", {"labels": ["ships", "planes"], "vocabulary": ["planes", "ships"]}),
    "label_f1": ("ships", {"labels": ["ships"], "vocabulary": ["planes", "ships"]}),
    "detection": ("[10, 10, 60, 60]", {"boxes": [[10, 10, 60, 60]]}),
    "matched_iou": ("[10, 10, 60, 60]", {"boxes": [[10, 10, 60, 60]]}),
    "labelled_iou": (
        "ships: [10, 10, 60, 60]",
        {"boxes": [[10, 10, 60, 60]], "box_labels": ["ships"], "vocabulary": ["planes", "ships"]},
    ),
    "levenshtein": ("two ships", {"captions": ["a pier", "two ships"]}),
    "jaccard": ("two ships", {"answer": "two ships"}),
    "exact": ("2", {"answer": "2"}),
    "caption_f1": ("two ships", {"captions": ["a pier", "two ships"]}),
    "change_f1": ("two ships", {"captions": ["two ships"], "changed": True}),
    "lmgr": ("two ships [10, 10, 60, 60]", {"text": "two ships", "boxes": [[10, 10, 60, 60]]}),
    "grounded_f1": (
        "two ships [10, 10, 60, 60]",
        {"text": "two ships", "boxes": [[10, 10, 60, 60]]},
    ),
    "format/think": ("yes", {}),
    "format/answer": ("yes", {}),
}


@pytest.mark.parametrize("spec", LEXICAL, ids=lambda spec: spec.name)
def test_gold_earns_the_maximum(spec) -> None:
    answer, target = GOLD_OF[spec.name]
    completion = f"<think> because </think><answer> {answer} </answer>"
    assert scored(spec, completion, context(**target)) == pytest.approx(spec.high)


def test_every_reward_says_its_formula_and_source() -> None:
    specs = builtin.REWARDS
    assert [spec.name for spec in specs if not (spec.formula and spec.source)] == []
