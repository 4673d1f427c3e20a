from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import geovlm_captions
import pytest
from geovlm_captions import CaptionOptions, data, sample, tasks

from geovlm import answers, raster
from geovlm.api import LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm.plugins import builtin, metrics
from geovlm.rewards import paper, robust

SETS = ("rsicd", "ucm", "sydney")


def read(
    name: str, root: Path, split: Any = "train", *, limit: int | None = None, file: str = ""
) -> tuple[list[Sample], Counter[str]]:
    skipped: Counter[str] = Counter()
    ctx = LoadContext(
        root=root,
        split=split,
        limit=limit,
        options=CaptionOptions(file=file),
        skip=lambda reason, item: skipped.update([reason]),
    )
    return list(getattr(data, f"load_{name}")(ctx)), skipped


@pytest.mark.parametrize("name", SETS)
def test_generated_data_are_read_and_gold_earns_the_most(name, tmp_path, prompt_ctx, reward_ctx):
    getattr(sample, f"make_{name}")(tmp_path, 3, 7)
    ids = set()
    for split in ("train", "val", "test"):
        samples, skipped = read(name, tmp_path, split)
        assert (len(samples), skipped) == (3, {})
        for each in samples:
            ids.add(each.id)
            assert len(each.target["captions"]) == 5
            assert min(raster.image_size(each.images[0])) >= 224
            turn = tasks.prompt(each, prompt_ctx())
            said = answers.frame(turn)
            assert answers.has_think(said)
            assert len(turn.reasoning.split()) <= 25
            ctx = reward_ctx(target=each.target, answer=turn.answer)
            assert paper.levenshtein(said, ctx) == 1.0
            assert robust.caption_f1(said, ctx) == 1.0
    assert len(ids) == 9
    assert len(read(name, tmp_path, limit=2)[0]) == 2


def test_generated_captions_count_what_is_there():
    item = sample.scenes.Item(kind="ship", box=(0, 0, 9, 9), colour="red")
    scene = sample.scenes.Scene(
        size_px=(64, 64), covers=(("water", (0, 0, 64, 64)),), items=(item, item), seed=1
    )
    assert sample.captions(scene)[0] == "there are two ships on water"


def write(root: Path, sentences: list[str]) -> None:
    (root / "images").mkdir()
    (root / "images" / "1.tif").write_bytes(b"")
    said = [{"raw": text, "tokens": text.split()} for text in sentences]
    rows = [
        {"filename": "1.tif", "sentences": said, "split": "test"},
        {"filename": "../1.tif", "sentences": said, "split": "test"},
    ]
    (root / "dataset.json").write_text(json.dumps({"images": rows}), encoding="utf-8")


def test_degenerate_captions_are_dropped_and_counted(tmp_path):
    write(tmp_path, [".", "a field", "a green  field ."])
    samples, skipped = read("ucm", tmp_path, "test")
    assert [each.target["captions"] for each in samples] == [["a green field."]]
    assert skipped == {"caption of fewer than 3 words": 4, "image missing": 1}


def test_an_image_without_a_good_caption_is_left_out(tmp_path):
    write(tmp_path, ["."])
    samples, skipped = read("sydney", tmp_path, "test")
    assert samples == []
    assert skipped["no usable caption"] == 1


def test_reasoning_names_the_words_of_most_captions():
    said = ["the airport is large", "a large airport", "an airport near trees"]
    assert tasks.shared_words(said) == ["airport", "large"]
    assert tasks.shared_words(["red roofs", "blue sea"]) == ["red", "roofs", "blue", "sea"]


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"dataset_rsicd\.json.*options\.file=NAME"):
        read("rsicd", tmp_path)
    (tmp_path / "dataset_rsicd.json").write_text("[]")
    with pytest.raises(DatasetNotFoundError, match="RSICD_images"):
        read("rsicd", tmp_path)
    (tmp_path / "RSICD_images").mkdir()
    with pytest.raises(DataError, match=r"dataset_rsicd\.json"):
        read("rsicd", tmp_path)


def test_real_images_are_read(realdata, prompt_ctx, prediction):
    file = "dataset_rsicd.RECONSTRUCTED.json"
    samples, skipped = read("rsicd", realdata / "RSICD", "test", file=file)
    assert (len(samples), skipped) == (49, {})
    assert raster.image_size(samples[0].images[0]) == (224, 224)
    assert samples[0].target["captions"][0] == "the airport is very large."
    turns = [tasks.prompt(each, prompt_ctx()) for each in samples]
    predictions = [
        prediction(answers.frame(turn), target=each.target, answer=turn.answer)
        for turn, each in zip(turns, samples, strict=True)
    ]
    (spec,) = [each for each in builtin.METRICS if each.name == "caption"]
    assert metrics.function(spec)(predictions)["rougeL"] == pytest.approx(1.0)


def test_importing_the_plugin_imports_nothing_heavy():
    code = "import sys, geovlm_captions; print(sorted({'numpy', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_declared_rewards_and_metrics_exist():
    known = {each.name for each in builtin.REWARDS}
    measured = {each.name for each in builtin.METRICS}
    for spec in geovlm_captions.geovlm_tasks():
        assert {name for group in spec.rewards.values() for name in group} <= known
        assert set(spec.metrics) <= measured


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (None, "image without a name or a split"),
        ({"filename": None, "split": "train", "sentences": []}, "image without a name or a split"),
        ({"filename": "1.tif", "sentences": []}, "image without a name or a split"),
        ({"filename": "1.tif", "split": "train", "sentences": None}, "no usable caption"),
    ],
)
def test_a_faulty_image_costs_one_image(tmp_path, row, reason):
    write(tmp_path, [])
    good = {"filename": "1.tif", "split": "train", "sentences": [{"raw": "a green field"}]}
    (tmp_path / "dataset.json").write_text(json.dumps({"images": [row, good]}))
    samples, skipped = read("ucm", tmp_path)
    assert [each.target["captions"] for each in samples] == [["a green field"]]
    assert skipped == {reason: 1}


@pytest.mark.parametrize("said", [None, {"raw": None}, {"tokens": ["a"]}, "a green field"])
def test_a_faulty_caption_costs_one_caption(tmp_path, said):
    write(tmp_path, [])
    row = {"filename": "1.tif", "split": "train", "sentences": [said, {"raw": "a green field"}]}
    (tmp_path / "dataset.json").write_text(json.dumps({"images": [row]}))
    samples, skipped = read("ucm", tmp_path)
    assert [each.target["captions"] for each in samples] == [["a green field"]]
    assert skipped == {"caption without a text": 1}


@pytest.mark.parametrize("name", ["images/1.tif", "images\\1.tif", "1.png"])
def test_a_name_may_hold_the_folder_or_another_suffix(tmp_path, name):
    write(tmp_path, [])
    row = {"filename": name, "split": "train", "sentences": [{"raw": "a green field"}]}
    (tmp_path / "dataset.json").write_text(json.dumps({"images": [row]}))
    (found,), _ = read("ucm", tmp_path)
    assert found.images == (tmp_path / "images" / "1.tif",)
