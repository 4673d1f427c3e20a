from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import geovlm_change
import pytest
from geovlm_change import ChangeTaskOptions, data, muds, references, sample, tasks

from geovlm import answers, raster
from geovlm.api import LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm.rewards import robust

LOADERS = {
    "levir": data.load_levir,
    "dubai": data.load_dubai,
    "sysu": data.load_sysu,
    "muds": muds.load,
}
SPLITS = {
    "levir": ("train", "val", "test"),
    "dubai": ("train", "val", "test"),
    "sysu": ("test",),
    "muds": ("train", "test"),
}
UNCHANGED = [
    " there is no difference .",
    " the two scenes seem identical .",
    " the scene is the same as before .",
    " no change has occurred .",
    " almost nothing has changed .",
]


def read(name: str, root: Path, split: Any = "test") -> tuple[list[Sample], Counter[str]]:
    skipped: Counter[str] = Counter()
    ctx = LoadContext(root=root, split=split, skip=lambda reason, item: skipped.update([reason]))
    return list(LOADERS[name](ctx)), skipped


@pytest.mark.parametrize("name", LOADERS)
def test_generated_data_are_read_and_the_answer_is_a_reference(
    name, tmp_path, monkeypatch, prompt_ctx, reward_ctx
):
    monkeypatch.setenv("GEOVLM_CACHE", str(tmp_path / "cache"))
    getattr(sample, f"make_{name}")(tmp_path / "data", 3, 7)
    for split in SPLITS[name]:
        samples, skipped = read(name, tmp_path / "data", split)
        assert (len(samples), skipped) == (3, {})
        for each in samples:
            assert len(each.images) == (4 if name == "muds" else 2)
            assert raster.image_size(each.images[-1]) == (
                (50, 50) if name == "dubai" else (256,) * 2
            )
            turn = getattr(tasks, f"{name}_prompt")(each, prompt_ctx())
            assert turn.answer in map(references.tidy, each.target["captions"])
            ctx = reward_ctx(target=each.target, answer=turn.answer)
            earned = robust.change_f1(answers.frame(turn), ctx)
            assert earned == (1.0 if each.target["changed"] else 0.5)


def test_every_third_generated_pair_is_unchanged(tmp_path):
    sample.make_levir(tmp_path, 3, 7)
    samples, _ = read("levir", tmp_path)
    assert [each.target["changed"] for each in samples] == [True, True, False]
    assert samples[-1].target["captions"] == UNCHANGED


def levir(root: Path, said: list[Any], *, split: str = "test", **more: Any) -> None:
    for side in "AB":
        (root / "images" / "test" / side).mkdir(parents=True, exist_ok=True)
        (root / "images" / "test" / side / "test_000001.png").write_bytes(b"")
    sentences = [{"raw": text} for text in said]
    row: dict[str, Any] = {"filepath": "test", "filename": "test_000001.png", "split": split}
    row["sentences"] = sentences
    rows = {"images": [{**row, **more}]}
    (root / "LevirCCcaptions.json").write_text(json.dumps(rows), encoding="utf-8")


def test_all_references_count_in_the_test_split_as_they_lie(tmp_path, prompt_ctx):
    said = [" .", " a road  is built .", ""]
    levir(tmp_path, said)
    (found,), skipped = read("levir", tmp_path)
    assert found.target == {"captions": said, "changed": True}
    assert skipped == {}
    assert tasks.levir_prompt(found, prompt_ctx()).answer == "a road is built."


def test_training_drops_short_sentences_and_counts_them(tmp_path):
    levir(tmp_path, [" .", " a road  is built ."], split="train")
    (found,), skipped = read("levir", tmp_path, "train")
    assert found.target == {"captions": ["a road is built."], "changed": True}
    assert skipped == {"caption of fewer than 3 words": 1}


def test_a_pair_is_unchanged_if_all_sentences_say_so(tmp_path):
    levir(tmp_path, UNCHANGED)
    assert read("levir", tmp_path)[0][0].target["changed"] is False
    levir(tmp_path, [*UNCHANGED[:4], " a road is built ."])
    assert read("levir", tmp_path)[0][0].target["changed"] is True


def test_the_answer_about_a_change_states_one_where_annotators_disagree():
    said = ["No change was made.", "A road", "A road was built ."]
    assert references.best(said, changed=True) == "A road was built."
    assert references.best(["a  b"], changed=True) == "a b"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"filename": None}, "pair without a name or a split"),
        ({"split": 7}, "pair without a name or a split"),
        ({"filename": "test_000009.png", "split": "train"}, "image missing"),
        ({"split": "train", "sentences": 7}, "no usable caption"),
        ({"split": "train", "sentences": [{"raw": "a"}]}, "no usable caption"),
    ],
)
def test_a_faulty_pair_costs_one_pair(tmp_path, more, reason):
    levir(tmp_path, UNCHANGED, **more)
    samples, skipped = read("levir", tmp_path, "train")
    assert samples == []
    assert skipped[reason] == 1


def test_the_older_image_comes_first(tmp_path):
    levir(tmp_path, UNCHANGED)
    (found,), _ = read("levir", tmp_path)
    assert [path.parent.name for path in found.images] == ["A", "B"]
    sample.make_dubai(tmp_path / "dubai", 1, 7)
    (pair,), _ = read("dubai", tmp_path / "dubai")
    assert [path.parent.name for path in pair.images] == ["500_2000", "500_2010"]


def test_masks_of_levir_mci_do_no_harm(tmp_path):
    levir(tmp_path, UNCHANGED)
    (tmp_path / "images" / "test" / "label").mkdir()
    (tmp_path / "images" / "test" / "label" / "test_000001.png").write_bytes(b"")
    assert len(read("levir", tmp_path)[0]) == 1


@pytest.mark.parametrize("folder", ["RGB", "imgs_tiles/RGB"])
def test_dubai_tiles_may_lie_in_either_folder(tmp_path, folder):
    sample.make_dubai(tmp_path, 2, 7)
    (tmp_path / folder).parent.mkdir(exist_ok=True)
    (tmp_path / "RGB").rename(tmp_path / folder)
    samples, skipped = read("dubai", tmp_path)
    assert (len(samples), skipped) == (2, {})


def test_regions_of_sysu_are_in_the_reasoning(tmp_path, prompt_ctx):
    sample.make_sysu(tmp_path, 1, 7)
    (found,), _ = read("sysu", tmp_path)
    two = dict(found.target) | {"regions": [[0, 0, 60, 60], [100, 100, 156, 156]]}
    each = Sample(id="1", images=found.images, target=two)
    turn = tasks.sysu_prompt(each, prompt_ctx(image_sizes=((256, 256),) * 2))
    assert turn.reasoning == "Two regions differ: upper left, centre."


@pytest.mark.parametrize("kept", [[], ["LevirCCcaptions.json"]])
def test_missing_files_of_levir_are_named(tmp_path, kept):
    for name in kept:
        (tmp_path / name).write_text("[]")
    with pytest.raises(DatasetNotFoundError, match="images" if kept else r"options\.file=NAME"):
        read("levir", tmp_path)


def test_missing_files_of_the_others_are_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"Test_Dubai_CC\.json"):
        read("dubai", tmp_path)
    with pytest.raises(DatasetNotFoundError, match=r"data_files/sysu_test_captions\.json of https"):
        read("sysu", tmp_path)
    with pytest.raises(DatasetNotFoundError, match="groundtruth4: EarthDial's Change_detection"):
        read("muds", tmp_path)
    sample.make_dubai(tmp_path, 1, 7)
    (tmp_path / "RGB" / "500_2010").rename(tmp_path / "RGB" / "2010")
    with pytest.raises(DatasetNotFoundError, match="RGB/500_2010"):
        read("dubai", tmp_path)


@pytest.mark.parametrize("broken", ["[]", '{"images": 3}'])
def test_a_file_without_pairs_is_refused(tmp_path, broken):
    levir(tmp_path, UNCHANGED)
    (tmp_path / "LevirCCcaptions.json").write_text(broken)
    with pytest.raises(DataError, match=r"LevirCCcaptions\.json holds no captions of pairs"):
        read("levir", tmp_path)


def test_muds_is_found_by_its_columns_among_other_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOVLM_CACHE", str(tmp_path / "cache"))
    sample.make_muds(tmp_path / "data" / "Change_detection" / "MUDS", 2, 7)
    sample.make_muds(tmp_path / "data" / "FMoW", 1, 7)
    (tmp_path / "data" / "FMoW" / "MUDS_ChangeDetection_test").rename(tmp_path / "data" / "other")
    (tmp_path / "data" / "FMoW" / "MUDS_ChangeDetection_train").rename(tmp_path / "data" / "more")
    samples, _ = read("muds", tmp_path / "data")
    assert [each.id for each in samples] == ["test/0", "test/1"]
    assert samples[0].images[0].is_relative_to(tmp_path / "cache")


def test_two_folders_of_muds_are_refused(tmp_path):
    sample.make_muds(tmp_path / "a", 1, 7)
    sample.make_muds(tmp_path / "b", 1, 7)
    with pytest.raises(DataError, match=r"2 folders that may be MUDS.*--data change/muds=DIR"):
        read("muds", tmp_path)


def test_a_row_of_muds_whose_image_is_no_file_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOVLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sample, "_jpeg", lambda picture: {"bytes": b"nothing", "path": None})
    sample.make_muds(tmp_path / "data", 1, 7)
    samples, skipped = read("muds", tmp_path / "data")
    assert samples == []
    assert skipped == {"image that is not the bytes of a JPEG, PNG or TIFF file": 1}


@pytest.mark.parametrize("turns", [None, "no JSON", "[3]", "7"])
def test_turns_of_muds_that_cannot_be_read_are_no_captions(turns):
    assert muds._answers(turns) == []


def test_turns_of_muds_may_lie_in_an_object():
    turn = {"from": "gpt", "value": "a road is built"}
    assert muds._answers(json.dumps({"conversations": [turn]})) == ["a road is built"]


EARTHDIAL = {
    "levir": " [changedet] [hr_rgb_temp_0.5] <image> <image> \\n are there any semantic change "
    "detected in the provided images?",
    "dubai": " [changedet] [hr_rgb_temp_0.5] <image> <image> \\n are there any semantic change "
    "detected in the provided images?",
    "sysu": "[changedet] [hr_rgb_temp_0.5] <image>  <image> \\n are there any semantic change "
    "detected in the provided images?",
    "muds": "[changedet] [hr_rgb_temp_0.5] <image> <image> <image> <image> \\n are there any "
    "semantic change detected in the provided images?",
}
"""Copied from hiyamdebary/EarthDial, src/earthdial/eval/rs_change_detection/results, 92c1260."""


@pytest.mark.parametrize("name", EARTHDIAL)
def test_the_question_is_the_published_one_without_its_image_tokens(name, prompt_ctx):
    assert tasks.PUBLISHED[name] == EARTHDIAL[name]
    target = {"captions": ["a road is built"], "changed": True}
    each = Sample(id="1", images=(Path("1.png"),) * 2, target=target)
    prompt = getattr(tasks, f"{name}_prompt")
    assert prompt(each, prompt_ctx()).question == EARTHDIAL[name].replace("<image>", "")
    plain = prompt(each, prompt_ctx(options=ChangeTaskOptions(wording="plain"))).question
    number = "four" if name == "muds" else "two"
    assert plain.startswith(f"Describe in one sentence what changed between the {number} images")


def test_importing_the_plugin_imports_nothing_heavy():
    code = "import sys, geovlm_change; print(sorted({'numpy', 'PIL', 'pyarrow'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sysu_is_for_testing_alone():
    splits = {spec.name: spec.splits for spec in geovlm_change.geovlm_datasets()}
    assert splits["change/sysu"] == ("test",)
    assert splits["change/muds"] == ("train", "test")
