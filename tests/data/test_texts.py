"""The gate for texts: which records are left out, which turns are refused, what is said."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from geovlm import answers
from geovlm.api import DatasetSpec, LoadContext, Sample, Turn
from geovlm.data import loading, texts
from geovlm.data.texts import Gate
from geovlm.errors import DataError

NOT_UNICODE = "a text with half of a surrogate pair, which is not Unicode"
CONTROL = "a text with a control character"


def a_record(**changes: Any) -> Sample:
    sound = Sample(
        id="a/0 1", images=(Path("a.png"),), question="Is it?", target={"answer": "yes"}, meta={}
    )
    return dataclasses.replace(sound, **changes)


@pytest.mark.parametrize(
    "record",
    [
        a_record(),
        a_record(question="", target={}),
        a_record(question="two\nlines\tand\r\n\x0b\x0c more"),
        a_record(question="\ufeff bidi \u202e, zero \u200b width, \u2028 line, \x85 next, ü, 𝄞"),
        a_record(question="Is </think> a tag and <|image_pad|> a token?"),
        a_record(question="ship " * 200_000),
        a_record(target={"answer": "yes <|im_end|> no", "boxes": [[0.5, 1, 2, 3]], "n": None}),
        a_record(target={"answer": "x" * texts.LONGEST}),
        a_record(target={"labels": [], "captions": [], "text": ""}),
        a_record(target={"answer": 5}),
        a_record(meta={"note": "<think>", "gsd_m": 0.5, "of": {"x": [1, None, True]}}),
        a_record(id="i" * 5000),
    ],
)
def test_a_sound_record_passes(record: Sample) -> None:
    assert Gate().defect(record) is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (a_record(id="\ud83d"), NOT_UNICODE),
        (a_record(id="a\0"), CONTROL),
        (a_record(id=""), texts.NO_ID),
        (a_record(id=7), texts.NO_ID),
        (a_record(question="Is \udc00 it?"), NOT_UNICODE),
        (a_record(question="Is \x1b[31m it?"), CONTROL),
        (a_record(question=None), texts.NO_QUESTION),
        (a_record(question=5), texts.NO_QUESTION),
        (a_record(target={"answer": "harbour \ud83d"}), NOT_UNICODE),
        (a_record(target={"answer": " "}), texts.NO_ANSWER),
        (a_record(target={"answer": None}), texts.NO_ANSWER),
        (a_record(target={"labels": ["ship", "\ud83d"]}), NOT_UNICODE),
        (a_record(target={"vocabulary": ["a"] * 99 + ["\x7f"]}), CONTROL),
        (a_record(target={"facts": {"colour": "re\ud83dd"}}), NOT_UNICODE),
        (a_record(target={"facts": {"col\ud83dour": "red"}}), NOT_UNICODE),
        (a_record(target={"captions": ["a", "<think>b</think>"]}), texts.TAGS),
        (a_record(target={"answer": "<think>a</think><answer>yes</answer>"}), texts.TAGS),
        (a_record(target={"answer": "yes</answer>"}), texts.TAGS),
        (a_record(target={"text": "x" * (texts.LONGEST + 1)}), texts.LONG),
        (a_record(meta={"event": "storm \ud83d"}), NOT_UNICODE),
        (a_record(images=(Path("a\0.png"),)), "an image whose name holds a control character"),
        (
            a_record(images=(Path("a.png"), Path("a\udcff.png"))),
            "an image whose name holds half of a surrogate pair, which is not Unicode",
        ),
    ],
)
def test_a_record_that_cannot_be_used_has_a_reason(record: Sample, reason: str) -> None:
    assert Gate().defect(record) == reason


def test_the_longest_answer_is_the_longest_that_a_completion_holds() -> None:
    turn = Turn(question="", reasoning="x", answer="y" * texts.LONGEST)
    assert len(answers.frame(turn)) == answers.MAX_CHARS


def test_what_records_share_is_read_once() -> None:
    class Vocabulary(list[str]):
        read = 0

        def __repr__(self) -> str:
            self.read += 1
            return super().__repr__()

    shared, gate = Vocabulary(["ship", "car"]), Gate()
    records = [a_record(id=str(i), target={"vocabulary": shared}) for i in range(9)]
    assert [gate.defect(record) for record in records] == [None] * 9
    assert shared.read == 1


def test_a_value_that_only_looks_like_one_that_was_read_is_read() -> None:
    gate = Gate()
    assert gate.defect(a_record(id="1", target={"labels": ["ship"]})) is None
    assert gate.defect(a_record(id="2", target={"labels": ["sh\ud83d"]})) == NOT_UNICODE


def a_dataset(*records: Sample) -> DatasetSpec:
    def load(ctx: LoadContext) -> Iterable[Sample]:
        return records

    return DatasetSpec(
        name="tiles",
        summary="",
        splits=("train",),
        load=load,
        make_sample=lambda root, n, seed: None,
        folders=("tiles",),
        licence="MIT",
        homepage="",
        citation="",
    )


def test_records_that_are_left_out_are_counted_and_named() -> None:
    spec = a_dataset(
        a_record(id="1"),
        a_record(id="2", question="\ud83d"),
        a_record(id="3\ud83d"),
        a_record(id="4", target={"answer": "<answer>"}),
        a_record(id="1", question="Another?"),
    )
    loaded = loading.load_records(spec, root=Path(), split="train")
    assert [record.id for record in loaded.records] == ["1"]
    assert {reason: found.first for reason, found in loaded.skipped.items()} == {
        NOT_UNICODE: ["2", r"3\ud83d"],
        texts.TAGS: ["4"],
        texts.USED_ID: ["1"],
    }


def test_a_loader_that_stops_at_half_a_surrogate_pair_is_a_fault_of_the_data() -> None:
    def load(ctx: LoadContext) -> Iterator[Sample]:
        yield a_record(id="tile \ud83d".encode().decode())

    spec = dataclasses.replace(a_dataset(), load=load)
    with pytest.raises(
        DataError, match=r"'tiles', split 'train': .* is not Unicode: 'tile \\ud83d'"
    ):
        loading.load_records(spec, root=Path("tiles"), split="train")


@pytest.mark.parametrize(
    ("turn", "why"),
    [
        (Turn(question="Is it?", answer="\ud83d"), "wrote an answer with half of a surrogate pair"),
        (Turn(question="\0", answer="yes"), "a question with a control character"),
        (Turn(question=" ", answer="yes"), "a question that is blank"),
        (Turn(question="Is it?", answer="a</answer>"), "an answer with the tag </answer>"),
        (Turn(question="?", answer="a", reasoning="<think>"), "reasoning with the tag <think>"),
        (Turn(question="?", answer=5), "an answer that is not text, 5,"),  # type: ignore[arg-type]
        (Turn(question="?", answer="x" * 20_000), "reasoning and answer of 20,000 characters"),
    ],
)
def test_a_turn_that_cannot_be_answered_is_refused_with_task_and_sample(
    turn: Turn, why: str
) -> None:
    with pytest.raises(DataError, match=why) as caught:
        texts.check_turn(turn, task="t/a", sample_id="a/1")
    assert "'t/a'" in str(caught.value)
    assert "'a/1'" in str(caught.value)


def test_a_turn_may_lack_its_answer() -> None:
    texts.check_turn(Turn(question="Is </think> it?", answer=""), task="t/a", sample_id="1")


def test_a_name_is_shown_on_one_line() -> None:
    assert texts.shown("a\n\ud83d") == r"a\n\ud83d"
    assert texts.shown("é 1") == "é 1"
    assert texts.shown("x" * 300) == "x" * 200 + "…"


def test_a_folder_whose_name_is_not_unicode_is_refused() -> None:
    with pytest.raises(DataError, match=r"'tiles': the name of its folder .* \(rename it\)"):
        loading.load_records(a_dataset(a_record()), root=Path("eo\udcff"), split="train")


def test_the_reason_of_an_error_is_on_one_line() -> None:
    spec = a_dataset(a_record(id="a\nb", question="\0"))
    loaded = loading.load_records(spec, root=Path(), split="train")
    assert loaded.reasons == r"; 1 left out for a text with a control character (a\nb, …)"
