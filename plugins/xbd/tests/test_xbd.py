from __future__ import annotations

import json
import shutil

import pytest
from geovlm_xbd import XbdOptions, tasks
from geovlm_xbd.sample import make_sample
from PIL import Image

from geovlm import answers, boxes, loading, registry
from geovlm.errors import DatasetNotFoundError

NAMES = ["detect", "refer", "assess", "disaster", "affected", "count", "caption"]
SIZES = {"image_sizes": ((256, 256),) * 2, "input_sizes": ((252, 252),) * 2}
SQUARE = "POLYGON ((10 10, 30 10, 30 30, 10 30, 10 10))"
PARTLY = "POLYGON ((-20 40, 30 40, 30 1100, -20 1100, -20 40))"


@pytest.fixture(scope="session")
def miniature(tmp_path_factory):
    root = tmp_path_factory.mktemp("xbd")
    make_sample(root, 12, 7)
    return root


def read(root, split="train", **options):
    spec = registry.load().dataset("xbd")
    return loading.load_records(spec, root=root, split=split, options=XbdOptions(**options))


def write_pair(root, features, *, name="palu-tsunami_00000001", kind="tsunami"):
    """A pair of blank 1024 px images and the label file after the disaster."""
    for folder in ("images", "labels"):
        (root / "train" / folder).mkdir(parents=True, exist_ok=True)
    for when in ("pre", "post"):
        stem = f"{name}_{when}_disaster"
        Image.new("RGB", (1024, 1024)).save(root / "train" / "images" / f"{stem}.png")
    label = {"features": {"lng_lat": [], "xy": features}}
    label["metadata"] = {"width": 1024, "height": 1024, "disaster_type": kind}
    path = root / "train" / "labels" / f"{name}_post_disaster.json"
    path.write_text(json.dumps(label))
    return path


def building(wkt, level):
    return {"properties": {"feature_type": "building", "subtype": level}, "wkt": wkt}


def golds(root, name, prompt_ctx):
    """(sample, turn) of one task over the generated training split."""
    spec = registry.load().task(f"xbd/{name}")
    prompt = registry.resolve(spec.prompt)
    samples = loading.task_samples(spec, read(root).records)
    return [(sample, prompt(sample, prompt_ctx(**SIZES))) for sample in samples]


def earned(reward, found, texts, reward_ctx):
    """Values of an unbatched reward for one completion per sample."""
    score = registry.resolve(registry.load().reward(reward).score)
    contexts = [
        reward_ctx(target=sample.target, answer=turn.answer, question=turn.question, **SIZES)
        for sample, turn in found
    ]
    return [score(text, ctx) for text, ctx in zip(texts, contexts, strict=True)]


def test_generated_pairs_load_without_a_skip_and_share_no_id(miniature):
    loaded = [read(miniature, split) for split in ("train", "val", "test")]
    ids = [sample.id for each in loaded for sample in each.records]
    assert [dict(each.skipped) for each in loaded] == [{}, {}, {}]
    assert len(set(ids)) == len(ids) == 36


def test_the_same_seed_writes_the_same_bytes(miniature, tmp_path):
    make_sample(tmp_path, 12, 7)
    files = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(files) == 3 * 12 * 4
    assert all((tmp_path / p).read_bytes() == (miniature / p).read_bytes() for p in files)


def test_generated_images_exist_and_hold_their_boxes(miniature):
    records = read(miniature).records
    held = [box for sample in records for box in sample.target["boxes"]]
    assert all(image.is_file() for sample in records for image in sample.images)
    assert held
    assert all(0 <= x0 < x1 <= 256 and 0 <= y0 < y1 <= 256 for x0, y0, x1, y1 in held)


def test_a_pair_without_buildings_is_kept(tmp_path):
    write_pair(tmp_path, [])
    loaded = read(tmp_path)
    assert loaded.records[0].target["boxes"] == []
    assert not loaded.skipped


def test_a_polygon_partly_outside_is_clipped(tmp_path):
    write_pair(tmp_path, [building(PARTLY, "destroyed")])
    assert read(tmp_path).records[0].target["boxes"] == [[0, 40, 30, 1024]]


def test_a_pair_without_its_image_is_counted(tmp_path):
    write_pair(tmp_path, [])
    (tmp_path / "train" / "images" / "palu-tsunami_00000001_pre_disaster.png").unlink()
    loaded = read(tmp_path)
    assert loaded.records == []
    assert loaded.skipped == {"image missing": 1}


def test_unclassified_buildings_are_skipped_or_taken_for_undamaged(tmp_path):
    write_pair(tmp_path, [building(SQUARE, "un-classified")])
    skipping, taking = read(tmp_path), read(tmp_path, unclassified="no-damage")
    assert skipping.records[0].target["boxes"] == []
    assert skipping.skipped == {"building un-classified": 1}
    assert taking.records[0].target["damage"] == ["no-damage"]
    assert not taking.skipped


def test_an_unreadable_label_file_is_counted(tmp_path):
    write_pair(tmp_path, []).write_text('{"features": ')
    loaded = read(tmp_path)
    assert loaded.records == []
    assert loaded.skipped == {"label file unreadable": 1}


def test_a_missing_label_folder_is_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="train/labels"):
        read(tmp_path)


def test_a_pair_of_unknown_type_serves_the_other_tasks(tmp_path):
    write_pair(tmp_path, [building(SQUARE, "destroyed")], kind="")
    record = read(tmp_path).records[0]
    assert record.target["disaster_type"] is None
    assert len(list(tasks.detect_samples(record))) == 1
    assert len(list(tasks.count_samples(record))) == 1
    assert len(list(tasks.affected_samples(record))) == 1
    assert len(list(tasks.assess_samples(record))) == 1
    assert list(tasks.disaster_samples(record)) == []
    assert list(tasks.caption_samples(record)) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_prompt_is_asked_answered_and_reasoned(miniature, prompt_ctx, name):
    found = golds(miniature, name, prompt_ctx)
    assert found
    assert all(turn.question and turn.answer and turn.reasoning for _, turn in found)


@pytest.mark.parametrize("name", ["detect", "refer"])
def test_answers_are_read_back_as_the_boxes(miniature, prompt_ctx, name):
    for sample, turn in golds(miniature, name, prompt_ctx):
        read_back = boxes.parse(turn.answer, prompt_ctx(**SIZES))
        truth = boxes.target_boxes(sample.target)
        assert len(read_back) == len(truth)
        pairs = zip(read_back, truth, strict=True)
        assert all(boxes.iou(a, b) > 0.9 for a, b in pairs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["paper", "robust"])
def test_the_gold_answer_earns_all_and_a_wrong_one_less(
    miniature, prompt_ctx, reward_ctx, name, kind
):
    (reward,) = registry.load().task(f"xbd/{name}").rewards[kind]
    found = golds(miniature, name, prompt_ctx)
    wrong = ["<think> a </think><answer> [1, 1, 3, 3] xyz </answer>"] * len(found)
    best = earned(reward, found, [answers.frame(turn) for _, turn in found], reward_ctx)
    # whole numbers cost a box at most a tenth of its IoU
    assert min(best) > (0.9 if name in ("detect", "refer") else 0.999)
    assert max(earned(reward, found, wrong, reward_ctx)) < 0.9


def test_a_real_pair_has_its_buildings(realdata):
    loaded = read(realdata / "xBD", labels="labels_RECONSTRUCTED")
    assert [len(sample.target["boxes"]) for sample in loaded.records] == [47]


def test_a_real_label_file_of_tier3_is_read(realdata, tmp_path):
    name = "joplin-tornado_00000050"
    write_pair(tmp_path, [], name=name)
    shutil.copytree(
        realdata / "xBD" / "tier3" / "labels", tmp_path / "train" / "labels", dirs_exist_ok=True
    )
    loaded = read(tmp_path)
    assert sorted(loaded.records[0].target["damage"]) == ["destroyed"] * 11 + ["major-damage"] * 3
    assert loaded.skipped["building un-classified"] == 1
