"""RSVQA-LRBEN and -HRBEN of the published tables, and RSVQAxBEN."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from geovlm_rsvqa import (
    BenchmarkOptions,
    BenchmarkTaskOptions,
    LandCoverOptions,
    LowResOptions,
    data,
    tasks,
    xben,
)
from geovlm_rsvqa.sample import make_xben

from geovlm import answers
from geovlm.api import LoadContext
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm.score.protocols import catalogue
from geovlm.score.protocols.contract import Record


@pytest.fixture(scope="session")
def cover(tmp_path_factory):
    root = tmp_path_factory.mktemp("rsvqaxben")
    make_xben(root, 6, 7)
    return root


@pytest.fixture
def load():
    def read(loader, root, split="test", **given):
        skipped: Counter[str] = Counter()
        context = LoadContext(
            root=root, split=split, skip=lambda reason, item: skipped.update([reason]), **given
        )
        return list(loader(context)), skipped

    return read


def scored(protocol, pairs):
    """Return the published scores of (sample, turn) pairs whose answers are correct."""
    rule = catalogue.find(protocol)
    fields = [{"completion": answers.frame(turn), "target": s.target} for s, turn in pairs]
    fields = [row | {"answer": row["target"]["answer"]} for row in fields]
    records = [Record(fields=row, own=True) for row in fields]
    total: Counter[str] = Counter()
    for counts in rule.tally([rule.read(each, rule.answer(each)) for each in records]):
        total.update(counts)
    return rule.published(total)


def test_lrben_has_no_counts_and_correct_answers_score_everything(low, load, prompt_ctx):
    records = load(data.load_lr, low, options=LowResOptions())[0]
    kept = [sample for record in records for sample in tasks.without_numbers(record)]
    assert Counter(each.target["type"] for each in kept) == {
        "presence": 36,
        "comp": 36,
        "rural_urban": 12,
    }
    pairs = [(sample, tasks.published_prompt(sample, prompt_ctx())) for sample in kept]
    right = {"presence": 1.0, "comp": 1.0, "rural_urban": 1.0, "average": 1.0}
    assert scored("rsvqa/lrben", pairs) == right


def test_hrben_is_tested_on_the_unseen_city(high, load, tmp_path, prompt_ctx):
    for path in high.iterdir():
        if not path.name.startswith("USGS_split_test_") or "phili" in path.name:
            (tmp_path / path.name).symlink_to(path)
    samples = load(data.load_hrben, tmp_path, options=BenchmarkOptions())[0]
    assert {each.target["type"] for each in samples} == {"presence", "comp"}
    pairs = [(sample, tasks.published_prompt(sample, prompt_ctx())) for sample in samples]
    assert scored("rsvqa/hrben", pairs) == {"presence": 1.0, "comp": 1.0, "average": 1.0}


def test_the_plain_wording_is_that_of_rsvqa_lr(low, load, prompt_ctx):
    sample = load(data.load_lr, low, options=LowResOptions())[0][0]
    plain = prompt_ctx(options=BenchmarkTaskOptions(wording="plain"))
    assert tasks.published_prompt(sample, plain) == tasks.prompt(sample, prompt_ctx())


def test_real_questions_are_earthdials_rows_byte_for_byte(realdata, load, prompt_ctx):
    path = realdata / "EarthDial_eval_results" / "rs_vqa" / "RSVQA_LR.jsonl"
    if not path.is_file():
        pytest.skip(f"no published rows at {path}")
    published = Counter()
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        question = row["question"].replace("<image>", "")
        published[question, row["annotation"], row["vqa_type"]] += 1
    options = LowResOptions(answers="raw")
    samples = load(data.load_lr, realdata / "RSVQA_LR", options=options)[0]
    asked = Counter(
        (tasks.published_prompt(s, prompt_ctx()).question, s.target["answer"], s.target["type"])
        for s in samples
    )
    assert asked.total() == 400
    assert asked - published == Counter()
    assert any("  " in question for question, _, _ in asked)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_generated_land_cover_is_read_whole(cover, load, split, prompt_ctx):
    samples, skipped = load(xben.load, cover, split)
    assert (len(samples), len({each.images for each in samples}), skipped) == (30, 6, {})
    pairs = [(sample, xben.prompt(sample, prompt_ctx())) for sample in samples]
    assert scored("rsvqa/xben", pairs) == {"presence": 1.0, "LC": 1.0, "AA": 1.0, "OA": 1.0}


def test_land_cover_may_be_thinned(cover, load):
    one = load(xben.load, cover, options=LandCoverOptions(per_image=1, types=("LC",)))[0]
    assert {each.target["type"] for each in one} == {"LC"}
    assert len(one) == 6
    assert len(load(xben.load, cover, limit=7)[0]) == 7


@pytest.mark.parametrize(
    ("split", "number"), [("train", 8_609_625), ("val", 1_420_725), ("test", 2_953_125)]
)
def test_official_numbers_of_rsvqaxben(tmp_path, split, number):
    assert xben.official(LoadContext(root=tmp_path, split=split)) == number
    thinned = LandCoverOptions(per_image=1)
    assert xben.official(LoadContext(root=tmp_path, split=split, options=thinned)) is None


@pytest.fixture
def few(tmp_path):
    """Three questions about one image, as the official lists lie."""
    (tmp_path / "Images").mkdir()
    (tmp_path / "Images" / "9.tif").touch()

    def write(kinds=("presence", "presence", "LC"), order=(0, 1, 2), images=(9, 9, 9)):
        stub = {"id": 4, "active": False}
        about = {"active": True, "question": "Are there some forests?"}
        rows = [
            {**about, "id": 225 + i, "img_id": image, "type": kind}
            for i, (kind, image) in enumerate(zip(kinds, images, strict=True))
        ]
        said = [{"id": 1, "active": True, "question_id": 225 + i, "answer": f"a{i}"} for i in order]
        for kind, listed in (("questions", rows), ("answers", said)):
            path = tmp_path / f"RSVQAxBEN_split_test_{kind}.json"
            path.write_text(json.dumps({kind: [stub, *listed]}))
        return tmp_path

    return write


def test_answers_may_be_a_little_out_of_order(few, load):
    samples, skipped = load(xben.load, few(order=(2, 0, 1)))
    assert [(each.id, each.target["answer"]) for each in samples] == [
        ("225", "a0"),
        ("226", "a1"),
        ("227", "a2"),
    ]
    assert skipped == {}


def test_answers_in_another_order_are_refused_before_memory_fills(few, load, monkeypatch):
    monkeypatch.setattr(xben, "_AHEAD", 1)
    with pytest.raises(DataError, match=r"answers\.json is not in the order of .*question 225"):
        load(xben.load, few(order=(2, 1, 0)))


def test_what_is_left_out_of_land_cover_is_counted(few, load):
    root = few(kinds=("presence", "colour", "LC"), order=(0, 1), images=(9, 9, 8))
    samples, skipped = load(xben.load, root)
    assert [each.id for each in samples] == ["225"]
    assert skipped == {"question of an unknown type": 1, "question without answer": 1}


def test_a_question_about_an_absent_image_is_counted(few, load):
    samples, skipped = load(xben.load, few(images=(9, 9, 8)))
    assert len(samples) == 2
    assert skipped == {"image missing": 1}


def test_the_unsplit_files_are_not_taken_for_the_splits(tmp_path, load):
    (tmp_path / "LRBENquestions.json").touch()
    with pytest.raises(DatasetNotFoundError) as error:
        load(xben.load, tmp_path)
    assert "RSVQAxBEN_split_test_questions.json" in str(error.value)
    assert "LRBENquestions.json is not split" in error.value.hint


@pytest.mark.parametrize("text", ["[]", '{"answers": 3}', '{"questions": []}', '{"answers": [{"i'])
def test_a_list_that_is_none_is_named(few, load, text):
    root = few()
    (root / "RSVQAxBEN_split_test_answers.json").write_text(text)
    with pytest.raises(DataError, match=r"RSVQAxBEN_split_test_answers\.json"):
        load(xben.load, root)


@pytest.mark.parametrize(
    ("question", "listed"),
    [
        ("Which L2 land cover classes are in the image?", True),
        ("In addition to forests, which classes are in the scene?", True),
        ("Are some forests present?", False),
    ],
)
def test_a_question_says_if_it_asks_for_a_list(question, listed):
    assert xben.asks_for_list(question) == listed
