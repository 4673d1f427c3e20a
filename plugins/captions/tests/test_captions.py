from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import geovlm_captions
import pytest
from geovlm_captions import CaptionOptions, CaptionTaskOptions, data, sample, sentences, tasks

from geovlm import answers, raster
from geovlm.api import LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm.plugins import builtin, metrics
from geovlm.rewards import paper, robust
from geovlm.score.protocols import catalogue
from geovlm.score.protocols.contract import Record

SETS = ("rsicd", "ucm", "sydney", "nwpu", "rsitmd")


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
    splits = ("train", "test") if name == "rsitmd" else ("train", "val", "test")
    for split in splits:
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
    assert len(ids) == 3 * len(splits)
    assert len(read(name, tmp_path, limit=2)[0]) == 2


def test_generated_captions_count_what_is_there():
    item = sample.scenes.Item(kind="ship", box=(0, 0, 9, 9), colour="red")
    scene = sample.scenes.Scene(
        size_px=(64, 64), covers=(("water", (0, 0, 64, 64)),), items=(item, item), seed=1
    )
    assert sample.captions(scene)[0] == "there are two ships on water"


def write(root: Path, sentences: list[str], *, split: str = "train") -> None:
    (root / "images").mkdir()
    (root / "images" / "1.tif").write_bytes(b"")
    said = [{"raw": text, "tokens": text.split()} for text in sentences]
    rows = [
        {"filename": "1.tif", "sentences": said, "split": split},
        {"filename": "../1.tif", "sentences": said, "split": split},
    ]
    (root / "dataset.json").write_text(json.dumps({"images": rows}), encoding="utf-8")


def test_degenerate_captions_are_dropped_from_training_and_counted(tmp_path):
    write(tmp_path, [".", "a field", "a green  field ."])
    samples, skipped = read("ucm", tmp_path)
    assert [each.target["captions"] for each in samples] == [["a green field."]]
    assert skipped == {"caption of fewer than 3 words": 4, "image missing": 1}


def test_all_references_count_in_the_test_split_as_they_lie(tmp_path, prompt_ctx):
    write(tmp_path, [" .", "a field", "a green  field ."], split="test")
    (found,), skipped = read("ucm", tmp_path, "test")
    assert found.target["captions"] == [" .", "a field", "a green  field ."]
    assert skipped == {"image missing": 1}
    assert tasks.prompt(found, prompt_ctx()).answer == "a green field."


@pytest.mark.parametrize(("split", "said"), [("train", ["."]), ("test", [" ", ""])])
def test_an_image_without_a_caption_is_left_out(tmp_path, split, said):
    write(tmp_path, said, split=split)
    samples, skipped = read("sydney", tmp_path, split)
    assert samples == []
    assert skipped["no usable caption"] == 1


def test_the_answer_is_the_longest_reference_if_none_is_usable():
    assert sentences.best([" .", "a field .", "x"]) == "a field."


def nwpu(root: Path, classes: Any) -> None:
    (root / "NWPU_images" / "airport").mkdir(parents=True)
    (root / "NWPU_images" / "airport" / "airport_001.jpg").write_bytes(b"")
    (root / "dataset_nwpu.json").write_text(json.dumps(classes), encoding="utf-8")


FIVE = {"raw": "One plane .", "raw_1": "A plane .", "raw_2": "Planes .", "raw_3": " .", "raw_4": ""}


def test_nwpu_captions_are_listed_by_class(tmp_path):
    row = {"filename": "airport_001.jpg", "split": "test", **FIVE}
    nwpu(tmp_path, {"airport": [row, {**row, "split": "val"}, {**row, "filename": "a.jpg"}]})
    (found,), skipped = read("nwpu", tmp_path, "test")
    assert found.id == "airport/airport_001.jpg"
    assert found.images == (tmp_path / "NWPU_images" / "airport" / "airport_001.jpg",)
    assert found.target["captions"] == ["One plane .", "A plane .", "Planes .", " .", ""]
    assert skipped == {"image missing": 1}


def test_nwpu_images_may_lie_without_folders_of_classes(tmp_path):
    nwpu(tmp_path, {"beach": [{"filename": "beach_001.jpg", "split": "test", **FIVE}]})
    (tmp_path / "NWPU_images" / "beach_001.jpg").write_bytes(b"")
    (found,), _ = read("nwpu", tmp_path, "test")
    assert found.images == (tmp_path / "NWPU_images" / "beach_001.jpg",)


@pytest.mark.parametrize("broken", [[], {}, {"images": "airport"}])
def test_a_file_without_classes_is_not_nwpu_captions(tmp_path, broken):
    nwpu(tmp_path, broken)
    with pytest.raises(DataError, match=r"dataset_nwpu\.json is not the file of NWPU-Captions"):
        read("nwpu", tmp_path)


@pytest.mark.parametrize("row", [None, "airport_001.jpg", {"filename": 7, "split": "train"}])
def test_a_faulty_record_of_nwpu_costs_one_image(tmp_path, row):
    nwpu(tmp_path, {"airport": [row, {"filename": "airport_001.jpg", "split": "train", **FIVE}]})
    samples, skipped = read("nwpu", tmp_path)
    assert samples == []  # its sentences have fewer than three words
    assert skipped["image without a name or a split"] == 1
    assert skipped["no usable caption"] == 1


def test_rsitmd_has_no_split_val_and_keeps_case_and_glued_stops(tmp_path):
    sample.make_rsitmd(tmp_path, 2, 7)
    (spec,) = [s for s in geovlm_captions.geovlm_datasets() if s.name == "captions/rsitmd"]
    assert spec.splits == ("train", "test")
    caption = read("rsitmd", tmp_path, "test")[0][0].target["captions"][0]
    assert (caption[0], caption[-1], caption[-2]) == ("T", ".", caption[-2].strip())


EARTHDIAL = (
    " [caption] [hr_rgb_0.5] <image> \\n Could you please provide the caption for the input image?"
)


def test_the_question_is_the_published_one_without_its_image_token(prompt_ctx):
    target = {"captions": ["a green field"]}
    each = Sample(id="1", images=(Path("1.tif"),), target=target)
    assert tasks.PUBLISHED == EARTHDIAL
    asked = tasks.prompt(each, prompt_ctx()).question
    assert asked == EARTHDIAL.replace("<image>", "")
    plain = prompt_ctx(options=CaptionTaskOptions(wording="plain"))
    assert tasks.prompt(each, plain).question == "Describe the image in one sentence."


@pytest.mark.parametrize("file", ["RSITMD_Captions", "UCM_captions"])
def test_earthdial_asks_this_question_in_every_row(realdata, file):
    path = realdata / "EarthDial_eval_results" / "rs_image_caption" / f"{file}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert {row["question"] for row in rows} == {tasks.PUBLISHED}


@pytest.fixture
def real_rsitmd(realdata, tmp_path):
    """The captions as they lie, beside files that stand for the images: none of those is public."""
    own = tmp_path / "RSITMD"
    (own / "images").mkdir(parents=True)
    shutil.copy(realdata / "RSITMD" / "dataset_RSITMD.json", own)
    rows = json.loads((own / "dataset_RSITMD.json").read_text(encoding="utf-8"))["images"]
    for row in rows:
        (own / "images" / row["filename"]).write_bytes(b"")
    return own


def test_real_rsitmd_captions_are_read(real_rsitmd):
    train, skipped = read("rsitmd", real_rsitmd)
    test, left_out = read("rsitmd", real_rsitmd, "test")
    assert (len(train), skipped) == (400, {})
    assert (len(test), left_out) == (226, {})
    assert {len(each.target["captions"]) for each in test} == {5}


def test_real_rsitmd_captions_are_those_of_earthdial(realdata, real_rsitmd):
    path = realdata / "EarthDial_eval_results" / "rs_image_caption" / "RSITMD_Captions.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    expected = [tuple(row[f"caption{i}"] for i in range(5)) for row in rows]
    test, _ = read("rsitmd", real_rsitmd, "test")
    found = {tuple(each.target["captions"]) for each in test}
    assert len(set(expected)) == 452
    assert len(found) == len(test)
    assert found <= set(expected)


def test_the_answer_is_right_by_the_strict_score_and_not_by_the_mean(real_rsitmd, prompt_ctx):
    test, _ = read("rsitmd", real_rsitmd, "test")
    protocol = catalogue.find("earthdial/caption")
    cases = []
    for each in test:
        completion = answers.frame(tasks.prompt(each, prompt_ctx()))
        fields = {"task": "captions/rsitmd", "completion": completion, "target": each.target}
        record = Record(fields=fields, own=True)
        cases.append(protocol.read(record, protocol.answer(record)))
    counts = list(protocol.tally(cases))
    total = {key: sum(each[key] for each in counts) for key in counts[0]}
    assert protocol.strict(total)["rouge1_f_best_ref"] == pytest.approx(1.0)
    # five people write five sentences: nobody agrees with all of them
    assert 0.5 < protocol.published(total)["rouge1_f_mean_over_refs"] < 0.7


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
    assert samples[0].target["captions"][0] == "the airport is very large ."
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
