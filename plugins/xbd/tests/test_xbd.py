from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from geovlm_xbd import COUNTS, XbdOptions, data, geovlm_tasks, sample, tasks

from geovlm import answers
from geovlm.api import LoadContext, PromptContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm.plugins import builtin
from geovlm.plugins.profiles import QWEN2_5_VL
from geovlm.plugins.references import resolve
from geovlm.rewards import scoring

SQUARE = "POLYGON ((10 20, 30 20, 30 50, 10 50, 10 20))"


def read(
    root: Path, split: Any = "train", *, limit: int | None = None, **own: Any
) -> tuple[list[Sample], Counter[str]]:
    skipped: Counter[str] = Counter()
    ctx = LoadContext(
        root=root,
        split=split,
        limit=limit,
        options=XbdOptions(**own),
        skip=lambda reason, item: skipped.update([reason]),
    )
    return list(data.load(ctx)), skipped


def write(root: Path, polygons: list[dict[str, Any]], *, kind: str = "flooding") -> Path:
    """Write one pair of the training split with empty images; returns the newer label file."""
    images, labels = root / "train" / "images", root / "train" / "labels"
    images.mkdir(parents=True)
    labels.mkdir()
    for when in ("pre", "post"):
        (images / f"midwest-flooding_00000001_{when}_disaster.png").write_bytes(b"")
    metadata = {"width": 100, "height": 100, "disaster_type": kind, "disaster": "midwest-flooding"}
    path = labels / "midwest-flooding_00000001_post_disaster.json"
    path.write_text(json.dumps({"features": {"xy": polygons}, "metadata": metadata}))
    return path


def building(wkt: str, level: str | None = "destroyed") -> dict[str, Any]:
    properties = {"feature_type": "building", "uid": "a"}
    return {"properties": properties | ({"subtype": level} if level else {}), "wkt": wkt}


def test_a_pair_without_buildings_is_kept(tmp_path):
    write(tmp_path, [])
    samples, skipped = read(tmp_path)
    assert [each.target["boxes"] for each in samples] == [[]]
    assert samples[0].target["disaster_type"] == "flood"
    assert skipped == {}


def test_holes_parts_and_edges_give_one_box_inside_the_image(tmp_path):
    hole = "POLYGON ((0 0, 40 0, 40 40, 0 40, 0 0), (10 10, 20 10, 20 20, 10 20, 10 10))"
    parts = "MULTIPOLYGON (((0 0, 5 0, 5 5, 0 0)), ((50 50, 60 50, 60 70, 50 50)))"
    outside = "POLYGON ((-10 90, 20 90, 20 130, -10 130, -10 90))"
    write(tmp_path, [building(hole), building(parts), building(outside)])
    samples, skipped = read(tmp_path)
    assert samples[0].target["boxes"] == [[0, 0, 40, 40], [0, 0, 60, 70], [0, 90, 20, 100]]
    assert skipped == {}


def test_an_empty_or_broken_polygon_is_no_box(tmp_path):
    write(tmp_path, [building("POLYGON EMPTY"), building("POLYGON ((1 2"), building(SQUARE)])
    samples, skipped = read(tmp_path)
    assert samples[0].target["boxes"] == [[10, 20, 30, 50]]
    assert skipped == {"polygon empty": 1, "polygon unreadable": 1}


def test_buildings_without_a_level_are_counted(tmp_path):
    write(tmp_path, [building(SQUARE, None), building(SQUARE, "un-classified")])
    samples, skipped = read(tmp_path)
    assert samples[0].target["boxes"] == []
    assert skipped == {"building without damage level": 1, "building un-classified": 1}
    assert read(tmp_path, unclassified="no-damage")[0][0].target["damage"] == ["no-damage"]


def test_a_small_building_is_left_out(tmp_path):
    write(tmp_path, [building(SQUARE)])
    assert read(tmp_path, min_area_px=600)[0][0].target["boxes"] == [[10, 20, 30, 50]]
    assert read(tmp_path, min_area_px=601)[1] == {"building too small or outside": 1}


def test_a_missing_image_or_label_is_counted(tmp_path):
    path = write(tmp_path, [])
    (tmp_path / "train/images/midwest-flooding_00000002_post_disaster.png").write_bytes(b"")
    (tmp_path / "train/images/midwest-flooding_00000001_pre_disaster.png").unlink()
    assert path.is_file()
    assert read(tmp_path) == ([], {"image missing": 1, "label missing": 1})


@pytest.mark.parametrize("text", ["{", "[]", '{"metadata": {}, "features": {"xy": 3}}'])
def test_a_set_without_a_readable_label_is_refused(tmp_path, text):
    write(tmp_path, []).write_text(text)
    with pytest.raises(DataError, match="none of the 1 label files"):
        read(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="labels"):
        read(tmp_path)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("xbd")
    sample.make_sample(root, 24, 7)
    return root


def test_generated_pairs_are_read_with_unique_ids(generated):
    found = [each for split in ("train", "val", "test") for each in read(generated, split)[0]]
    assert len({each.id for each in found}) == len(found) == 72
    assert {len(each.images) for each in found} == {2}
    assert len(read(generated, limit=5)[0]) == 5
    assert {each.target["answer"] for pair in found for each in tasks.count_samples(pair)} == set(
        COUNTS
    )


@pytest.mark.parametrize("spec", list(geovlm_tasks()), ids=lambda spec: spec.name)
def test_gold_earns_the_most_on_both_sets(spec, generated, prompt_ctx, reward_ctx):
    size = {"image_sizes": ((256, 256),) * 2, "input_sizes": ((252, 252),) * 2}
    known = {each.name: each for each in builtin.REWARDS}
    expand, ask = resolve(spec.samples), resolve(spec.prompt)
    derived = [each for pair in read(generated)[0] for each in expand(pair)]
    assert derived
    for each in derived:
        turn = ask(each, prompt_ctx(**size))
        assert len(turn.question.split()) <= 40
        assert turn.reasoning
        ctx = reward_ctx(target=each.target, task=spec.name, answer=turn.answer, **size)
        for reward in ("recall", "detection", "levenshtein", "exact", "matched_iou", "caption_f1"):
            if reward in {**spec.rewards["paper"], **spec.rewards["robust"]}:
                (score,) = scoring.score(known[reward], [answers.frame(turn)], [ctx])
                assert score == pytest.approx(1.0, abs=0.12 if spec.tags >= {"detection"} else 1e-9)


@pytest.mark.parametrize(
    ("pair", "damage"),
    [
        ("hurricane-florence_00000018", {"major-damage": 42, "destroyed": 5}),
        ("guatemala-volcano_00000000", {"no-damage": 10}),
    ],
)
def test_a_real_pair_holds_its_buildings(realdata, pair, damage):
    samples, _ = read(realdata / "xBD", labels="labels_RECONSTRUCTED")
    (found,) = [each for each in samples if each.id == pair]
    assert Counter(found.target["damage"]) == damage


def test_the_official_joplin_labels_hold_15_buildings(realdata, tmp_path):
    write(tmp_path, [])
    images = tmp_path / "tier3" / "images"
    images.mkdir(parents=True)
    shutil.copytree(realdata / "xBD/tier3/labels", tmp_path / "tier3" / "labels")
    for when in ("pre", "post"):
        (images / f"joplin-tornado_00000050_{when}_disaster.png").write_bytes(b"")
    samples, skipped = read(tmp_path, tier3=True)
    joplin = samples[1]
    assert joplin.id == "tier3/joplin-tornado_00000050"
    assert joplin.target["disaster_type"] == "wind"
    assert Counter(joplin.target["damage"]) == {"destroyed": 11, "major-damage": 3}
    assert skipped == {"building un-classified": 1}


def undamaged(number: int) -> Sample:
    return Sample(id=f"train/{number}", images=(), target={"boxes": [], "damage": []})


def test_detection_takes_few_of_the_pairs_without_damage():
    kept = [each for number in range(800) for each in tasks.detect_samples(undamaged(number))]
    assert 70 <= len(kept) <= 130  # 100 expected, standard deviation 9.4


def test_detection_takes_every_pair_with_damage():
    target: Any = {"boxes": [[1, 2, 3, 4]], "damage": ["destroyed"]}
    pairs = [Sample(id=str(number), images=(), target=target) for number in range(20)]
    kept = [each for pair in pairs for each in tasks.detect_samples(pair)]
    assert [each.target["boxes"] for each in kept] == [[[1, 2, 3, 4]]] * 20


def names(pair: Sample) -> set[str]:
    """The answers that a pair gives to the questions about all its buildings."""
    made = {"affected": tasks.affected_samples, "count": tasks.count_samples}
    made["caption"] = tasks.caption_samples
    return {
        f"{name} {each.target.get('answer', '')}".strip()
        for name, samples in made.items()
        for each in samples(pair)
    }


def test_what_an_unclassified_building_could_change_is_not_asked(tmp_path):
    unknown = building(SQUARE, "un-classified")
    write(tmp_path / "a", [unknown, building(SQUARE, "no-damage")])
    assert names(read(tmp_path / "a")[0][0]) == set()
    assert names(read(tmp_path / "a", unclassified="no-damage")[0][0]) == {
        *("affected no", "count none", "caption")
    }
    write(tmp_path / "b", [unknown, building(SQUARE)])
    assert names(read(tmp_path / "b")[0][0]) == {"affected yes"}
    write(tmp_path / "c", [unknown, *[building(SQUARE)] * 3])
    assert names(read(tmp_path / "c")[0][0]) == {"affected yes", "count many", "caption"}


def test_a_damaged_building_that_is_too_small_is_no_undamaged_one(tmp_path):
    write(tmp_path / "hit", [building(SQUARE)])
    (pair,) = read(tmp_path / "hit", min_area_px=601)[0]
    assert names(pair) == set()
    assert list(tasks.detect_samples(pair)) == []
    write(tmp_path / "sound", [building(SQUARE, "no-damage")])
    (pair,) = read(tmp_path / "sound", min_area_px=601)[0]
    assert names(pair) == {"affected no", "count none", "caption"}


def test_a_pair_with_buildings_nobody_could_judge_is_not_called_empty(tmp_path):
    write(tmp_path, [building(SQUARE, "un-classified")])
    (derived,) = tasks.disaster_samples(read(tmp_path)[0][0])
    ctx: Any = PromptContext(profile=QWEN2_5_VL, image_sizes=((100, 100),) * 2, input_sizes=())
    said = tasks.disaster_prompt(derived, ctx).reasoning
    assert said == "No building is clear enough to be judged."


@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        (None, "building that is not a JSON object"),
        ({"properties": None, "wkt": SQUARE}, "building without damage level"),
        (
            {"properties": {"subtype": ["destroyed"]}, "wkt": SQUARE},
            "building without damage level",
        ),
        ({"properties": {"subtype": "destroyed"}, "wkt": None}, "polygon unreadable"),
        ({"properties": {"subtype": "destroyed"}, "wkt": "POLYGON ((0 0, "}, "polygon unreadable"),
        ({"properties": {"subtype": "destroyed"}}, "polygon unreadable"),
    ],
)
def test_a_faulty_building_costs_one_building(tmp_path, feature, reason):
    write(tmp_path, [feature, building(SQUARE)])
    (pair,), skipped = read(tmp_path)
    assert pair.target["boxes"] == [[10.0, 20.0, 30.0, 50.0]]
    assert (pair.target["left_out"], skipped) == (1, {reason: 1})


@pytest.mark.parametrize("metadata", [None, {"width": None}, {"gsd": float("nan"), "width": 0}])
def test_faulty_metadata_do_not_cost_the_pair(tmp_path, metadata):
    path = write(tmp_path, [])
    path.write_text(json.dumps({"features": {"xy": [building(SQUARE)]}, "metadata": metadata}))
    (pair,), skipped = read(tmp_path)
    assert pair.target["boxes"] == [[10.0, 20.0, 30.0, 50.0]]
    assert (pair.meta["gsd_m"], skipped) == (None, {"no disaster type (pair kept without it)": 1})


@pytest.mark.parametrize("where", ["tier1", "geotiffs/tier1", "geotiffs/train"])
def test_the_release_with_geotiffs_is_read(tmp_path, where):
    path = write(tmp_path, [building(SQUARE)])
    for image in (tmp_path / "train" / "images").iterdir():
        image.rename(image.with_suffix(".tif"))
    (tmp_path / where).parent.mkdir(exist_ok=True)
    (tmp_path / "train").rename(tmp_path / where)
    ((pair,), skipped), folder = read(tmp_path), tmp_path / where / "images"
    stem = path.stem.removesuffix("_post_disaster")
    assert pair.images == tuple(folder / f"{stem}_{when}_disaster.tif" for when in ("pre", "post"))
    assert skipped == {}


def test_tier3_of_the_release_with_geotiffs_is_added(tmp_path):
    write(tmp_path, [building(SQUARE)])
    (tmp_path / "train").rename(tmp_path / "tier1")
    shutil.copytree(tmp_path / "tier1", tmp_path / "tier3")
    found, _ = read(tmp_path, tier3=True)
    assert [each.id.partition("/")[0] for each in found] == ["midwest-flooding_00000001", "tier3"]


def test_an_unreadable_label_file_is_counted_with_its_reason(tmp_path):
    path = write(tmp_path, [])
    for name in ("pre", "post"):
        old = tmp_path / "train/images" / f"midwest-flooding_00000001_{name}_disaster.png"
        shutil.copy(old, old.with_name(old.name.replace("1_", "2_")))
    path.with_name(path.name.replace("1_", "2_")).write_text('{"features": \n}')
    items: list[str] = []
    ctx = LoadContext(root=tmp_path, split="train", skip=lambda reason, item: items.append(item))
    assert len(list(data.load(ctx))) == 1
    assert "midwest-flooding_00000002_post_disaster.json, line 2, column 1: not JSON" in items[0]
