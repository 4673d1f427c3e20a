"""The eight questions in EarthDial's words."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from geovlm_xbd import EarthDialOptions, XbdOptions, data, earthdial, earthdial_prompts

from geovlm import answers
from geovlm.api import LoadContext, PromptContext, Sample
from geovlm.plugins import registry
from geovlm.plugins.profiles import QWEN2_5_VL
from geovlm.score.protocols import catalogue, records, scoring
from geovlm.score.protocols.contract import Record

SIZE = (1000, 1000)
ROWS = {
    "image_1": "[changedet] [hr_rgb_temp_0.5] <image> <image> \\n Analyze the images to identify "
    "the type of disaster that occurred. Options:  volcano, fire, earthquake, flood, tsunami, "
    "wind.",
    "image_2": " [hr_rgb_temp_0.5] <image>  <image> \\n Are there any buildings affected due to "
    'disaster? Please answer yes or no."Answer in single word.',
    "image_3": " [hr_rgb_temp_0.5] <image> <image> \\n How many building are affected? Please "
    'answer none, one, two or many."Answer in single word.',
    "region_1": "[identify] [hr_rgb_temp_0.5] <image> <image> \\n Compare the building at "
    "<box>[[6, 6, 12, 22, 0]]</box> between the pre-disaster and post-disaster images. In the "
    "post-disaster image, classify the level of damage. Classes: no-damage, destroyed, "
    'minor-damage, major-damage."Answer in single word.',
    "region_2": "[identify] [hr_rgb_temp_0.5] <image> \\n Is this building  at "
    "<box>[[6, 6, 12, 22, 0]]</box> affected due to disaster in the second image? Please answer "
    'yes or no."Answer in single word.',
    "caption": "[grounding] [hr_rgb_temp_0.5] <image> <image> \\n Please describe the damage "
    "observed in the post-disaster image.",
    "detect": "[refer] [hr_rgb_temp_0.5] <image> <image> \\n Locate all large <ref>buildings</ref>"
    " in the post-disaster image.",
    "refer": "[refer] [hr_rgb_temp_0.5] <image> <image> \\n Identify the <ref>destroyed building"
    "</ref> at top left of the post-disaster image.",
}
"""Published questions, byte for byte."""
FILES = {
    "image_1": "xBD_testset_1",
    "image_2": "xBD_testset_2",
    "image_3": "xBD_testset_3",
    "region_1": "xBD_reg_cls_testset_1",
    "region_2": "xBD_reg_cls_testset_2",
    "caption": "xBD_image_captioning",
    "detect": "xBD_object_detection",
    "refer": "xBD_referred_object_detection",
}


def record(
    *buildings: tuple[list[float], str, float], trains: bool = False, **fields: Any
) -> Sample:
    """A pair with buildings: box, level, area."""
    judged = [each for each in buildings if each[1] != "un-classified"]
    others = [[*each[0], each[2]] for each in buildings if each[1] == "un-classified"]
    target: dict[str, Any] = {
        "boxes": [each[0] for each in judged],
        "damage": [each[1] for each in judged],
        "areas": [each[2] for each in judged],
        "unclassified": others,
        "left_out": len(others),
        "disaster_type": "flood",
        "trains": trains,
    }
    return Sample(id="pair", images=(Path("a.png"),) * 2, target=target | fields)


@pytest.fixture(autouse=True)
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geovlm.raster.image_size", lambda image: SIZE)


def samples(name: str, pair: Sample) -> list[Sample]:
    return list(getattr(earthdial, f"{name}_samples")(pair))


def ask(name: str, sample: Sample, **options: Any) -> Any:
    ctx = PromptContext(
        profile=QWEN2_5_VL,
        image_sizes=(SIZE, SIZE),
        input_sizes=(SIZE, SIZE),
        options=EarthDialOptions(**options),
    )
    return getattr(earthdial_prompts, f"{name}_prompt")(sample, ctx)


BIG = ([60.0, 60.0, 129.0, 221.0], "destroyed", 9_000.0)


@pytest.mark.parametrize("name", ROWS)
def test_questions_are_the_published_ones(name: str) -> None:
    (sample,) = samples(name, record(BIG))
    assert ask(name, sample).question == ROWS[name].replace("<image>", "")


@pytest.mark.parametrize("name", ROWS)
def test_every_published_row_has_this_question(realdata: Path, name: str) -> None:
    path = realdata / "EarthDial_eval_results" / "rs_change_detection" / f"{FILES[name]}.jsonl"
    if not path.is_file():
        pytest.skip(f"no published rows at {path}")
    form = re.escape(earthdial_prompts.PUBLISHED[name])
    for hole, words in (("{}", r"[\d, ]+"), ("{level}", "[a-z-]+"), ("{place}", "[a-z ]+")):
        form = form.replace(re.escape(hole), words)
    asked = [json.loads(line)["question"] for line in path.read_text("utf-8").splitlines()]
    assert [each for each in asked if not re.fullmatch(form, each)] == []


@pytest.mark.parametrize(
    ("levels", "count", "affected"),
    [
        ((), "none", "no"),
        (("no-damage", "un-classified"), "none", "no"),
        (("minor-damage",), "one", "yes"),
        (("minor-damage", "destroyed", "no-damage"), "two", "yes"),
        (("destroyed",) * 4, "many", "yes"),
    ],
)
def test_a_building_is_affected_from_minor_damage_on(
    levels: tuple[str, ...], count: str, affected: str
) -> None:
    pair = record(*(([0.0, 0.0, 9.0, 9.0], level, 81.0) for level in levels))
    (number,), (verdict,) = samples("image_3", pair), samples("image_2", pair)
    assert (number.target["answer"], verdict.target["answer"]) == (count, affected)


@pytest.mark.parametrize(
    ("kind", "hit", "caption"),
    [
        ("fire", 0, "There has been a fire disaster, however it did not effect the buildings."),
        ("fire", 1, "There has been a fire disaster that resulted in one demaged building."),
        (
            "earthquake",
            3,
            "There has been an earthquake disaster that resulted in many demaged buildings.",
        ),
    ],
)
def test_captions_have_the_published_spelling(kind: str, hit: int, caption: str) -> None:
    (sample,) = samples("caption", record(*[BIG] * hit, disaster_type=kind))
    assert sample.target["captions"] == [caption]
    assert ask("caption", sample).answer == caption


def test_a_pair_without_a_type_has_no_question_about_it() -> None:
    pair = record(BIG, disaster_type=None)
    assert samples("caption", pair) == samples("image_1", pair) == []
    assert len(samples("image_2", pair)) == 1


def test_the_five_largest_buildings_are_detected_largest_first() -> None:
    many = [([10.0 * i, 0.0, 10.0 * i + 9, 9.0], "no-damage", float(i)) for i in range(1, 8)]
    (sample,) = samples("detect", record(*many))
    assert [box[0] for box in sample.target["boxes"]] == [70, 60, 50, 40, 30]  # type: ignore[union-attr,index]


def test_a_pair_without_buildings_is_not_searched() -> None:
    assert samples("detect", record()) == []


@pytest.mark.parametrize(
    ("trains", "kinds"), [(False, ["unclassified", "classified"]), (True, ["classified"])]
)
def test_truths_outside_the_options_are_evaluated_and_not_trained(
    trains: bool, kinds: list[str]
) -> None:
    unclear = ([500.0, 500.0, 700.0, 700.0], "un-classified", 40_000.0)
    pair = record(BIG, unclear, trains=trains)
    assert [each.target["type"] for each in samples("region_1", pair)] == kinds
    assert [each.target["answer"] for each in samples("region_2", pair)] == ["yes"]
    assert len(samples("detect", pair)[0].target["boxes"]) == 2  # type: ignore[arg-type]


def test_a_referred_building_is_the_only_one_that_fits() -> None:
    alone = ([900.0, 0.0, 950.0, 50.0], "minor-damage", 2_500.0)
    other = ([200.0, 100.0, 220.0, 120.0], "destroyed", 400.0)
    found = samples("refer", record(BIG, other, alone))
    assert [(each.target["level"], each.target["place"]) for each in found] == [
        ("minor-damage", "top right")
    ]


def test_plain_wording_has_boxes_in_the_models_frame() -> None:
    (sample,) = samples("region_2", record(BIG))
    assert ask("region_2", sample, wording="plain").question == (
        "Is the building at [60, 60, 129, 221] affected by the disaster? Answer yes or no."
    )
    (sample,) = samples("refer", record(BIG))
    assert ask("refer", sample, wording="plain").question == (
        "Identify the destroyed building at the top left of the post-disaster image."
    )


@pytest.mark.parametrize("name", ROWS)
def test_correct_answers_score_100_percent(name: str) -> None:
    unclear = ([500.0, 500.0, 700.0, 700.0], "un-classified", 40_000.0)
    small = ([900.0, 0.0, 950.0, 50.0], "minor-damage", 2_500.0)
    protocols = {"caption": "caption", "detect": "xbd_detect", "refer": "xbd_detect"}
    protocol = catalogue.find(f"earthdial/{protocols.get(name, 'classify')}")
    cases = []
    for sample in samples(name, record(BIG, unclear, small)):
        turn = ask(name, sample)
        fields = {
            "completion": answers.frame(turn),
            "answer": turn.answer,
            "target": sample.target,
            "profile": QWEN2_5_VL.name,
            "image_sizes": [SIZE, SIZE],
            "input_sizes": [SIZE, SIZE],
        }
        own = Record(fields=fields, own=True)
        cases.append(protocol.read(own, protocol.answer(own)))
    total: Counter[str] = Counter()
    for counts in protocol.tally(cases):
        total.update(counts)
    assert min(protocol.published(total).values()) == pytest.approx(1.0)
    assert min(protocol.strict(total).values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "protocol", "score"),
    [
        ("xBD_object_detection", "xbd_detect", "precision_25"),
        ("xBD_testset_2", "classify", "accuracy"),
        ("xBD_reg_cls_testset_1", "classify", "accuracy"),
    ],
)
def test_published_answers_have_their_published_score(
    realdata: Path, name: str, protocol: str, score: str
) -> None:
    folder = realdata / "EarthDial_eval_results"
    path = folder / "rs_change_detection" / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"no published rows at {path}")
    golden = json.loads((folder / "GOLDEN_METRICS.json").read_text("utf-8"))
    done = scoring.score(records.read(path), catalogue.find(f"earthdial/{protocol}"))
    value, number = golden[f"rs_change_detection/{name}"]
    assert done.published[score] == pytest.approx(value, abs=0.0005)
    assert done.counts[score] == number


@pytest.mark.parametrize(
    ("scene", "answer", "number"),
    [("hurricane-florence_00000018", "many", 5), ("guatemala-volcano_00000000", "none", 5)],
)
def test_real_pairs_are_asked_about(realdata: Path, scene: str, answer: str, number: int) -> None:
    ctx = LoadContext(
        root=realdata / "xBD", split="train", options=XbdOptions(labels="labels_RECONSTRUCTED")
    )
    pair = next(each for each in data.load(ctx) if each.id == scene)
    (count,) = samples("image_3", pair)
    assert count.target["answer"] == answer
    assert len(samples("region_1", pair)) == len(samples("region_2", pair)) == number


def test_the_prefix_of_the_data_set_does_not_choose_them() -> None:
    loaded = registry.load()
    assert len(loaded.select("xbd")) == 7
    assert {each.spec.name for each in loaded.select("xbd/earthdial")} == {
        f"xbd/earthdial/{name}" for name in ROWS
    }
