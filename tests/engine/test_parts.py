"""The engine's own arithmetic: routing, probe, cache, logs. Nothing here trains."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import tracemalloc
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageChops

from geovlm import nano
from geovlm.api import Raster, RewardSpec, Sample, TaskSpec, Turn
from geovlm.config.control_tokens import ControlTokens
from geovlm.config.schema import RunConfig
from geovlm.data import prompts
from geovlm.data.prompts import Prompt, Prompter, reward_context
from geovlm.engine import rewards
from geovlm.engine.models import load
from geovlm.engine.models.processor import load_processor
from geovlm.engine.rows import precheck
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rendering import Chat
from geovlm.engine.rows.rows import Picked, Row, Rows, dataset
from geovlm.engine.training import grpo, probe
from geovlm.errors import DataError, RewardError, RunFailedError
from geovlm.plugins import registry
from geovlm.plugins.profiles import QWEN2_5_VL
from geovlm.raster.reference import encode


def a_row(task: str = "t/a", sample_id: str = "1", **target: object) -> Row:
    return Row(
        task=task,
        sample_id=sample_id,
        images=(),
        question="What?",
        reasoning="because",
        answer="yes",
        target=target or {"answer": "yes"},
        image_sizes=((100, 100),),
        input_sizes=((84, 84),),
        meta={},
    )


def a_task(name: str, **fields: Any) -> TaskSpec:
    return TaskSpec(
        name=name,
        summary="",
        dataset="d",
        prompt=lambda sample, ctx: None,  # type: ignore[arg-type,return-value]
        rewards={"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}},
        metrics=("accuracy",),
        primary_metric="accuracy",
        **fields,
    )


def test_a_task_without_reasoning_earns_its_format_by_the_answer_block() -> None:
    both = [a_task("t/a"), a_task("t/b", reasoning="none")]
    cols = rewards.columns(both, registry=registry.load(), active="paper")
    own = {c.reward.name: c.weight for c in cols if c.task == "t/b"}
    assert own == {"format/answer": 1.0, "jaccard": 1.0, "exact": 0.0}
    said, row = "<answer> yes </answer>", a_row("t/b", answer="yes")
    ((total, parts),) = rewards.totals(cols, [said], [reward_context(row, profile=QWEN2_5_VL)])
    assert (total, parts) == (2.0, {"format/answer": 1.0, "jaccard": 1.0, "exact": 1.0})


def test_columns_hold_format_active_and_logged_rewards() -> None:
    cols = rewards.columns([a_task("t/a")], registry=registry.load(), active="paper")
    assert {c.name: c.weight for c in cols} == {
        "t/a/format/think": 0.5,
        "t/a/format/answer": 0.5,
        "t/a/jaccard": 1.0,
        "t/a/exact": 0.0,
    }


def test_each_row_is_scored_by_its_own_task_only() -> None:
    cols = rewards.columns([a_task("t/a"), a_task("t/b")], registry=registry.load(), active="paper")
    written: list[dict[str, object]] = []
    functions = rewards.trl_functions(
        cols,
        rows=[a_row("t/c"), a_row("t/a"), a_row("t/b", answer="no")],
        decode=lambda ids: ["<think> x </think><answer> yes </answer>"] * len(ids),
        profile=QWEN2_5_VL,
        options={},
        log=rewards.CompletionLog(cols, write=written.extend),
    )
    state = SimpleNamespace(global_step=3, max_steps=10)
    values = {
        f.__name__: f(completion_ids=[[1], [2]], row=[1, 2], trainer_state=state) for f in functions
    }
    assert values["t/a/jaccard"] == [1.0, None]
    assert values["t/b/jaccard"] == [None, 0.0]
    assert [record["reward"] for record in written] == [2.0, 1.0]
    assert written[0]["step"] == 3


def test_all_columns_read_a_batch_that_is_decoded_once() -> None:
    cols = rewards.columns([a_task("t/a"), a_task("t/b")], registry=registry.load(), active="paper")
    decoded: list[Sequence[Sequence[int]]] = []

    def decode(ids: Sequence[Sequence[int]]) -> list[str]:
        decoded.append(ids)
        return [
            f"<think> x </think><answer> {'yes' if each == [1] else 'no'} </answer>" for each in ids
        ]

    functions = rewards.trl_functions(
        cols,
        rows=[a_row("t/a"), a_row("t/a")],
        decode=decode,
        profile=QWEN2_5_VL,
        options={},
        log=rewards.CompletionLog(cols, write=lambda records: None),
    )
    state = SimpleNamespace(global_step=3, max_steps=10)
    first, second = [[1], [2]], [[2], [1]]
    for ids in (first, second):
        values = {
            f.__name__: f(completion_ids=ids, row=[0, 1], trainer_state=state) for f in functions
        }
        assert values["t/a/jaccard"] == [float(each == [1]) for each in ids]
    assert decoded == [first, second]


def test_a_reward_outside_its_range_stops_the_run_by_name() -> None:
    bad = RewardSpec(name="t/bad", summary="", score=lambda completion, ctx: 7.0)
    context = prompts.reward_context(a_row(), profile=QWEN2_5_VL, options={})
    with pytest.raises(RewardError, match=r"'t/bad' returned 7\.0.*'t/a'.*'1'"):
        rewards.score(bad, ["x"], [context])


def test_a_reward_that_raises_stops_the_run_by_name() -> None:
    def broken(completion: str, ctx: object) -> float:
        raise KeyError("height")

    bad = RewardSpec(name="t/bad", summary="", score=broken)
    context = prompts.reward_context(a_row(), profile=QWEN2_5_VL, options={})
    with pytest.raises(RewardError, match="'t/bad' raised KeyError"):
        rewards.score(bad, ["x"], [context])


def test_a_large_image_made_of_bands_is_read_at_about_the_size_that_is_shown(
    tmp_path: Path,
) -> None:
    ramp = Image.linear_gradient("L").resize((4100, 4000)).convert("RGB")
    ramp.save(tmp_path / "scene.jpg")
    bands = {"red": 1, "green": 2, "blue": 3}
    scene = Raster(
        file=tmp_path / "scene.jpg", bands=("red", "green", "blue"), high=255, band_index=bands
    )
    tracemalloc.start()
    shown = ImageCache().get(json.dumps(encode(scene)), (112, 112))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4100 * 4000  # a whole band has four bytes per pixel
    difference = ImageChops.difference(shown, ramp.resize((112, 112)))
    assert max(high for _, high in difference.getextrema()) <= 3


def test_images_are_opened_once_and_kept_within_the_bound(tmp_path: Path) -> None:
    references = []
    for i in range(3):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (50, 50), (i, i, i)).save(path)
        references.append(json.dumps(str(path)))
    cache = ImageCache(max_bytes=2 * 28 * 28 * 3)
    for reference in (references[0], references[0], references[1]):
        assert cache.get(reference, (28, 28)).size == (28, 28)
    assert cache.opened == 2
    cache.get(references[2], (28, 28))  # pushes the first one out
    cache.get(references[0], (28, 28))
    assert cache.opened == 4


def a_prompt(sample_id: str, question: str) -> Prompt:
    return Prompt(
        task="t/a",
        sample=Sample(id=sample_id, images=(), target={}),
        turn=Turn(question=question, answer="yes", reasoning="because"),
        image_sizes=(),
        input_sizes=(),
    )


class Words:
    """A tokenizer that takes a word for a token, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.at_once: list[int] = []

    def __call__(self, texts: Sequence[str]) -> list[int]:
        self.asked += texts
        self.at_once.append(len(texts))
        return [len(text.split()) for text in texts]


def audit(asked: list[Prompt], *, words: Words, limit: int) -> None:
    precheck.audit_lengths(
        asked,
        task="t/a",
        instruction="Think.",
        tokens=ControlTokens(["<|im_end|>"]),
        count_tokens=words,
        count_images=lambda each: 9,
        limit=limit,
    )


def test_a_row_that_does_not_fit_is_named_before_training() -> None:
    # 300 words, "Think.<think>", "because", "</think><answer>", "yes", "</answer>"; 9 of the image
    asked = [a_prompt("short", "What?"), a_prompt("long", " ".join(["what"] * 300))]
    with pytest.raises(DataError, match=r"sample 'long' of task 't/a' needs 314 tokens, .* 313"):
        audit(asked, words=Words(), limit=313)
    audit(asked, words=Words(), limit=314)


def test_a_text_shorter_than_the_room_needs_no_tokenizer() -> None:
    words = Words()
    audit([a_prompt(str(i), f"What is in picture {i}?") for i in range(9)], words=words, limit=1000)
    assert words.asked == [""]


def test_the_same_text_is_tokenized_once() -> None:
    words = Words()
    audit([a_prompt(str(i), "what " * 300) for i in range(9)], words=words, limit=1000)
    assert len(words.asked) == 2


def test_letters_that_may_take_several_tokens_are_always_tokenized() -> None:
    words = Words()
    audit([a_prompt("1", "Où est l'aéroport ?")], words=words, limit=1000)
    assert len(words.asked) == 2


def test_a_control_token_is_measured_as_letters() -> None:
    words = Words()
    audit([a_prompt("1", "what <|im_end|> " * 300)], words=words, limit=2000)
    assert words.asked[1].count("< |im_end|>") == 300
    assert "<|im_end|>" not in words.asked[1]


def test_long_texts_are_tokenized_a_few_at_a_time() -> None:
    words = Words()
    asked = [a_prompt(str(i), f"{i} {'what ' * 4000}") for i in range(300)]  # 20 kB each
    audit(asked, words=words, limit=4020)
    assert max(words.at_once) == 210  # 4 MB


def test_a_text_that_cannot_fit_is_refused_by_its_beginning() -> None:
    words = Words()
    with pytest.raises(DataError, match=r"sample '1' of task 't/a' needs more than 3209 tokens"):
        audit([a_prompt("1", "what " * 400_000)], words=words, limit=1000)
    assert max(map(len, words.asked)) == 16_000


def test_a_long_text_whose_beginning_fits_is_measured_as_a_whole() -> None:
    words = Words()
    audit([a_prompt("1", f"{'w' * 20_000} w")], words=words, limit=1000)
    assert max(map(len, words.asked)) > 20_000


def test_rows_are_written_when_they_are_asked_for(tmp_path: Path) -> None:
    written: list[str] = []
    tile = tmp_path / "tile.png"
    Image.new("RGB", (56, 56)).save(tile)

    def prompt(sample: Sample, ctx: object) -> Turn:
        written.append(sample.id)
        return Turn(question="What?", answer="yes", reasoning="because")

    rows = Rows(
        samples=[Sample(id=str(i), images=(tile,), target={}) for i in range(100)],
        prompter=Prompter(dataclasses.replace(a_task("t/a"), prompt=prompt), profile=QWEN2_5_VL),
        instruction="",
    )
    mixed = Picked({"t/a": rows}, [("t/a", 7), ("t/a", 3)])
    chat = Chat.of(load_processor(str(nano.path())))
    table = dataset(mixed, cache=ImageCache(), tokens=ControlTokens(()), chat=chat)
    assert (len(rows), len(table), written) == (100, 2, [])
    assert [record["row"] for record in table] == [0, 1]
    assert [mixed[record["row"]] for record in table] == [rows[7], rows[3]]
    assert written[:2] == ["7", "3"]


def test_the_rows_of_a_stage_are_not_pickled_with_its_data_set() -> None:
    row = dataclasses.replace(a_row(), image_sizes=(), input_sizes=())
    table = dataset([row], cache=ImageCache(), tokens=ControlTokens(()))
    assert copy.deepcopy(table)[0]["row"] == 0
    with pytest.raises(RunFailedError, match="stay in its process"):
        pickle.loads(pickle.dumps(table))


def record(key: str, total: float, **rewards_: float) -> dict[str, object]:
    values = {"format/think": 1.0, "format/answer": 1.0, **rewards_}
    return {"key": key, "total": total, "rewards": values, "tokens": 10, "task": "t/a"}


def test_the_probe_keeps_prompts_with_signal_and_a_share_of_the_others() -> None:
    found = [record("lively", 1.0), record("lively", 2.0)]
    found += [record(f"flat{i}", float(i)) for i in range(4) for _ in range(2)]
    assert set(probe.choose(found, keep_flat=0.0)) == {"lively"}
    assert set(probe.choose(found, keep_flat=0.5)) == {"lively", "flat0"}
    assert len(probe.choose(found, keep_flat=1.0)) == 5


def test_the_probe_stops_on_a_constant_reward() -> None:
    found = [record(f"p{i}", 1.0) for i in range(4) for _ in range(2)]
    summary = probe.summarise(found, limit=40)
    assert summary["flat_share"] == 1.0
    complaint = probe.gate({"t/a": summary}, min_format_rate=0.5)
    assert complaint is not None
    assert "constant on every prompt, 1.00 on average" in complaint.reason
    assert "temperature" in complaint.advice


def test_the_probe_stops_on_broken_tags() -> None:
    found = [record("p", 0.0), record("p", 1.0)]
    for each in found:
        each["rewards"]["format/answer"] = 0.0  # type: ignore[index]
    complaint = probe.gate({"t/a": probe.summarise(found, limit=40)}, min_format_rate=0.5)
    assert complaint is not None
    assert "keeps the tags in 0%" in complaint.reason
    assert "<think> in 100%, <answer> in 0%" in complaint.reason
    assert complaint.advice == "train SFT longer"


def test_the_probe_asks_a_task_without_reasoning_for_the_answer_block_alone() -> None:
    found = [record("p", 0.0), record("p", 1.0)]
    for each in found:
        del each["rewards"]["format/think"]  # type: ignore[attr-defined]
    assert probe.summarise(found, limit=40)["format_rate"] == 1.0
    found[0]["rewards"]["format/answer"] = 0.0  # type: ignore[index]
    complaint = probe.gate({"t/a": probe.summarise(found, limit=40)}, min_format_rate=0.6)
    assert complaint is not None
    assert complaint.reason.endswith("60% are needed: <answer> in 50%")


def test_the_probe_names_answers_that_are_cut() -> None:
    found = [record("p", 0.0), record("p", 1.0)]
    for each in found:
        each["rewards"]["format/answer"] = 0.0  # type: ignore[index]
    complaint = probe.gate({"t/a": probe.summarise(found, limit=10)}, min_format_rate=0.5)
    assert complaint is not None
    assert complaint.reason.endswith("; 100% are cut at 10 tokens")
    assert complaint.advice.startswith("raise max_new_tokens")


def test_a_second_stage_of_a_kind_is_scored_under_its_own_name() -> None:
    stages = [{"kind": kind, "steps": 1} for kind in ("sft", "grpo", "sft")]
    config = RunConfig.model_validate({"stages": stages})
    assert [config.evaluation_name(i) for i in range(3)] == ["sft", "grpo", "sft-2"]


def test_a_cut_off_image_is_found_before_training(tmp_path: Path) -> None:
    rows = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        noise = Image.effect_noise((64, 64), 50).convert("RGB")
        noise.save(path)
        rows.append(
            dataclasses.replace(
                a_row(sample_id=str(number)),
                images=(json.dumps(encode(path)),),
                image_sizes=((64, 64),),
                input_sizes=((56, 56),),
            )
        )
    precheck.audit_images(rows, cache=ImageCache())
    damaged = tmp_path / "2.png"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"2\.png: the image is damaged or cut off"):
        precheck.audit_images(rows, cache=ImageCache())


def test_every_task_goes_from_easy_to_hard_at_the_same_pace() -> None:
    rows = [a_row("t/easy", str(i)) for i in range(4)] + [a_row("t/hard", str(i)) for i in range(2)]
    pays = {"t/easy": [1.7, 1.9, 1.6, 1.8], "t/hard": [0.2, 0.4]}
    reward = {row.key: pays[row.task][int(row.sample_id)] for row in rows}
    ordered = grpo.easy_to_hard(rows, reward)
    assert [(row.task[2:], row.sample_id) for row in ordered] == [
        ("easy", "1"),
        ("hard", "1"),  # a quarter of the way through its task
        ("easy", "3"),
        ("easy", "0"),
        ("hard", "0"),
        ("easy", "2"),
    ]


def test_frequent_answers_go_from_easy_to_hard_side_by_side() -> None:
    """A model that says no to everything finds all questions easy to which no is the answer."""
    said = ["no"] * 4 + ["yes"] * 4 + ["7", "9"]
    rows = [dataclasses.replace(a_row("t", str(i)), answer=gold) for i, gold in enumerate(said)]
    reward = {row.key: 1.9 - 0.1 * i for i, row in enumerate(rows)}
    ordered = [row.answer for row in grpo.easy_to_hard(rows, reward)]
    assert ordered[:4] == ["no", "yes", "7", "no"]
    assert {"no", "yes"} <= set(ordered[-3:])
    assert [row.sample_id for row in grpo.easy_to_hard(rows, reward) if row.answer == "no"] == [
        *("0", "1", "2", "3")
    ]


def test_the_weight_of_the_format_is_the_engine_s_unless_the_active_set_has_its_own() -> None:
    own = {"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0, "format/think": 2.0}}
    task = dataclasses.replace(a_task("t/a"), rewards=own)
    for active, weight in (("paper", 0.5), ("robust", 2.0)):
        cols = rewards.columns([task], registry=registry.load(), active=active)
        assert {c.reward.name: c.weight for c in cols}["format/think"] == weight


def test_a_sample_without_an_image_is_named() -> None:
    blind = Sample(id="7", images=(), target={})
    with pytest.raises(DataError, match="sample '7' of task 't/a' has no image"):
        Prompter(a_task("t/a"), profile=QWEN2_5_VL).prompt(blind)


def test_a_model_is_freed_although_it_refers_to_itself() -> None:
    made = load.load(str(nano.path()), RunConfig(device="cpu"), registry=registry.load()).model
    assert "get_image_features" in vars(made.base_model)
    gone = weakref.ref(made)
    del made
    load.free()
    assert gone() is None
