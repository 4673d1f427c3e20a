"""Rubbish in place of completions, for every registered metric."""

from __future__ import annotations

from typing import Any

import pytest

from geovlm.plugins import builtin, metrics, registry

RIGHT: dict[str, tuple[str, dict[str, Any]]] = {
    "accuracy": ("yes", {"answer": "yes", "type": "presence"}),
    "labels": ("sea", {"labels": ["sea"], "vocabulary": ["sea", "land"]}),
    "detection": ("[0, 0, 20, 28]", {"boxes": [[0, 0, 20, 28]]}),
    "coco": (
        "ships: [0, 0, 20, 28]",
        {"boxes": [[0, 0, 20, 28]], "box_labels": ["ships"], "vocabulary": ["ships", "planes"]},
    ),
    "change": ("three ships", {"captions": ["three ships"], "changed": True}),
    "caption": ("three ships", {"captions": ["three ships", "ships"]}),
    "grounding": (
        "a ship [0, 0, 20, 28]",
        {"text": "a ship [0, 0, 20, 28]", "boxes": [[0, 0, 20, 28]]},
    ),
    "format": ("yes", {}),
}
RUBBISH = (
    "",
    " \n",
    "<think></think><answer></answer>",
    "<answer><answer></answer></answer>",
    "</answer></think><answer><think>",
    "<think> yes sea three ships [0, 0, 20, 28]",
    "\ud83d <answer>\ud83d</answer>",
    "<answer>\x00</answer>",
    "<answer>NaN</answer>",
    "<answer>[null, NaN, 1e999, -1]</answer>",
    "<answer>[[1, 2, 3], [0, 0, 0, 0], [9, 9, 1, 1]]</answer>",
    '<answer>{"answer": {"answer": null}}</answer>',
    "<answer>" + "[[" * 5000 + "</answer>",
    "xyzzy " * 170_000,
    "<answer>" + "xyzzy " * 5000 + "</answer>",
)


def framed(answer: str) -> str:
    return f"<think> because </think><answer> {answer} </answer>"


def test_every_metric_of_the_core_is_tried() -> None:
    assert set(RIGHT) == {spec.name for spec in builtin.METRICS}


def test_every_task_is_scored_by_these_metrics() -> None:
    tasks = registry.load().tasks.values()
    assert {name for task in tasks for name in task.metrics} <= set(RIGHT)


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("rubbish", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_for_a_right_completion_raises_no_number(
    prediction, name: str, rubbish: str
) -> None:
    said, target = RIGHT[name]
    texts = [framed(said), framed("zzz"), framed(said), framed("zzz")]
    measure = metrics.function(registry.load().metric(name))
    before = measure([prediction(text, target=target) for text in texts])
    after = measure([prediction(text, target=target) for text in [rubbish, *texts[1:]]])
    assert after.keys() == before.keys()
    assert [(k, v) for k, v in after.items() if not 0 <= v <= before[k] + 1e-12] == []


@pytest.mark.parametrize("name", RIGHT)
def test_completions_without_an_answer_score_zero(prediction, name: str) -> None:
    _, target = RIGHT[name]
    measure = metrics.function(registry.load().metric(name))
    found = measure([prediction(text, target=target) for text in ("", "yes", "<answer></answer>")])
    assert {key: value for key, value in found.items() if value} == {}
