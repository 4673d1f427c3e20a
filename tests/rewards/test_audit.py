"""The audit: means, gaps, floors and verdicts, on tasks small enough to work out by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from geovlm import boxes
from geovlm.api import ModelProfile, PromptContext, RewardSpec, Sample, TaskSpec, Turn
from geovlm.errors import DataError, GeoVLMError, RewardError
from geovlm.plugins import registry
from geovlm.plugins.registry import Registry
from geovlm.rewards import robust
from geovlm.rewards.audit.audit import audit, judge

LABELS = [f"class {letter}" for letter in "abcdefghijklmnopqrs"]
CROWD = [[x, y, x + 30, y + 30] for x in range(0, 280, 40) for y in range(0, 280, 40)]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.new("RGB", (280, 280)).save(path)
    return path


def prompt(sample: Sample, ctx: PromptContext) -> Turn:
    target: Any = sample.target
    if "boxes" in target:
        answer = boxes.write(target["boxes"], ctx)
    else:
        answer = target.get("answer") or "; ".join(target["labels"])
    return Turn(question="What is here?", answer=answer, reasoning="because")


def task(**sets: Mapping[str, float]) -> TaskSpec:
    return TaskSpec(
        name="t/a",
        summary="",
        dataset="t/d",
        prompt=prompt,
        rewards=sets,
        metrics=(),
        primary_metric="",
    )


def made(image: Path, *targets: Mapping[str, Any]) -> list[Sample]:
    return [Sample(id=str(i), images=(image,), target=t) for i, t in enumerate(targets)]


def closed(*words: str, kind: str = "", vocabulary: Sequence[str] = ()) -> list[dict[str, Any]]:
    typed = {"type": kind} if kind else {}
    return [{"answer": word, "vocabulary": list(vocabulary), **typed} for word in words]


def with_reward(spec: RewardSpec) -> Registry:
    known = registry.load()
    return dataclasses.replace(known, rewards={**known.rewards, spec.name: spec})


def test_naming_every_label_is_caught_in_recall_and_not_in_label_f1(image: Path) -> None:
    found = made(
        image, *({"labels": LABELS[i : i + 2], "vocabulary": LABELS} for i in range(0, 16, 2))
    )
    result = audit(
        task(paper={"recall": 1.0}, robust={"label_f1": 1.0}),
        registry=registry.load(),
        samples=found,
        train=found,
    )
    recall, f1 = result.rewards["paper"]["recall"], result.rewards["robust"]["label_f1"]
    assert (recall.gold, recall.policies["every label"], recall.passes) == (1.0, 1.0, False)
    assert f1.policies["every label"] == pytest.approx((2 * 2 / (2 + 19)) ** 2)
    assert f1.passes


def test_a_task_without_boxes_needs_no_frame(image: Path) -> None:
    found = made(image, *closed("yes", "no", vocabulary=("yes", "no")))
    unknown = ModelProfile(name="unknown-vl", model_types=("unknown_vl",), box_frame=None)
    result = audit(
        task(robust={"exact": 1.0}),
        registry=registry.load(),
        samples=found,
        train=found,
        profile=unknown,
    )
    assert result.rewards["robust"]["exact"].gold == 1.0


def test_a_grid_on_a_crowd_is_caught_in_detection_and_not_in_matched_iou(image: Path) -> None:
    crowd = made(image, {"boxes": CROWD})
    result = audit(
        task(paper={"detection": 1.0}, robust={"matched_iou": 1.0}),
        registry=registry.load(),
        samples=crowd,
        train=made(image, {"boxes": [[5, 5, 45, 45]]}),
    )
    detection = result.rewards["paper"]["detection"]
    one_honest_box = 1 / 49
    assert detection.policies["grid"] > one_honest_box
    assert (detection.gold, detection.padded, detection.passes) == (1.0, 1.0, False)
    assert result.rewards["robust"]["matched_iou"].passes


def test_extra_boxes_that_cost_nothing_are_flagged_though_no_policy_earns_half(
    image: Path,
) -> None:
    small = made(image, {"boxes": [[3, 3, 9, 9]]})
    detection = audit(
        task(paper={"detection": 1.0}), registry=registry.load(), samples=small, train=small[:1]
    ).rewards["paper"]["detection"]
    assert detection.padded == pytest.approx(detection.gold)
    assert not detection.passes


def test_closed_answers_may_earn_the_rate_of_the_most_frequent_one(image: Path) -> None:
    vocabulary = ("yes", "no")
    found = made(image, *closed("yes", "yes", "yes", "no", vocabulary=vocabulary))
    exact = audit(
        task(robust={"exact": 1.0}), registry=registry.load(), samples=found, train=found
    ).rewards["robust"]["exact"]
    assert (exact.best, exact.gap, exact.floor) == ("majority answer", 0.75, 0.75)
    assert exact.passes


def test_the_floor_takes_the_most_frequent_answer_of_each_kind(image: Path) -> None:
    # 2 of 3 and 1 of 2: 3 of 5 samples
    targets = closed("yes", "yes", "no", kind="presence", vocabulary=("yes", "no"))
    targets += closed("rural", "urban", kind="area", vocabulary=("rural", "urban"))
    found = made(image, *targets)
    exact = audit(
        task(robust={"exact": 1.0}), registry=registry.load(), samples=found, train=found
    ).rewards["robust"]["exact"]
    assert exact.floor == pytest.approx(0.6)
    assert exact.passes


def test_answers_that_rarely_repeat_are_open(image: Path) -> None:
    found = made(image, *closed("oak", "elm", "ash", "fir"))
    exact = audit(
        task(robust={"exact": 1.0}), registry=registry.load(), samples=found, train=found
    ).rewards["robust"]["exact"]
    assert exact.floor is None


def test_letters_of_few_samples_are_closed(image: Path) -> None:
    choices = ["a river", "a road", "a lake"]
    found = made(image, *({"answer": letter, "choices": choices} for letter in "ABC"))
    exact = audit(
        task(robust={"exact": 1.0}), registry=registry.load(), samples=found, train=found
    ).rewards["robust"]["exact"]
    assert exact.floor == pytest.approx(1 / 3)
    assert exact.passes


def test_the_total_of_a_set_is_its_weighted_sum(image: Path) -> None:
    found = made(image, *closed("yes", "yes", "yes", "no", vocabulary=("yes", "no")))
    total = audit(
        task(robust={"exact": 2.0, "jaccard": 0.5}),
        registry=registry.load(),
        samples=found,
        train=found,
    ).rewards["robust"]["total"]
    assert total.gold == 2.5
    assert total.policies["majority answer"] == pytest.approx(0.75 * 2.5)
    assert total.policies["every label"] == pytest.approx(0.5 * 0.5)  # jaccard pays half


def test_only_the_sets_asked_for_are_audited(image: Path) -> None:
    found = made(image, *closed("yes", "no", vocabulary=("yes", "no")))
    result = audit(
        task(paper={"recall": 1.0}, robust={"exact": 1.0}),
        registry=registry.load(),
        samples=found,
        train=found,
        sets=["robust"],
    )
    assert list(result.rewards) == ["robust"]


def test_a_batched_reward_is_called_once(image: Path) -> None:
    sizes: list[int] = []

    def score(completions: Sequence[str], contexts: Sequence[Any]) -> list[float]:
        sizes.append(len(completions))
        return [robust.exact(c, ctx) for c, ctx in zip(completions, contexts, strict=True)]

    spec = RewardSpec(name="t/batched", summary="", score=score, batched=True)
    found = made(image, *closed("yes", "no", vocabulary=("yes", "no")))
    result = audit(
        task(robust={"t/batched": 1.0}), registry=with_reward(spec), samples=found, train=found
    )
    policies = result.rewards["robust"]["t/batched"].policies
    assert sizes == [2 * (len(policies) + 2)]  # two samples; gold and padded gold as well


def test_a_reward_that_applies_to_no_sample_is_named(image: Path) -> None:
    spec = RewardSpec(name="t/none", summary="", score=lambda completion, ctx: None)
    found = made(image, *closed("yes", "no", vocabulary=("yes", "no")))
    with pytest.raises(RewardError, match=r"'t/none' applies to none of 2 samples of task 't/a'"):
        audit(task(robust={"t/none": 1.0}), registry=with_reward(spec), samples=found, train=found)


def test_a_sentence_encoder_that_is_not_there_ends_the_audit(image: Path, tmp_path: Path) -> None:
    found = made(image, {"labels": ["ship"], "captions": ["a ship"]})
    with pytest.raises(GeoVLMError, match=r"sentence encoder .*nowhere' cannot be loaded"):
        audit(
            task(paper={"hslr": 1.0}),
            registry=registry.load(),
            samples=found,
            train=found,
            options={"encoder": str(tmp_path / "nowhere")},
        )


def test_an_audit_without_samples_says_which_are_missing(image: Path) -> None:
    one = made(image, *closed("yes", vocabulary=("yes", "no")))
    robust = task(robust={"exact": 1.0})
    with pytest.raises(DataError, match=r"'t/a' has no held-out samples"):
        audit(robust, registry=registry.load(), samples=[], train=one)
    with pytest.raises(DataError, match=r"'t/a' has no training samples"):
        audit(robust, registry=registry.load(), samples=one, train=[])


def test_the_gap_is_taken_above_the_least_that_a_reward_can_give() -> None:
    means = {"correct answer": 1.0, "correct answer, padded": 0.0, "empty": -1.0, "grid": 0.5}
    result = judge(means, low=-1.0, floor=None)
    assert (result.best, result.gap, result.passes) == ("grid", 0.75, False)  # 1.5 of 2


def test_gold_that_earns_nothing_has_an_infinite_gap() -> None:
    result = judge(
        {"correct answer": 0.0, "correct answer, padded": 0.0, "grid": 0.1}, low=0.0, floor=None
    )
    assert math.isinf(result.gap)
    assert not result.passes


def test_half_of_gold_passes_and_more_does_not() -> None:
    means = {"correct answer": 0.8, "correct answer, padded": 0.1}
    assert judge({**means, "grid": 0.4}, low=0.0, floor=None).passes
    assert not judge({**means, "grid": 0.41}, low=0.0, floor=None).passes
