"""EarthDial's published prediction files give the scores published for them.

Expected: `EarthDial_eval_results/GOLDEN_METRICS.json` of the real data, made by another
implementation of hiyamdebary/EarthDial 92c1260, and the numbers that the papers print.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import pytest

from geovlm.score.protocols import catalogue, records, scoring
from geovlm.score.protocols.contract import Score

TOLERANCE = 0.0005  # the golden comparison is of plain floats, ours counts ties

CASES = [
    ("rs_classification/UHI_test", "earthdial/classify"),
    ("rs_change_detection/xBD_testset_2", "earthdial/classify"),
    ("rs_change_detection/xBD_reg_cls_testset_1", "earthdial/classify"),
    ("rs_classification/AID", "earthdial/classify"),
    ("rs_classification/STARCOP_test", "earthdial/classify"),
]
REFERRED = [
    "rs_detection/GeoChat",
    "rs_detection/ship_dataset_v0",
    "rs_detection/urban_tree_crown_detection",
]
CAPTIONS = [
    ("rs_region_captioning/GeoChat", "earthdial/region_caption"),
    ("rs_region_captioning/HIT_UAV_test", "earthdial/region_caption"),
    ("rs_region_captioning/SRSDD_V1_0_test", "earthdial/region_caption"),
    ("rs_region_captioning/urban_tree_crown_detection", "earthdial/region_caption"),
    ("rs_image_caption/UCM_captions", "earthdial/caption"),
    ("rs_image_caption/RSITMD_Captions", "earthdial/caption"),
    ("rs_change_detection/LEVIR_MCI", "earthdial/caption"),
]


@pytest.fixture(scope="session")
def results(realdata: Path) -> Path:
    folder = realdata / "EarthDial_eval_results"
    if not folder.is_dir():
        pytest.skip(f"no published prediction files at {folder}: set GEOVLM_REALDATA to its parent")
    return folder


@lru_cache
def scored(path: Path, protocol: str) -> Score:
    return scoring.score(records.read(path), catalogue.find(protocol), resamples=100)


def score(results: Path, name: str, protocol: str) -> Score:
    return scored(results / f"{name}.jsonl", protocol)


@pytest.fixture(scope="session")
def golden(results: Path) -> dict:
    return json.loads((results / "GOLDEN_METRICS.json").read_text(encoding="utf-8"))


def test_every_golden_entry_has_a_test(golden: dict) -> None:
    assert set(golden) == {
        *(name for name, _ in (*CASES, *CAPTIONS)),
        *REFERRED,
        "rs_vqa/RSVQA_LR",
        "rs_change_detection/xBD_object_detection",
    }


@pytest.mark.parametrize(("name", "protocol"), CASES)
def test_classification(results: Path, golden: dict, name: str, protocol: str) -> None:
    value, number = golden[name]
    made = score(results, name, protocol)
    assert made.published == pytest.approx({"accuracy": value}, abs=TOLERANCE)
    assert (made.n, made.counts) == (number, {"accuracy": number})
    assert made.skipped == {}


@pytest.mark.parametrize("group", ["small", "medium", "large", "single", "multiple"])
@pytest.mark.parametrize("name", REFERRED)
def test_referred_detection(results: Path, golden: dict, name: str, group: str) -> None:
    value, number = golden[name][group]
    made = score(results, name, "earthdial/refer")
    assert made.published[group] == pytest.approx(value, abs=TOLERANCE)
    assert made.counts[group] == number


def test_referred_detection_as_the_paper_prints_it(results: Path) -> None:
    made = score(results, "rs_detection/GeoChat", "earthdial/refer")
    printed = {  # EarthDial's row in GeoVLM-R1-Toolkit, README.md, dbe450c
        "small": 0.1143,
        "medium": 0.3176,
        "large": 0.3907,
        "single": 0.3429,
        "multiple": 0.1341,
    }
    rounded = {group: round(made.published[group], 4) for group in printed}
    assert rounded == printed


def test_strict_referred_detection_of_the_same_boxes(results: Path) -> None:
    # measured by another implementation: one-to-one P / R / F1 24.94 / 24.80 / 24.87 %
    made = score(results, "rs_detection/GeoChat", "earthdial/refer")
    assert round(made.strict["precision_digits_only"], 4) == 0.2494
    assert round(made.strict["recall_digits_only"], 4) == 0.2480
    assert round(made.strict["f1_digits_only"], 4) == 0.2487


def test_strict_referred_detection_reads_negative_numbers_too(results: Path) -> None:
    # 10,571 true boxes, of which the published reader sees 10,024
    file = records.read(results / "rs_detection" / "GeoChat.jsonl")
    protocol = catalogue.find("earthdial/refer")
    counts = list(
        protocol.tally([protocol.read(record, protocol.answer(record)) for record in file.records])
    )
    assert sum(each["truth"] for each in counts) == 10_571
    assert sum(each["digits_truth"] for each in counts) == 10_024


@pytest.mark.parametrize("kind", ["presence", "rural_urban", "count", "comp"])
def test_vqa(results: Path, golden: dict, kind: str) -> None:
    value, number = golden["rs_vqa/RSVQA_LR"][kind]
    made = score(results, "rs_vqa/RSVQA_LR", "earthdial/vqa")
    assert made.published[kind] == pytest.approx(value, abs=TOLERANCE)
    assert made.counts[kind] == number


def test_vqa_average_as_the_paper_prints_it(results: Path, golden: dict) -> None:
    made = score(results, "rs_vqa/RSVQA_LR", "rsvqa/lrben")
    expected = dict(golden["rs_vqa/RSVQA_LR"])
    assert made.notes == ["left out, as in the published tables: 2,947 of type count"]
    assert expected.pop("count")[1] == 2_947
    assert round(made.published.pop("average"), 4) == 0.9270
    assert made.published == pytest.approx({k: v for k, (v, _) in expected.items()}, abs=TOLERANCE)
    assert made.counts.pop("average") == 7_057
    assert made.counts == {kind: number for kind, (_, number) in expected.items()}


def test_xbd_detection(results: Path, golden: dict) -> None:
    value, number = golden["rs_change_detection/xBD_object_detection"]
    made = score(results, "rs_change_detection/xBD_object_detection", "earthdial/xbd_detect")
    assert made.published["precision_25"] == pytest.approx(value, abs=TOLERANCE)
    assert made.counts["precision_25"] == number


@pytest.mark.parametrize(("name", "protocol"), CAPTIONS)
def test_captions(results: Path, golden: dict, name: str, protocol: str) -> None:
    expected = dict(golden[name])
    number = expected.pop("n")
    made = score(results, name, protocol)
    assert made.n == number
    assert made.published == pytest.approx(expected, abs=TOLERANCE)


def test_every_published_file_is_recognised_by_its_fields(results: Path) -> None:
    likeliest = {
        path.relative_to(results).with_suffix("").as_posix(): catalogue.fitting(
            records.read(path).records[0].fields, own=False
        )[0]
        for path in sorted(results.glob("*/*.jsonl"))
    }
    assert likeliest == {
        "rs_change_detection/LEVIR_MCI": "earthdial/caption",
        "rs_change_detection/xBD_image_captioning": "earthdial/caption",
        "rs_change_detection/xBD_object_detection": "earthdial/xbd_detect",
        "rs_change_detection/xBD_reg_cls_testset_1": "earthdial/classify",
        "rs_change_detection/xBD_testset_2": "earthdial/classify",
        "rs_classification/AID": "earthdial/classify",
        "rs_classification/STARCOP_test": "earthdial/classify",
        "rs_classification/UHI_test": "earthdial/classify",
        "rs_detection/GeoChat": "earthdial/refer",
        "rs_detection/ship_dataset_v0": "earthdial/refer",
        "rs_detection/urban_tree_crown_detection": "earthdial/refer",
        "rs_grounding_description/UCAS_AOD": "earthdial/grounding",
        "rs_image_caption/RSITMD_Captions": "earthdial/caption",
        "rs_image_caption/UCM_captions": "earthdial/caption",
        "rs_region_captioning/GeoChat": "earthdial/region_caption",
        "rs_region_captioning/HIT_UAV_test": "earthdial/region_caption",
        "rs_region_captioning/SRSDD_V1_0_test": "earthdial/region_caption",
        "rs_region_captioning/urban_tree_crown_detection": "earthdial/region_caption",
        "rs_vqa/RSVQA_LR": "earthdial/vqa",
    }
