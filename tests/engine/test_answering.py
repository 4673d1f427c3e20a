"""Answers in batches that a kill cannot spoil; the model is a function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from geovlm.engine import answering, data
from geovlm.engine.answering import Ask


def a_row(number: int) -> data.Row:
    return data.Row(
        task="t/a",
        sample_id=str(number),
        images=("scene",),
        question="What?" + "?" * number,
        reasoning="because",
        answer="yes",
        target={"answer": "yes"},
        image_sizes=((100, 100),),
        input_sizes=((84, 84),),
        meta={},
    )


ASK = Ask(name="model", rows=[a_row(i) for i in range(5)], temperatures=(0.0, 0.9))


class Model:
    """Answers with what it was asked, and remembers who asked; may die."""

    def __init__(self, *, calls: int = 100) -> None:
        self.asked: list[str] = []
        self._left = calls

    def __call__(self, rows: Sequence[data.Row], temperature: float, seed: int) -> list[str]:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        self.asked += [row.sample_id for row in rows]
        return [f"{row.sample_id} at {temperature} from {seed}" for row in rows]


def answer(model: Model, folder: Path, **share: int) -> dict[str, list[str]]:
    return answering.answer(ASK, model, folder=folder, batch_size=2, seed=7, **share)


def test_every_row_has_a_text_per_temperature(tmp_path: Path) -> None:
    found = answer(Model(), tmp_path)
    assert len(found) == 5
    # the longest questions come first: rows 4 and 3, then 2 and 1, then 0
    assert found["t/a\t4"] == ["4 at 0.0 from 7", "4 at 0.9 from 7"]
    assert found["t/a\t0"] == ["0 at 0.0 from 9", "0 at 0.9 from 9"]


def test_a_killed_evaluation_asks_only_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        answer(Model(calls=3), tmp_path)  # in the middle of the second batch
    second = Model()
    found = answer(second, tmp_path)
    assert second.asked == ["2", "1", "2", "1", "0", "0"]
    assert found == answer(Model(), tmp_path / "undisturbed")


def test_a_torn_last_line_is_asked_again(tmp_path: Path) -> None:
    whole = answer(Model(), tmp_path)
    file = tmp_path / "model.0.jsonl"
    file.write_bytes(file.read_bytes()[:-9])  # row 0 was the last one
    second = Model()
    assert answer(second, tmp_path) == whole
    assert second.asked == ["0", "0"]
    assert answer(Model(calls=0), tmp_path) == whole


def test_ranks_share_the_batches_and_give_the_same_answers(tmp_path: Path) -> None:
    alone = answer(Model(), tmp_path / "alone")
    parts = [answer(Model(), tmp_path / "two", rank=rank, world_size=2) for rank in (0, 1)]
    assert sorted(map(len, parts)) == [2, 3]
    assert parts[0] | parts[1] == alone


def test_what_two_ranks_answered_is_kept_when_one_goes_on(tmp_path: Path) -> None:
    answer(Model(), tmp_path, rank=1, world_size=2)
    second = Model()
    answer(second, tmp_path)
    assert second.asked == ["4", "3", "4", "3", "0", "0"]


@pytest.mark.parametrize(("rank", "world_size", "texts"), [(0, 1, 10), (0, 2, 6), (1, 2, 4)])
def test_progress_counts_up_to_the_share_of_the_process(
    tmp_path: Path, rank: int, world_size: int, texts: int
) -> None:
    done: list[int] = []
    place = {"rank": rank, "world_size": world_size}
    answering.answer(
        ASK, Model(), folder=tmp_path, batch_size=2, seed=7, advance=done.append, **place
    )
    assert sum(done) == texts
    assert answering.n_texts(ASK, batch_size=2, **place) == texts
