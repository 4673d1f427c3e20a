from __future__ import annotations

import json
import re
import subprocess
import sys

import geovlm_geochat
import pytest
from geovlm_geochat import captions, tasks
from geovlm_geochat.turns import KINDS

from geovlm import answers, boxes
from geovlm.plugins import builtin
from geovlm.plugins.profiles import QWEN2_5_VL, QWEN3_VL
from geovlm.rewards import robust, scoring

IMAGE, INPUT = (256, 256), (252, 252)
TASKS = {spec.name: spec for spec in geovlm_geochat.geovlm_tasks()}
PAPER = {"classify": "recall", "vqa": "jaccard", "caption": "levenshtein", "refer": "detection"}
PAPER |= {"ground": "lmgr"}
ROBUST = {"classify": "exact", "vqa": "exact", "caption": "caption_f1", "refer": "matched_iou"}
ROBUST |= {"ground": "grounded_f1"}


@pytest.fixture
def golds(miniature, read, prompt_ctx):
    """(sample, turn) of one kind, for a model."""

    def build(kind, *, profile=QWEN2_5_VL):
        ctx = prompt_ctx(image_sizes=(IMAGE,), input_sizes=(INPUT,), profile=profile)
        expand, prompt = getattr(tasks, f"{kind}_samples"), getattr(tasks, kind)
        records = read(miniature)[0]
        samples = [sample for record in records for sample in expand(record)]
        return [(sample, prompt(sample, ctx)) for sample in samples]

    return build


@pytest.fixture
def score(reward_ctx):
    """Value of a built-in reward for an answer to a sample."""

    def value(name, sample, turn, *, answer=None, profile=QWEN2_5_VL):
        ctx = reward_ctx(
            target=sample.target,
            answer=turn.answer,
            question=turn.question,
            image_sizes=(IMAGE,),
            input_sizes=(INPUT,),
            profile=profile,
        )
        said = turn.answer if answer is None else answer
        reward = next(spec for spec in builtin.REWARDS if spec.name == name)
        completion = f"<think> a </think><answer> {said} </answer>"
        return scoring.score(reward, [completion], [ctx])[0]

    return value


def test_importing_the_plugin_imports_nothing_heavy():
    heavy = "{'numpy', 'PIL', 'torch', 'pydantic', 'shapely'}"
    code = f"import sys, geovlm_geochat; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_kind_is_a_task():
    assert list(TASKS) == [f"geochat/{kind}" for kind in KINDS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("profile", [QWEN2_5_VL, QWEN3_VL], ids=lambda profile: profile.name)
def test_the_gold_answer_earns_the_most_in_both_sets(golds, score, kind, profile):
    # whole numbers cost a box of 40 px and more at most a tenth of its IoU
    found = golds(kind, profile=profile)
    paper = [score(PAPER[kind], *gold, profile=profile) for gold in found]
    robust = [score(ROBUST[kind], *gold, profile=profile) for gold in found]
    assert len(found) == 8
    assert min(paper) > 0.9
    assert min(robust) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_about_nothing_earns_nothing_in_the_robust_set(golds, score, kind):
    assert all(score(ROBUST[kind], *gold, answer="nothing") == 0 for gold in golds(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_are_short_and_hold_no_token_tag_or_brace(golds, kind):
    texts = [f"{turn.question} {turn.answer} {turn.reasoning}" for _, turn in golds(kind)]
    assert not [text for text in texts if re.search(r"[<>{}]|\[(?:refer|identify|ground)", text)]
    assert max(len(turn.question.split()) for _, turn in golds(kind)) <= 40
    assert max(len(turn.reasoning.split()) for _, turn in golds(kind)) <= 25


@pytest.mark.parametrize("kind", KINDS)
def test_every_turn_can_be_framed(golds, kind):
    assert all(answers.has_answer(answers.frame(turn)) for _, turn in golds(kind))


def test_the_box_of_a_region_is_asked_for_in_the_frame_of_the_model(golds, prompt_ctx):
    ctx = prompt_ctx(image_sizes=(IMAGE,), input_sizes=(INPUT,), profile=QWEN3_VL)
    sample, turn = golds("caption", profile=QWEN3_VL)[0]
    asked = boxes.parse(turn.question, ctx)
    assert boxes.iou(asked[0], boxes.target_boxes(sample.target)[0]) > 0.9


def test_a_grounded_caption_names_all_boxes_after_its_words(golds, prompt_ctx):
    ctx = prompt_ctx(image_sizes=(IMAGE,), input_sizes=(INPUT,))
    for sample, turn in golds("ground"):
        assert len(boxes.parse(turn.answer, ctx)) == len(sample.target["boxes"])
        words = " ".join(re.sub(r"\[[^\]]*\]", " ", turn.answer).split())
        assert words == sample.target["text"]


def test_the_reasoning_of_refer_counts_by_place(golds):
    found = {len(sample.target["boxes"]): turn.reasoning for sample, turn in golds("refer")}
    assert re.fullmatch(r"One object fits\. It is at the [a-z ]+\.", found[1])


def test_templates_do_not_pay_on_real_region_captions(realdata, reward_ctx):
    """Neither a constant nor a sentence filled from the box in the question earns half."""
    path = realdata / "EarthDial_eval_results" / "rs_region_captioning" / "GeoChat.jsonl"
    rows = [json.loads(line)["annotation"] for line in path.read_text().splitlines()]
    for template in ("1 at the center", "1 vehicle at the {position}", "1 gray large ship"):
        total = 0.0
        for caption in rows:
            facts, vocabularies = captions.facts(caption)
            target = {"captions": [caption], "facts": facts, "fact_vocabularies": vocabularies}
            said = template.format(position=facts.get("position", "center"))
            answer = f"<think> a </think><answer> {said} </answer>"
            total += robust.caption_f1(answer, reward_ctx(target=target))
        assert total / len(rows) < 0.5, template
