"""RSVQA, BigEarthNet, xView2 and change captions, by hand and against independent libraries."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider as CocoCider
from pycocoevalcap.rouge.rouge import Rouge
from sacrebleu.metrics import BLEU
from sklearn.metrics import f1_score, recall_score

from geovlm.score.protocols import change_caption, xview2
from geovlm.score.protocols.bigearthnet import CLASSES
from geovlm.score.protocols.rsvqa import number_class
from geovlm.score.protocols.text.cider import Cider

# -- RSVQA ----------------------------------------------------------------------------------------


def question(kind: str, answer: str, truth: str) -> dict:
    return {"answer": answer, "annotation": truth, "vqa_type": kind}


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("0", "0"),
        ("1", "between 0 and 10"),
        ("10", "between 0 and 10"),
        ("11", "between 10 and 100"),
        ("100", "between 10 and 100"),
        ("1,000", "between 100 and 1000"),
        ("1001", "more than 1000"),
        ("9" * 5000, "more than 1000"),
        ("Between 10 and 100.", "between 10 and 100"),
        ("many", "many"),
    ],
)
def test_counts_become_the_official_classes(amount: str, expected: str) -> None:
    assert number_class(amount) == expected


def test_areas_become_classes_with_a_unit() -> None:
    assert number_class("9658m2", unit="m2") == "more than 1000m2"
    assert number_class("0m2", unit="m2") == "0m2"


def test_rsvqa_accuracies(score) -> None:
    made = score(
        "rsvqa",
        question("presence", "yes", "yes"),
        question("comp", "no", "yes"),
        question("comp", "yes", "yes"),
        question("count", "12", "47"),  # both between 10 and 100
        question("count", "between 0 and 10", "47"),
    )
    assert made.published == pytest.approx(
        {
            "presence": 1.0,
            "comp": 0.5,
            "count": 0.5,
            "AA": 2 / 3,
            "OA": 3 / 5,
            "count/between 10 and 100": 0.5,
        }
    )
    assert made.strict == pytest.approx(
        {"presence": 1.0, "comp": 0.5, "count": 0.0, "AA": 0.5, "OA": 0.4}
    )


def test_high_resolution_counts_stay_numbers(score) -> None:
    made = score("rsvqa/hr", question("count", "12", "47"), question("area", "50m2", "99m2"))
    assert made.published["count"] == 0.0
    assert made.published["area"] == 1.0


def test_a_truth_that_is_no_number_is_skipped(score) -> None:
    made = score("rsvqa", question("count", "1", "some"), question("count", "1", "1"))
    assert made.skipped == {"truth of a question of type 'count' is not a number": 1}


# -- BigEarthNet ----------------------------------------------------------------------------------


def test_bigearthnet_reads_class_names_with_commas(score) -> None:
    made = score(
        "bigearthnet",
        {"answer": "Beaches, dunes, sands", "annotation": "Beaches, dunes, sands, Pastures"},
    )
    assert made.published["recall"] == 0.5
    assert made.strict["precision"] == 1.0


def test_bigearthnet_recall_is_one_for_every_class_named(score) -> None:
    made = score("bigearthnet", {"answer": ", ".join(CLASSES), "labels": ["Pastures"]})
    assert made.published["recall"] == 1.0
    assert made.strict["precision"] == pytest.approx(1 / 19)


def test_bigearthnet_equals_scikit_learn(score) -> None:
    rng = random.Random(0)
    rows = [
        {"answer": "; ".join(rng.sample(CLASSES, 3)), "labels": rng.sample(CLASSES, 2)}
        for _ in range(40)
    ]
    truth = np.array([[name in row["labels"] for name in CLASSES] for row in rows])
    named = np.array([[name in row["answer"].split("; ") for name in CLASSES] for row in rows])
    made = score("bigearthnet", *rows)
    expected = {
        "micro_f1": f1_score(truth, named, average="micro"),
        "macro_f1": f1_score(truth, named, average="macro", zero_division=0),
        "sample_f1": f1_score(truth, named, average="samples", zero_division=0),
        "recall": recall_score(truth, named, average="samples"),
        "exact_match": (truth == named).all(axis=1).mean(),
    }
    assert made.published == pytest.approx(expected, abs=1e-12)


# -- xView2 ---------------------------------------------------------------------------------------


MASKS = ("localization_prediction", "damage_prediction", "localization_target", "damage_target")


def counts(tp: int, fp: int, fn: int) -> dict:
    return {"tp": tp, "fp": fp, "fn": fn}


def test_xview2_from_pixel_counts(score) -> None:
    row = {
        "localization": counts(8, 2, 2),  # F1 0.8
        "damage": {  # F1 0.5, 1, 1, 1
            "1": counts(1, 1, 1),
            "2": counts(3, 0, 0),
            "3": counts(4, 0, 0),
            "4": counts(5, 0, 0),
        },
    }
    made = score("xview2", row)
    # harmonic mean 4 / (2 + 1 + 1 + 1) = 0.8
    assert made.published["damage_f1"] == pytest.approx(0.8, abs=2e-6)
    assert made.published["score"] == pytest.approx(0.8, abs=2e-6)
    assert made.strict["localization_iou"] == pytest.approx(8 / 12)


def test_a_damage_level_that_never_occurs_ruins_the_published_score_only(score) -> None:
    none, right = counts(0, 0, 0), counts(5, 0, 0)
    row = {"localization": right, "damage": {"1": right, "2": none, "3": none, "4": right}}
    made = score("xview2", row)
    assert made.published["damage_f1"] == pytest.approx(0.0, abs=1e-5)
    assert made.strict["damage_f1"] == pytest.approx(1.0, abs=1e-5)


def test_pixel_counts_of_masks() -> None:
    true = np.array([[0, 1, 1], [0, 4, 4]], dtype=np.uint8)
    found = np.array([[1, 1, 1], [0, 1, 0]], dtype=np.uint8)
    damage = np.array([[2, 1, 4], [3, 4, 4]], dtype=np.uint8)
    made = xview2.pixel_counts(found=found, damage=damage, true_found=true, true_damage=true)
    assert (made["tp"], made["fp"], made["fn"]) == (3, 1, 1)
    assert (made["tp1"], made["fp1"], made["fn1"]) == (1, 0, 1)
    # the last pixel is not predicted as a building, so that its damage is lost
    assert (made["tp4"], made["fp4"], made["fn4"]) == (1, 1, 1)
    # level 2 on the background: nothing for the official scorer, a false alarm for us
    assert (made["fp2"], made["all_fp2"]) == (0, 1)


def test_a_level_absent_from_an_image_counts_no_false_alarm_officially() -> None:
    true = np.array([[1, 1]], dtype=np.uint8)
    damage = np.array([[1, 3]], dtype=np.uint8)
    made = xview2.pixel_counts(found=true, damage=damage, true_found=true, true_damage=true)
    assert (made["fp3"], made["all_fp3"]) == (0, 1)


def test_xview2_reads_masks_beside_the_file(score, tmp_path: Path) -> None:
    mask = np.array([[0, 1, 2], [0, 3, 4]], dtype=np.uint8)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    made = score("xview2", dict.fromkeys(MASKS, "mask.png"))
    assert made.published["score"] == pytest.approx(1.0, abs=1e-5)


def test_a_missing_mask_is_counted(score, tmp_path: Path) -> None:
    good = {
        "localization": counts(1, 0, 0),
        "damage": {str(level): counts(1, 0, 0) for level in (1, 2, 3, 4)},
    }
    masks = dict.fromkeys(MASKS, "absent.png")
    assert score("xview2", good, masks).skipped == {
        "localization_target is not a readable image": 1
    }


def test_official_prediction_files_are_right_about_themselves(realdata: Path, score) -> None:
    folder = realdata / "xBD" / "predictions_example"
    found = str(folder / "test_localization_00121_prediction.png")
    damage = str(folder / "test_damage_00121_prediction.png")
    made = score(
        "xview2",
        {
            "localization_prediction": found,
            "damage_prediction": damage,
            "localization_target": found,
            "damage_target": damage,
        },
    )
    assert made.n == 1
    assert made.published["localization_f1"] == 1.0


# -- change captions ------------------------------------------------------------------------------


def pair(answer: str, *references: str) -> dict:
    return {"answer": answer, **{f"caption{i}": text for i, text in enumerate(references)}}


def corpus() -> tuple[list[str], list[list[str]]]:
    rng = random.Random(1)
    nouns = ["road", "house", "tree", "villa", "field", "river"]
    verbs = ["appears", "is built", "is removed", "replaces the"]

    def sentence() -> str:
        return f"a {rng.choice(nouns)} {rng.choice(verbs)} near the {rng.choice(nouns)}"

    return [sentence() for _ in range(30)], [[sentence() for _ in range(5)] for _ in range(30)]


def test_words_lose_case_and_punctuation() -> None:
    assert change_caption.plain(" There is NO difference . ") == "there is no difference"


def test_bleu_equals_sacrebleu_and_coco(score) -> None:
    answers, truths = corpus()
    made = score("change_caption", *(pair(a, *t) for a, t in zip(answers, truths, strict=True)))
    columns = [list(column) for column in zip(*truths, strict=True)]
    sacre = BLEU(tokenize="none", smooth_method="none").corpus_score(answers, columns)
    assert made.published["bleu4"] == pytest.approx(sacre.score / 100, abs=1e-12)
    references = dict(enumerate(truths))
    coco, _ = Bleu(4).compute_score(references, {i: [a] for i, a in enumerate(answers)}, verbose=0)
    ours = [made.published[f"bleu{order}"] for order in (1, 2, 3, 4)]
    assert ours == pytest.approx(coco, abs=1e-8)  # coco adds 1e-9 to every denominator


def test_rouge_l_equals_coco(score) -> None:
    answers, truths = corpus()
    made = score("change_caption", *(pair(a, *t) for a, t in zip(answers, truths, strict=True)))
    references = dict(enumerate(truths))
    coco, _ = Rouge().compute_score(references, {i: [a] for i, a in enumerate(answers)})
    assert made.published["rougeL"] == pytest.approx(coco, abs=1e-12)


def test_cider_equals_coco() -> None:
    answers, truths = corpus()
    _, coco = CocoCider().compute_score(
        dict(enumerate(truths)), {i: [a] for i, a in enumerate(answers)}
    )
    assert Cider(answers, truths).scores(range(30)) == pytest.approx(list(coco), abs=1e-9)


def test_cider_of_a_part_takes_the_documents_of_that_part() -> None:
    answers, truths = corpus()
    _, coco = CocoCider().compute_score(
        dict(enumerate(truths[10:20])), {i: [a] for i, a in enumerate(answers[10:20])}
    )
    part = Cider(answers, truths).scores(range(10, 20))
    assert part == pytest.approx(list(coco), abs=1e-9)


def test_an_empty_answer_has_no_cider() -> None:
    assert Cider(["", "a road"], [["a road"], ["two fields"]]).scores([0, 1]) == [0.0, 0.0]


def test_halves_of_changed_and_unchanged_pairs(score) -> None:
    same = ("there is no difference .", "no change has occurred .")
    new = ("a road is built .", "a new road appears .")
    made = score(
        "change_caption",
        pair("no change has occurred .", *same),
        pair("a road is built .", *same),
        pair("a road is built .", *new),
    )
    assert made.published["no_change_accuracy"] == 0.5
    assert made.published["change_accuracy"] == 1.0
    assert made.published["change/bleu4"] == pytest.approx(1.0)
    assert made.strict["bleu4"] == pytest.approx(1.0)
    assert made.strict["balanced_accuracy"] == 0.75
    assert made.strict["exact"] == pytest.approx(2 / 3)
    assert made.counts["no_change/bleu4"] == 2


def test_published_change_captions_of_earthdial(realdata: Path, score) -> None:
    path = realdata / "EarthDial_eval_results" / "rs_change_detection" / "LEVIR_MCI.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    made = score("change_caption", *rows)
    references = {
        i: [change_caption.plain(row[f"caption{n}"]) for n in range(5)]
        for i, row in enumerate(rows)
    }
    said = {i: [change_caption.plain(row["answer"])] for i, row in enumerate(rows)}
    coco, _ = Bleu(4).compute_score(references, said, verbose=0)
    assert made.published["bleu4"] == pytest.approx(coco[3], abs=1e-8)
    cider, _ = CocoCider().compute_score(references, said)
    assert made.published["cider"] == pytest.approx(cider, abs=1e-9)
