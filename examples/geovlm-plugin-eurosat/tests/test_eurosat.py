"""The plugin's promises; `realdata` and the contexts come from GeoVLM's pytest plugin."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import geovlm_eurosat
import pytest
from geovlm_eurosat import data, scoring

from geovlm.api import LoadContext
from geovlm.errors import DatasetNotFoundError
from geovlm.testing import parametrize_with_checks

TARGET = {"answer": "river", "labels": ["river"], "vocabulary": ["river", "sea lake", "forest"]}


@parametrize_with_checks("eurosat")
def test_conforms(check):
    check()


def test_real_tiles_are_read_in_their_own_folders(realdata):
    samples = [
        sample
        for split in ("train", "val", "test")
        for sample in data.load(LoadContext(root=realdata / "EuroSAT_RGB", split=split))
    ]
    counts = Counter(sample.target["answer"] for sample in samples)
    assert len({sample.id for sample in samples}) == 150
    assert set(counts.values()) == {15}
    assert counts["sea lake"] == 15


@pytest.mark.parametrize(
    ("stem", "split"), [("River_8", "test"), ("River_2", "val"), ("River_1", "train")]
)
def test_a_split_follows_from_the_name(stem, split):
    # `printf River_8 | sha256sum` modulo 10 is 0; River_2: 1; River_1: 5
    assert data.split_of(stem) == split


def test_generated_tiles_fill_every_split(tmp_path, prompt_ctx):
    data.make_sample(tmp_path, 12, 0)
    test = list(data.load(LoadContext(root=tmp_path, split="test")))
    assert len(test) == 12
    assert test[0].target["answer"] == "annual crop"
    assert data.prompt(test[0], prompt_ctx()).reasoning == "The tile shows vegetation."


def test_tiles_without_gold_are_asked_the_same(tmp_path, prompt_ctx):
    data.make_sample(tmp_path, 1, 0)
    (tile,) = data.load(LoadContext(root=tmp_path, split="test"))
    target = data.blank({})
    assert target["vocabulary"] == tile.target["vocabulary"]
    asked = [data.prompt(s, prompt_ctx()).question for s in (tile, replace(tile, target=target))]
    assert asked[0] == asked[1]


def test_a_folder_without_classes_is_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="AnnualCrop"):
        data.load(LoadContext(root=tmp_path, split="train"))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("river", 1.0), ("sea lake", 0.5), ("forest", 0.0), ("river or sea lake", 0.0), ("", 0.0)],
)
def test_the_group_earns_half(answer, expected, reward_ctx):
    completion = f"<think> Wet. </think><answer> {answer} </answer>"
    assert scoring.group(completion, reward_ctx(target=TARGET)) == expected


def test_group_accuracy_counts_near_misses(prediction):
    said = [f"<answer> {word} </answer>" for word in ("river", "sea lake", "forest", "sea")]
    assert scoring.groups([prediction(text, target=TARGET) for text in said]) == {
        "group_accuracy": 0.5
    }


def test_the_profile_is_for_one_family():
    assert geovlm_eurosat.geovlm_model_profile("glm4v").box_frame == "norm1000"
    assert geovlm_eurosat.geovlm_model_profile("qwen2_5_vl") is None
