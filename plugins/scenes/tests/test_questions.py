"""The questions: EarthDial's byte for byte, our own where none is published."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from geovlm_scenes import (
    EarthDialOptions,
    EuroSatMsOptions,
    ShuffledOptions,
    bands,
    sets,
    splits,
    tasks,
)

from geovlm import answers
from geovlm.api import Sample
from geovlm.rewards import paper, robust
from geovlm.score.protocols.text import words

# hiyamdebary/EarthDial, src/earthdial/eval/rs_classification/results, 92c1260: the question of all
# 3,000 rows of AID.jsonl and of all 1,005 rows of WHU_19.jsonl, and the first row of UCM.jsonl
AID = (
    "Classify the given image in one of the following classes. Classes: Medium Residential, "
    "Storage Tanks, Beach, Sparse Residential, Square, Pond, River, Commercial, Bare Land, Desert, "
    "Airport, Bridge, Dense Residential, Forest, Viaduct, Church, Farmland, School, Center, Park, "
    "Baseball Field, Meadow, Industrial, Stadium, Parking, Railway Station, Port, Mountain, "
    "Playground, Resort. "
)
WHU = (
    "[hr_rgb_0.5]  <image> \\n Classify the given image in one of the following classes. Classes:  "
    "mountain, port, river, pond, railwaystation, parking, bridge, footballfield, farmland, park, "
    "viaduct, desert, beach, commercial, industrial, forest, residential, meadow, airport. "
    "\\nAnswer in one word or a short phrase."
)
UCM = (
    "[hr_rgb_0.5]  <image> \\n Classify the given image in one of the following classes. Classes:  "
    "overpass, denseresidential, parkinglot, agricultural, mobilehomepark, harbor, "
    "mediumresidential, storagetanks, golfcourse, runway, sparseresidential, baseballdiamond, "
    "freeway, chaparral, forest, buildings, beach, intersection, airplane, river, tenniscourt. "
    "\\nAnswer in one word or a short phrase."
)
ORDER_UCM = UCM.partition("Classes:  ")[2].partition(".")[0].split(", ")


def sample(scenes, number=0):
    target = {"answer": scenes.classes[number], "labels": [scenes.classes[number]]}
    return Sample(id=f"{number}", images=(), target=target | {"vocabulary": list(scenes.classes)})


@pytest.mark.parametrize(
    ("scenes", "classes", "expected"),
    [
        (sets.AID, sets.AID.classes, AID),
        (sets.WHU, sets.WHU.classes, WHU),
        (sets.UCM, ORDER_UCM, UCM),
    ],
)
def test_published_questions_are_byte_for_byte(scenes, classes, expected):
    assert tasks.published(scenes, classes) == expected


def test_earthdial_asks_this_about_aid_in_every_row_and_as_often_as_we_do(realdata):
    path = realdata / "EarthDial_eval_results" / "rs_classification" / "AID.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert {row["question"] for row in rows} == {AID}
    hashed = splits.Hashed(sets.AID)
    ours = Counter(
        folder
        for folder in sets.AID.folders
        for stem in sets.AID.official(folder)
        if hashed.split(folder, stem) == "test"
    )
    assert Counter(row["annotation"] for row in rows) == ours
    assert len(rows) == 3_000


@pytest.mark.parametrize(
    ("scenes", "prompt", "expected"),
    [(sets.AID, tasks.prompt_aid, AID), (sets.WHU, tasks.prompt_whu_rs19, WHU)],
)
def test_the_question_lacks_only_the_mark_of_the_image(scenes, prompt, expected, prompt_ctx):
    question = prompt(sample(scenes), prompt_ctx(options=EarthDialOptions())).question
    assert question == expected.replace("<image>", "")


def test_the_classes_of_uc_merced_are_shuffled_per_sample_by_the_seed(prompt_ctx):
    def asked(number, seed):
        options = ShuffledOptions(seed=seed)
        return tasks.prompt_ucm(sample(sets.UCM, number), prompt_ctx(options=options)).question

    assert asked(0, 0) == asked(0, 0)
    assert len({asked(0, 0), asked(1, 0), asked(0, 1)}) == 3
    listed = asked(0, 0).partition("Classes:  ")[2].partition(".")[0].split(", ")
    assert sorted(listed) == sorted(ORDER_UCM)
    before, after = UCM.replace("<image>", "").split(", ".join(ORDER_UCM))
    assert asked(0, 0).startswith(before)
    assert asked(0, 0).endswith(after)


def test_a_plain_wording_is_an_option(prompt_ctx):
    options = EarthDialOptions(wording="plain")
    question = tasks.prompt_whu_rs19(sample(sets.WHU), prompt_ctx(options=options)).question
    assert question == (
        "Classify the given image in one of the following classes. Classes: "
        f"{', '.join(sets.WHU.classes)}. Answer in one word or a short phrase."
    )


def test_several_views_of_a_tile_are_explained_and_asked_about_together(prompt_ctx):
    options = EuroSatMsOptions(views=("true_colour", "ndvi"))
    tile = replace(sample(sets.EUROSAT_MS), **bands.images(Path("River_1.tif"), options))
    assert tasks.prompt_eurosat_ms(tile, prompt_ctx()).question.startswith(
        "The images show the same place at the same time. First image: true colour. Second image: "
        "vegetation index NDVI, in which black is -1, white is 1 and dense vegetation is bright. "
        "Classify the given images in one of the following classes. Classes: annual crop, forest, "
    )


@pytest.mark.parametrize("scenes", sets.ALL, ids=lambda scenes: scenes.name)
def test_every_class_is_read_as_itself_and_as_its_folder(scenes):
    assert len(scenes.classes) == len(scenes.folders)
    spoken = {name: answers.labels(name, scenes.classes) for name in scenes.classes}
    assert spoken == {name: (name,) for name in scenes.classes}
    folders = {sets.key(folder) for folder in scenes.folders}
    assert {sets.key(name) for name in scenes.classes} == folders


@pytest.mark.parametrize("scenes", [sets.AID, sets.WHU, sets.UCM], ids=lambda scenes: scenes.name)
def test_the_published_truth_gives_our_answers_full_recall(scenes):
    truths = {sets.key(folder): folder for folder in scenes.folders}  # the folder, as published
    recalls = [words.token_recall(truths[sets.key(name)], name) for name in scenes.classes]
    assert recalls == [1.0] * len(scenes.classes)


@pytest.mark.parametrize("reward", [paper.recall, robust.exact])
def test_the_gold_answer_earns_the_most(reward, prompt_ctx, reward_ctx):
    asked = sample(sets.RESISC45, 3)
    turn = tasks.prompt_resisc45(asked, prompt_ctx())
    assert turn.answer == "basketball court"
    ctx = reward_ctx(target=asked.target, answer=turn.answer)
    assert reward(answers.frame(turn), ctx) == 1.0


def test_naming_every_class_earns_nothing_in_the_robust_set(reward_ctx):
    ctx = reward_ctx(target=sample(sets.AID).target)
    said = f"<think> a </think><answer> {', '.join(sets.AID.classes)} </answer>"
    assert (paper.recall(said, ctx), robust.exact(said, ctx)) == (1.0, 0.0)


def test_importing_the_plugin_imports_nothing_heavy():
    heavy = "{'numpy', 'PIL', 'torch', 'pydantic', 'rasterio'}"
    code = f"import sys, geovlm_scenes; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
