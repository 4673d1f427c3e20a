from __future__ import annotations

import subprocess
import sys

import geovlm_bigearthnet
import pytest
from geovlm_bigearthnet import tasks
from geovlm_bigearthnet.classes import CLASSES_19

from geovlm import answers
from geovlm.api import Sample
from geovlm.plugins import builtin
from geovlm.rewards import paper, robust


@pytest.fixture
def coast() -> Sample:
    labels = ["Arable land", "Beaches, dunes, sands", "Marine waters"]
    return Sample(id="a", images=(), target={"labels": labels, "vocabulary": list(CLASSES_19)})


def test_importing_the_plugin_imports_nothing_heavy():
    heavy = "{'numpy', 'PIL', 'torch', 'pydantic', 'pyarrow', 'rasterio'}"
    code = f"import sys, geovlm_bigearthnet; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_turn_lists_all_classes_and_names_those_present(coast, prompt_ctx):
    turn = tasks.prompt(coast, prompt_ctx())
    assert answers.labels(turn.question, CLASSES_19) == CLASSES_19
    assert turn.answer == "Arable land; Beaches, dunes, sands; Marine waters"
    assert turn.reasoning == (
        "Present: agricultural areas (1), forest and seminatural areas (1), water bodies (1). "
        "Absent: artificial surfaces, wetlands."
    )


@pytest.mark.parametrize("reward", [paper.recall, robust.label_f1])
def test_the_gold_answer_earns_the_most(coast, prompt_ctx, reward_ctx, reward):
    turn = tasks.prompt(coast, prompt_ctx())
    ctx = reward_ctx(target=coast.target, answer=turn.answer)
    assert reward(answers.frame(turn), ctx) == 1.0


def test_naming_every_class_pays_in_the_paper_set_only(coast, reward_ctx):
    said = f"<think> a </think><answer> {'; '.join(CLASSES_19)} </answer>"
    ctx = reward_ctx(target=coast.target)
    assert paper.recall(said, ctx) == 1.0
    assert robust.label_f1(said, ctx) == pytest.approx((2 * 3 / (19 + 3)) ** 2)


def test_generated_turns_can_be_framed(miniature, read, prompt_ctx):
    turns = [tasks.prompt(sample, prompt_ctx()) for sample in read(miniature)[0]]
    assert all(answers.has_answer(answers.frame(turn)) for turn in turns)
    assert max(len(turn.reasoning.split()) for turn in turns) <= 25


def test_the_declared_rewards_and_metrics_exist():
    (spec,) = geovlm_bigearthnet.geovlm_tasks()
    names = {reward.name for reward in builtin.REWARDS}
    assert {name for group in spec.rewards.values() for name in group} <= names
