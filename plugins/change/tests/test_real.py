"""The official files as they lie, and EarthDial's published rows.

No image of Dubai-CC and SYSU-CD is public in a repository: empty files stand for them, since
loaders open none.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from geovlm_change import LevirOptions, data, references, tasks

from geovlm import answers
from geovlm.api import LoadContext, Sample
from geovlm.score.protocols import catalogue
from geovlm.score.protocols.contract import Record

NEAR = 15
"""Places by which a row of EarthDial may lie off its place in the official file: its shards are
mixed a little (at most 14 places in Dubai-CC, 6 in SYSU)."""


def read(load: Any, root: Path, split: Any, options: Any = None) -> list[Sample]:
    skipped: Counter[str] = Counter()
    ctx = LoadContext(
        root=root,
        split=split,
        options=options,
        skip=lambda reason, item: skipped.update([reason]),
    )
    found = list(load(ctx))
    assert skipped == {}
    return found


@pytest.fixture(scope="module")
def dubai(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasetDubaiCCPublic")
    official = realdata / "Dubai_CC" / "datasetDubaiCCPublic" / "description_jsontr_te_val"
    shutil.copytree(official, root / official.name)
    names = [row["filename"] for file in official.glob("*.json") for row in images(file)]
    for year in ("500_2000", "500_2010"):
        (root / "RGB" / year).mkdir(parents=True)
        for name in names:
            (root / "RGB" / year / name).touch()
    return root


@pytest.fixture(scope="module")
def sysu(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("SYSU-CD")
    file = realdata / "SYSU_CC" / "sysu_test_captions.json"
    shutil.copy(file, root)
    for time in ("time1", "time2"):
        (root / "test" / time).mkdir(parents=True)
        for row in images(file):
            (root / "test" / time / row["file_name"].removeprefix("sysu_test_")).touch()
    return root


def images(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8"))["images"]


def published(realdata: Path, name: str) -> list[dict[str, str]]:
    path = realdata / "EarthDial_eval_results" / "rs_change_detection" / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"no published rows at {path}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("split", "number", "unchanged"), [("train", 300, 84), ("val", 50, 17)])
def test_dubai_has_its_official_pairs(dubai: Path, split: Any, number: int, unchanged: int) -> None:
    samples = read(data.load_dubai, dubai, split)
    assert len(samples) == number == data.official_dubai(LoadContext(root=dubai, split=split))
    assert sum(not each.target["changed"] for each in samples) == unchanged
    assert {len(each.target["captions"]) for each in samples} == {5}


def test_sysu_has_one_caption_and_the_regions_of_every_pair(sysu: Path) -> None:
    samples = read(data.load_sysu, sysu, "test")
    rows = images(sysu / "sysu_test_captions.json")
    assert len(samples) == len(rows)
    assert len(rows) in (1_887, 3_774)  # the copy at hand may hold every second pair alone
    assert all(each.target["changed"] for each in samples)
    assert [each.target["captions"] for each in samples] == [row["captions"] for row in rows]
    regions = [row["attribute"]["num_regions"] for row in rows]
    assert [len(each.target["regions"]) for each in samples] == regions


def test_real_pairs_of_levir_are_read(realdata: Path, prompt_ctx) -> None:
    options = LevirOptions(file="LevirCCcaptions.RECONSTRUCTED.json")
    samples = read(data.load_levir, realdata / "LEVIR_CC", "train", options)
    assert [each.id for each in samples] == [f"train_0000{n}.png" for n in (16, 51, 54)]
    assert {len(each.target["captions"]) for each in samples} == {5}
    assert all(path.is_file() for each in samples for path in each.images)
    turn = tasks.levir_prompt(samples[0], prompt_ctx())
    assert turn.answer == "several houses appear on the bareland at the bottom."


@pytest.mark.parametrize(
    ("file", "name"), [("LEVIR_MCI", "levir"), ("Dubai_CC", "dubai"), ("SYSU", "sysu")]
)
def test_earthdial_asks_this_question_in_every_row(realdata: Path, file: str, name: str) -> None:
    assert {row["question"] for row in published(realdata, file)} == {tasks.PUBLISHED[name]}


def test_earthdials_rows_of_dubai_are_official_records(realdata: Path, dubai: Path) -> None:
    rows = published(realdata, "Dubai_CC")
    if not (dubai / "description_jsontr_te_val" / "Test_Dubai_CC.json").is_file():
        pytest.skip("no Test_Dubai_CC.json among the real data")
    official = [each.target["captions"] for each in read(data.load_dubai, dubai, "test")]
    assert_placed([[row[f"caption{i}"] for i in range(5)] for row in rows], official)


def test_earthdials_rows_of_sysu_are_official_records(realdata: Path, sysu: Path) -> None:
    rows = published(realdata, "SYSU")
    official = [each.target["captions"] for each in read(data.load_sysu, sysu, "test")]
    if len(official) < 3_774:
        pytest.skip("sysu_test_captions.json among the real data holds every second pair alone")
    assert_placed([json.loads(row["caption0"]) for row in rows], official)


def test_earthdials_rows_of_levir_are_official_records(realdata: Path) -> None:
    rows = published(realdata, "LEVIR_MCI")
    if not (realdata / "LEVIR_CC" / "LevirCCcaptions.json").is_file():
        pytest.skip("no official LevirCCcaptions.json among the real data")
    listed = images(realdata / "LEVIR_CC" / "LevirCCcaptions.json")
    official = [[s["raw"] for s in row["sentences"]] for row in listed if row["split"] == "test"]
    assert len(official) == 1_929
    assert_placed([[row[f"caption{i}"] for i in range(5)] for row in rows], official)


def assert_placed(rows: list[list[str]], official: list[list[str]]) -> None:
    """Five workers took the first five rows of their fifth of the file."""
    assert len(rows) == 25
    begins = [worker * len(official) // 5 for worker in range(5) for _ in range(5)]
    off = [
        min(abs(at - begin) for at, each in enumerate(official) if each == row)
        for row, begin in zip(rows, begins, strict=True)
    ]
    assert max(off) <= NEAR


def test_unchanged_rows_of_levir_are_the_no_change_half(realdata: Path) -> None:
    rows = published(realdata, "LEVIR_MCI")
    protocol = catalogue.find("earthdial/caption")
    cases = [protocol.read(record, "") for record in (Record(fields=r, own=False) for r in rows)]
    same = [row["caption1"] == " the two scenes seem identical ." for row in rows]
    assert [case.half == "no_change" for case in cases] == same
    assert 5 < sum(same) < 20


def test_correct_answers_of_dubai_are_right_in_both_halves(dubai: Path, prompt_ctx) -> None:
    protocol = catalogue.find("earthdial/caption")
    cases = []
    for each in read(data.load_dubai, dubai, "val"):
        completion = answers.frame(tasks.dubai_prompt(each, prompt_ctx()))
        fields = {"task": "change/dubai", "completion": completion, "target": each.target}
        record = Record(fields=fields, own=True)
        cases.append(protocol.read(record, protocol.answer(record)))
    total: Counter[str] = Counter()
    for counts in protocol.tally(cases):
        total.update(counts)
    strict = protocol.strict(total)
    assert strict["rouge1_f_best_ref"] == pytest.approx(1.0)
    assert (strict["change/accuracy"], strict["no_change/accuracy"]) == (1.0, 1.0)
    # five sentences differ: nobody agrees with all of them
    assert 0.3 < protocol.published(total)["rouge1_f_mean_over_refs"] < 0.6


def test_tidy_sentences_score_like_the_raw_ones() -> None:
    raw = " the vegetation has been replaced by a road , and many villas ."
    protocol = catalogue.find("earthdial/caption")
    row = {"answer": references.tidy(raw), "caption0": raw, "caption1": ""}
    (counts,) = protocol.tally([protocol.read(Record(fields=row, own=False), row["answer"])])
    assert protocol.published(counts)["rouge1_f_mean_over_refs"] == pytest.approx(1.0)
