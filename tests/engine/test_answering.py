"""Answers in batches that a kill cannot spoil; the model is a function."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from geovlm import nano
from geovlm.config.model import with_pixels
from geovlm.data.prompts import visual_tokens
from geovlm.engine.generation import answering, generate
from geovlm.engine.generation.answering import PromptSet
from geovlm.engine.models.processor import load_processor
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row
from geovlm.plugins.profiles import INTERNVL, QWEN2_5_VL
from geovlm.raster import reference


def a_row(number: int) -> Row:
    return Row(
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


ROWS = [a_row(i) for i in range(5)]
PROMPTS = PromptSet(name="model", rows=ROWS, temperatures=(0.0, 0.9))
BATCHES = answering.batched(ROWS, size=2, length=lambda row: len(row.question))


class Model:
    """Answers with what it was asked, and remembers who asked; may die."""

    def __init__(self, *, calls: int = 100) -> None:
        self.asked: list[str] = []
        self._left = calls

    def __call__(self, rows: Sequence[Row], temperature: float, seed: int) -> list[str]:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        self.asked += [row.sample_id for row in rows]
        return [f"{row.sample_id} at {temperature} from {seed}" for row in rows]


def answer(model: Model, folder: Path, **share: int) -> dict[str, list[str]]:
    return answering.answer(PROMPTS, model, folder=folder, batches=BATCHES, seed=7, **share)


def test_every_row_has_a_text_per_temperature(tmp_path: Path) -> None:
    found = answer(Model(), tmp_path)
    assert len(found) == 5
    # the longest come first: rows 4 and 3, then 2 and 1, then 0
    assert found["t/a\t4"] == ["4 at 0.0 from 7", "4 at 0.9 from 7"]
    assert found["t/a\t0"] == ["0 at 0.0 from 9", "0 at 0.9 from 9"]


def test_answers_at_one_temperature_have_seeds_of_their_own(tmp_path: Path) -> None:
    prompts = dataclasses.replace(PROMPTS, temperatures=(0.0, 0.9, 0.9))
    found = answering.answer(prompts, Model(), folder=tmp_path, batches=BATCHES, seed=7)
    other = 9 + answering.SEEDS_APART
    assert found["t/a\t0"] == ["0 at 0.0 from 9", "0 at 0.9 from 9", f"0 at 0.9 from {other}"]


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
    done: list[tuple[int, bool]] = []
    place = {"rank": rank, "world_size": world_size}

    def advance(n: int, *, fresh: bool) -> None:
        done.append((n, fresh))

    given = {"folder": tmp_path, "batches": BATCHES, "seed": 7, "advance": advance, **place}
    answering.answer(PROMPTS, Model(), **given)
    assert (sum(n for n, _ in done), all(fresh for _, fresh in done)) == (texts, True)
    done.clear()
    answering.answer(PROMPTS, Model(), **given)
    assert (sum(n for n, _ in done), any(fresh for _, fresh in done)) == (texts, False)
    assert answering.n_texts(PROMPTS, batches=BATCHES, **place) == texts


def test_a_prompt_is_as_long_as_the_processor_makes_it(tmp_path: Path) -> None:
    Image.new("RGB", (84, 84)).save(tmp_path / "a.png")
    image = json.dumps(reference.encode(tmp_path / "a.png"))
    rows = [
        dataclasses.replace(a_row(0), images=(image,) * n, input_sizes=((84, 84),) * n, question=q)
        for n in (1, 2)
        for q in ("How many buildings are there?", "Is there a road?")
    ]
    processor = load_processor(str(nano.path()))
    length = generate.lengths(processor, profile=with_pixels(QWEN2_5_VL, "nano"))
    around = {
        int(generate.encode(processor, [row], cache=ImageCache())["attention_mask"].sum())
        - length(row)
        - 2 * len(row.images)  # begin and end of an image
        for row in rows
    }
    assert len(around) == 1  # the chat template's


def test_images_count_in_the_family_s_tokens() -> None:
    assert visual_tokens([(56, 84), (28, 28)], profile=QWEN2_5_VL) == 7
    assert visual_tokens([(896, 448)], profile=INTERNVL) == 512


def test_batches_go_by_tokens_not_by_the_number_of_images() -> None:
    rows = [a_row(i) for i in range(4)]
    tokens = dict(zip((row.key for row in rows), (10, 40, 10, 40), strict=True))
    found = answering.batched(rows, size=2, length=lambda row: tokens[row.key])
    assert [[row.sample_id for row in batch] for batch in found] == [["1", "3"], ["0", "2"]]
