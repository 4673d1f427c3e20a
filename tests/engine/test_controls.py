"""Blind baselines and pair probes of models that are functions of the row."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geovlm import answers
from geovlm.api import MetricSpec, TaskSpec
from geovlm.config.schema import EvalConfig
from geovlm.engine.evaluation import blind, controls, pairs
from geovlm.engine.evaluation.judge import Judge, clusters, prompt_hash
from geovlm.engine.rows.images import GREY, ImageCache, shifted
from geovlm.engine.rows.rows import Row, pictures
from geovlm.errors import MetricError
from geovlm.plugins import registry
from geovlm.plugins.profiles import QWEN2_5_VL

FRAME = "<think> x </think><answer> {} </answer>"


def a_row(number: int, answer: str, images: tuple[str, ...], **target: object) -> Row:
    return Row(
        task="t/a",
        sample_id=str(number),
        images=images,
        question="Changed?",
        reasoning="because",
        answer=answer,
        target={"answer": answer, **target},
        image_sizes=((100, 50),) * len(images),
        input_sizes=((84, 56),) * len(images),
        meta={},
    )


def a_judge(unchanged: str = "no") -> Judge:
    task = TaskSpec(
        name="t/a",
        summary="",
        dataset="d",
        prompt="m:f",
        rewards={"paper": {"exact": 1.0}, "robust": {"exact": 1.0}},
        metrics=("accuracy",),
        primary_metric="accuracy",
        unchanged=unchanged,
    )
    return Judge(task=task, profile=QWEN2_5_VL, registry=registry.load(), resamples=50, seed=0)


PAIRS = [
    a_row(0, "yes", ('"calm0"', '"hit0"')),
    a_row(1, "no", ('"calm1"', '"calm1b"')),
    a_row(2, "yes", ('"calm2"', '"hit2"')),
    a_row(3, "no", ('"hit3"', '"hit3b"')),
]


def sees_both(row: Row) -> str:
    older, newer = row.images
    return "yes" if "calm" in older and "hit" in newer else "no"


def ignores_the_newer(row: Row) -> str:
    return "yes" if "hit" in row.images[0] else "no"


def probed(says: Callable[[Row], str], judge: Judge) -> dict[str, object]:
    rows = {"real": PAIRS}
    rows |= {probe: pairs.altered(PAIRS, probe, seed=1) for probe in pairs.PROBES}
    answered = {
        name: judge.predictions(PAIRS, [FRAME.format(says(row)) for row in many])
        for name, many in rows.items()
    }
    return pairs.report(judge, answered)


def test_a_model_that_ignores_the_newer_image_scores_as_on_the_older_one_twice() -> None:
    found = probed(ignores_the_newer, a_judge())
    # it says no, no, no, yes to yes, no, yes, no: one of four is right
    assert found["metrics"]["real"]["accuracy"] == 0.25
    assert found["metrics"]["same"]["accuracy"] == 0.25
    assert found["false_alarm_rate"] == 0.25  # the pair whose older image is hit
    assert found["order_sensitivity"] == 0.5  # the two pairs whose images differ in kind
    assert found["shift_sensitivity"] == 0.0


def test_a_model_that_compares_raises_no_alarm_and_minds_the_order() -> None:
    found = probed(sees_both, a_judge())
    assert found["metrics"]["real"]["accuracy"] == 1.0
    assert found["metrics"]["same"]["accuracy"] == 0.5  # the two whose truth is no
    assert found["false_alarm_rate"] == 0.0
    assert found["order_sensitivity"] == 0.5


def test_without_an_answer_for_unchanged_pairs_there_is_no_false_alarm_rate() -> None:
    assert probed(sees_both, a_judge(unchanged=""))["false_alarm_rate"] is None


@pytest.mark.parametrize(("answer", "alarm"), [("none", False), ("[1, 2, 30, 40]", True)])
def test_boxes_where_nothing_changed_are_an_alarm(prediction, answer: str, alarm: bool) -> None:
    one = prediction(FRAME.format(answer), target={"boxes": [[1, 2, 30, 40]]})
    assert pairs.claims_change(a_judge(unchanged="none").task, one) is alarm


@pytest.mark.parametrize("target", [{"boxes": []}, {"answer": "no"}])
def test_no_answer_about_an_unchanged_pair_is_an_alarm(prediction, target: dict) -> None:
    one = prediction("I see nothing.", target=target)
    assert pairs.claims_change(a_judge(unchanged="no").task, one) is True


def broken_judge(compute: Callable[..., dict[str, float]]) -> Judge:
    judge = a_judge()
    known = dict(judge.registry.metrics) | {
        "t/own": MetricSpec(name="t/own", summary="", compute=compute)
    }
    task = replace(judge.task, metrics=("t/own",), primary_metric="own")
    return replace(judge, task=task, registry=replace(judge.registry, metrics=known))


def test_a_metric_that_raises_is_named_before_the_model_answers() -> None:
    def compute(predictions: object) -> dict[str, float]:
        raise KeyError("label")

    with pytest.raises(MetricError, match=r"metric 't/own' raised KeyError\('label'\)"):
        broken_judge(compute).check(PAIRS)


def test_the_metrics_are_tried_on_correct_answers() -> None:
    seen = []

    def compute(predictions: object) -> dict[str, float]:
        seen.extend(answers.answer_text(each.completion) for each in predictions)
        return {"own": 1.0}

    broken_judge(compute).check(PAIRS)
    assert seen == ["yes", "no", "yes", "no"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_no_score(value: float) -> None:
    judge = broken_judge(lambda predictions: {"own": value, "other": 0.5})
    answered = judge.predictions(PAIRS, [FRAME.format("yes")] * 4)
    assert judge.metrics(answered) == {"other": 0.5}
    assert set(judge.intervals(PAIRS, answered)) == {"other"}


def test_the_majority_is_that_of_the_question_type() -> None:
    train = [
        a_row(0, "yes", ("a",), type="presence"),
        a_row(1, "yes", ("a",), type="presence"),
        a_row(2, "3", ("a",), type="count"),
    ]
    most = blind.majority(train)
    assert most == {"": "yes", "presence": "yes", "count": "3"}
    asked = [a_row(7, "no", ("a",), type="count"), a_row(8, "no", ("a",), type="area")]
    texts = blind.majority_texts(asked, most)
    assert [answers.answer_text(text) for text in texts] == ["3", "yes"]


def test_shuffled_rows_show_the_images_of_other_samples() -> None:
    mixed = blind.shuffled(PAIRS, pool=PAIRS, seed=3)
    assert mixed is not None
    assert [row.key for row in mixed] == [row.key for row in PAIRS]
    assert not any(a.images == b.images for a, b in zip(mixed, PAIRS, strict=True))
    assert {row.images for row in mixed} <= {row.images for row in PAIRS}


def test_samples_of_one_scene_cannot_be_shuffled() -> None:
    rows = [a_row(i, "yes", ('"a"',)) for i in range(3)]
    assert blind.shuffled(rows, pool=rows, seed=3) is None


def test_text_only_rows_keep_their_sizes_and_see_grey() -> None:
    (row,) = blind.text_only(PAIRS[:1])
    assert row == replace(PAIRS[0], images=(GREY, GREY))
    picture = pictures(row, cache=ImageCache())[0]
    assert picture.size == (84, 56)
    assert picture.getextrema() == ((128, 128),) * 3


def test_a_shift_moves_what_is_seen(tmp_path: Path) -> None:
    pixels = np.zeros((50, 100, 3), np.uint8)
    pixels[:, 40:] = 255
    Image.fromarray(pixels).save(tmp_path / "edge.png")
    reference = shifted(json.dumps(str(tmp_path / "edge.png")), share=(0.05, 0.0))
    seen = np.asarray(ImageCache().get(reference, (100, 50)))[25, :, 0]
    assert seen[43] == 0
    assert seen[46] == 255
    assert seen[0] == 0
    assert seen[99] == 255  # the border is repeated


def test_the_shift_of_a_sample_is_two_to_eight_pixels_of_the_stored_image() -> None:
    row = pairs.altered(PAIRS[:1], "shifted", seed=5)[0]
    right, down = json.loads(row.images[1])["share"]
    assert 2.0 <= np.hypot(right * 100, down * 50) <= 8.0
    assert row.images[0] == PAIRS[0].images[0]


@pytest.mark.parametrize(
    ("settings", "last", "names"),
    [
        ({}, False, []),
        ({}, True, ["text_only", "shuffled"]),
        ({"blind": "all"}, False, ["text_only", "shuffled"]),
        ({"blind": "majority", "probes": True}, True, ["swapped", "same", "shifted"]),
        ({"probes": True, "blind": "off"}, False, []),
    ],
)
def test_settings_choose_what_is_asked(
    settings: dict[str, object], last: bool, names: list[str]
) -> None:
    made = controls.prompt_sets(
        {"t/a": PAIRS},
        bitemporal=["t/a"],
        settings=EvalConfig.model_validate(settings),
        last=last,
        seed=0,
    )
    assert [each.name for each in made] == names


def test_two_views_of_one_date_are_no_pair_to_probe() -> None:
    settings = EvalConfig(blind="off", probes=True)
    made = controls.prompt_sets({"t/a": PAIRS}, bitemporal=[], settings=settings, last=True, seed=0)
    assert [len(each.rows) for each in made] == [0, 0, 0]


def test_controls_are_asked_about_so_many_samples_only() -> None:
    made = controls.prompt_sets(
        {"t/a": PAIRS}, settings=EvalConfig(control_limit=2), last=True, seed=0
    )
    assert [len(each.rows) for each in made] == [2, 2]


def test_many_events_are_the_groups_and_few_are_not() -> None:
    many = [replace(PAIRS[0], meta={"event": f"e{i}"}) for i in range(8)]
    few = [replace(row, meta={"event": "e"}) for row in PAIRS]
    assert clusters(many).described() == {"by": "event", "n": 8}
    assert clusters(few).described() == {"by": "image", "n": 4}


def test_the_prompt_hash_depends_on_template_and_question() -> None:
    before = prompt_hash(PAIRS, template="a")
    other = [replace(PAIRS[0], question="Same?"), *PAIRS[1:]]
    assert (
        len(
            {
                before,
                prompt_hash(PAIRS, template="b"),
                prompt_hash(other, template="a"),
            }
        )
        == 3
    )


def test_a_model_gains_over_a_baseline_on_the_same_samples() -> None:
    judge = a_judge()
    rows = [replace(PAIRS[i % 4], images=(f"{i}a", f"{i}b"), sample_id=str(i)) for i in range(20)]
    wrong = judge.predictions(rows, [FRAME.format("perhaps")] * 20)
    right = judge.predictions(rows, [FRAME.format(row.answer) for row in rows])
    gain = judge.changes(rows, wrong, right)["accuracy"]
    assert gain["difference"] == 1.0
    assert gain["ci95"] == [1.0, 1.0]
    assert gain["p"] == pytest.approx(1 / 51)  # none of 50 permutations is as large
