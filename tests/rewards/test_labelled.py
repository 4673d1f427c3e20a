"""`labelled_iou`: one to one within a label; what is extra, missing or mislabelled costs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.optimize import linear_sum_assignment

from geovlm import boxes
from geovlm.api import PromptContext, RewardContext, Sample, TaskSpec, Turn
from geovlm.boxes import Box, Labelled
from geovlm.plugins import registry
from geovlm.plugins.profiles import QWEN2_5_VL
from geovlm.rewards import boxes as box_rewards
from geovlm.rewards.audit.audit import audit
from tests.scored import alone

LABELS = ["car", "bus", "ship"]
TARGET = {
    "boxes": [[0, 0, 56, 56], [140, 140, 280, 280], [84, 0, 112, 28]],
    "box_labels": ["car", "bus", "car"],
    "vocabulary": LABELS,
}
OBJECTS = st.lists(
    st.tuples(
        st.integers(0, 200), st.integers(0, 200), st.integers(10, 79), st.sampled_from(LABELS)
    ),
    max_size=5,
)


def said(answer: str) -> str:
    return f"<answer> {answer} </answer>"


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("car: [0, 0, 56, 56], [84, 0, 112, 28]; bus: [140, 140, 280, 280]", 1.0),
        ("bus: [140, 140, 280, 280]; car: [84, 0, 112, 28], [0, 0, 56, 56]", 1.0),
        ("car: [0, 0, 56, 56]; bus: [140, 140, 280, 280]", 2 / 3),  # one is missing
        ("bus: [0, 0, 56, 56], [84, 0, 112, 28]; car: [140, 140, 280, 280]", 0.0),  # swapped
        ("car: [0, 0, 56, 56], [84, 0, 112, 28], [140, 140, 280, 280]", 2 / 4),  # one mislabelled
        ("[0, 0, 56, 56], [84, 0, 112, 28], [140, 140, 280, 280]", 0.0),  # no labels
        ("none", 0.0),
    ],
)
def test_a_box_counts_within_its_label(reward_ctx, answer: str, value: float) -> None:
    ctx = reward_ctx(target=TARGET)
    assert alone(box_rewards.labelled_iou, said(answer), ctx) == pytest.approx(value)


def test_every_label_on_every_box_earns_a_share_of_one_in_their_number(reward_ctx) -> None:
    ctx = reward_ctx(target=TARGET)
    corners = "[0, 0, 56, 56], [84, 0, 112, 28], [140, 140, 280, 280]"
    everything = said("; ".join(f"{label}: {corners}" for label in LABELS))
    assert alone(box_rewards.labelled_iou, everything, ctx) == pytest.approx(3 / 9)


def test_a_box_said_twice_costs(reward_ctx) -> None:
    ctx = reward_ctx(target={**TARGET, "boxes": [[0, 0, 56, 56]], "box_labels": ["car"]})
    twice = said("car: [0, 0, 56, 56], [0, 0, 56, 56]")
    assert alone(box_rewards.labelled_iou, twice, ctx) == 0.5


def test_nothing_where_nothing_is_earns_all_and_a_box_nothing(reward_ctx) -> None:
    ctx = reward_ctx(target={"boxes": [], "box_labels": [], "vocabulary": LABELS})
    assert alone(box_rewards.labelled_iou, said("none"), ctx) == 1.0
    assert alone(box_rewards.labelled_iou, said("car: [0, 0, 56, 56]"), ctx) == 0.0


def test_a_target_without_labels_is_refused(reward_ctx) -> None:
    with pytest.raises(ValueError, match="1 boxes and 0 'box_labels'"):
        alone(box_rewards.labelled_iou, said("none"), reward_ctx(target={"boxes": [[0, 0, 9, 9]]}))


@settings(max_examples=50, deadline=None)
@given(many=st.lists(st.tuples(OBJECTS, OBJECTS), min_size=1, max_size=4))
def test_a_batch_is_the_sum_over_labels_of_each_sample(many) -> None:
    texts, contexts, expected = [], [], []
    for truth, found in many:
        true, named = (
            [(label, Box(x, y, x + side, y + side)) for x, y, side, label in each]
            for each in (truth, found)
        )
        ctx = context(
            boxes=[list(box[:4]) for _, box in true],
            box_labels=[label for label, _ in true],
            vocabulary=LABELS,
        )
        texts.append(said(boxes.write_labelled([Labelled(b, label) for label, b in named], ctx)))
        contexts.append(ctx)
        expected.append(_by_label(true, named))
    assert box_rewards.labelled_iou(texts, contexts) == pytest.approx(expected)


def context(**target: Any) -> RewardContext:
    return RewardContext(
        task="test",
        sample_id="1",
        question="",
        answer="",
        target=target,
        image_sizes=((280, 280),),
        input_sizes=((280, 280),),
        profile=QWEN2_5_VL,
    )


def _by_label(true: list[tuple[str, Box]], named: list[tuple[str, Box]]) -> float:
    total, needed = 0.0, 0
    for label in LABELS:
        a, b = ([box for own, box in each if own == label] for each in (true, named))
        table = np.array([[boxes.iou(one, other) for other in b] for one in a]).reshape(
            len(a), len(b)
        )
        total += table[linear_sum_assignment(table, maximize=True)].sum() if a and b else 0.0
        needed += max(len(a), len(b))
    return total / needed if needed else 1.0


def _prompt(sample: Sample, ctx: PromptContext) -> Turn:
    own = zip(boxes.target_boxes(sample.target), sample.target["box_labels"], strict=True)
    answer = boxes.write_labelled([Labelled(box, label) for box, label in own], ctx)
    return Turn(question="Detect all.", answer=answer, reasoning="because")


def test_no_blind_policy_earns_half_of_the_correct_answer(tmp_path: Path) -> None:
    Image.new("RGB", (280, 280)).save(tmp_path / "image.png")
    rng = random.Random(0)
    samples = [
        Sample(
            id=str(i),
            images=(tmp_path / "image.png",),
            target={
                "boxes": [
                    [x, y, x + 40, y + 40]
                    for x, y in ((rng.randrange(240), rng.randrange(240)) for _ in range(8))
                ],
                "box_labels": rng.choices(LABELS, weights=[6, 3, 1], k=8),
                "vocabulary": LABELS,
            },
        )
        for i in range(12)
    ]
    task = TaskSpec(
        name="t/a",
        summary="",
        dataset="t/d",
        prompt=_prompt,
        rewards={"robust": {"labelled_iou": 1.0}},
        metrics=(),
        primary_metric="",
    )
    found = audit(task, registry=registry.load(), samples=samples, train=samples)
    result = found.rewards["robust"]["labelled_iou"]
    assert result.gold == 1.0
    assert result.passes
    assert 0 < result.policies["usual grid, every label"] < result.policies["usual grid"]
    assert 0 < result.padded < 0.5
