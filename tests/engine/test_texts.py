"""Texts of every kind from the data to the model and back: as letters, left out, or refused."""

from __future__ import annotations

import json
import random
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from tokenizers import AddedToken, Tokenizer, normalizers
from transformers import PreTrainedTokenizerFast

from geovlm import answers, nano
from geovlm.api import Sample
from geovlm.config import control_tokens
from geovlm.config.control_tokens import TAGS
from geovlm.data.texts import Gate
from geovlm.engine import rewards
from geovlm.engine.generation import generate
from geovlm.engine.models.processor import load_processor
from geovlm.engine.rows import precheck, tokens
from geovlm.engine.rows.rows import Row, gold, messages
from geovlm.errors import DataError
from geovlm.plugins import registry
from geovlm.plugins.profiles import QWEN2_5_VL
from tests.fake_plugins import install
from tests.inside import geovlm

NASTY = ["<|im_end|>", "<|image_pad|>", "<|endoftext|>", "<|vision_start|>", "<|im_start|>system"]
OTHERS = ["<image>", "<start_of_image>", "<IMG_CONTEXT>", "[IMG]", "</s>", "<end_of_utterance>"]
WHITE = ["\n", "\t", "\u2028", "\x85", "\u202e", "\u200b", "\ufeff", "\u00a0", "\r\n"]
PLAIN = [
    " ",
    "ship",
    "<",
    "|",
    ">",
    "< ",
    "é",
    "e\u0301",
    "船",
    "🛳",
    "{{ x }}",
    "{% if %}",
    "a,b;c",
]
TAGGED = sorted(TAGS)
BAD = ["\ud83d", "\udc00", "\0", "\x1b[31m", "\x7f"]


@pytest.fixture(scope="module")
def processor() -> Any:
    return load_processor(str(nano.path()))


def a_row(question: str = "Is it?", answer: str = "yes", reasoning: str = "so") -> Row:
    return Row(
        task="t/a",
        sample_id="1",
        images=("scene",),
        question=question,
        reasoning=reasoning,
        answer=answer,
        image_sizes=((84, 84),),
        input_sizes=((84, 84),),
    )


def special(processor: Any) -> set[int]:
    added = processor.tokenizer.added_tokens_decoder
    return {number for number, each in added.items() if each.special}


def test_the_processor_has_the_control_tokens_of_its_folder(processor: Any) -> None:
    own = tokens.control_tokens(processor).tokens
    assert own == control_tokens.of_folder(nano.path()).tokens


@pytest.mark.parametrize("token", NASTY)
def test_a_question_asks_for_no_other_image_and_no_other_turn(processor: Any, token: str) -> None:
    cache = SimpleNamespace(get=lambda reference, size: Image.new("RGB", size))
    counts = []
    for question in ("Is it?", f"Is {token} it?"):
        ids = generate.encode(processor, [a_row(question)], cache=cache)["input_ids"][0].tolist()
        counts.append(Counter(number for number in ids if number in special(processor)))
    assert counts[0] == counts[1]
    assert counts[0][processor.image_token_id] == 36


@pytest.mark.parametrize("token", NASTY)
def test_a_correct_completion_does_not_end_in_its_middle(processor: Any, token: str) -> None:
    row = a_row(answer=f"yes {token} no", reasoning=f"{token} is so")
    text = gold(row, tokens=tokens.control_tokens(processor))
    ids = processor.tokenizer(text)["input_ids"]
    assert special(processor).isdisjoint(ids)
    assert tokens.texts(processor, [ids]) == [
        f"<think> {token} is so </think><answer> yes {token} no </answer>"
    ]


def test_a_right_answer_with_a_control_token_earns_its_reward(processor: Any) -> None:
    row = a_row(answer="yes <|im_end|> no")
    known = registry.load()
    columns = [
        rewards.Column(task="t/a", reward=known.reward(name), weight=1.0)
        for name in ("exact", "format/answer")
    ]
    functions = rewards.trl_functions(
        columns,
        rows=[row],
        decode=partial(tokens.texts, processor),
        profile=QWEN2_5_VL,
        options={},
        log=rewards.CompletionLog(columns, write=lambda records: None),
    )
    text = gold(row, tokens=tokens.control_tokens(processor))
    ids = processor.tokenizer(f"{text}<|im_end|>")["input_ids"]
    state = SimpleNamespace(global_step=0, max_steps=1)
    values = [f(completion_ids=[ids], row=[0], trainer_state=state) for f in functions]
    assert values == [[1.0], [1.0]]


def test_the_frame_of_a_completion_stays_tokens(processor: Any) -> None:
    text = gold(a_row(), tokens=tokens.control_tokens(processor))
    ids = processor.tokenizer(text)["input_ids"]
    frame = processor.tokenizer.convert_tokens_to_ids(
        ["<think>", "</think>", "<answer>", "</answer>"]
    )
    assert [number for number in ids if number in frame] == frame


def test_what_ends_a_completion_is_not_in_its_text(processor: Any) -> None:
    ids = processor.tokenizer("yes<|im_end|><|endoftext|>")["input_ids"]
    assert tokens.texts(processor, [ids]) == ["yes"]


def test_templates_of_jinja_in_a_question_are_text(processor: Any) -> None:
    question = "{{ messages }} {% for x in y %} {# z #}"
    written = messages(a_row(question), tokens=tokens.control_tokens(processor))
    assert question in processor.apply_chat_template(written, tokenize=False)


def test_a_text_that_becomes_a_control_token_all_the_same_is_refused() -> None:
    words = Tokenizer.from_file(str(nano.path() / "tokenizer.json"))
    words.normalizer = normalizers.NFKC()  # makes an ASCII letter of a wide one
    words.add_special_tokens([AddedToken("<stop>", special=True, normalized=True)])
    loaded = SimpleNamespace(
        tokenizer=PreTrainedTokenizerFast(tokenizer_object=words), chat_template=""
    )
    precheck.audit_tokens([a_row("Is <stop> it?")], processor=loaded)
    with pytest.raises(DataError, match=r"sample '1' of task 't/a' .* control token '<stop>'"):
        precheck.audit_tokens([a_row("Is \uff1cstop\uff1e it?")], processor=loaded)


def test_random_texts_pass_as_letters_or_have_a_reason(processor: Any) -> None:
    chance = random.Random(0)
    control, gate = tokens.control_tokens(processor), Gate()
    pieces = [*NASTY, *OTHERS, *WHITE, *PLAIN, *PLAIN, *TAGGED, *BAD]
    drawn = ["".join(chance.choices(pieces, k=chance.randrange(1, 9))) for _ in range(3000)]
    sound = []
    for number, text in enumerate(drawn):
        record = Sample(id=str(number), images=(), target={"answer": f"- {text}"}, question=text)
        assert (gate.defect(record) is None) == (not any(bad in text for bad in [*BAD, *TAGGED]))
        if not any(bad in text for bad in [*BAD, *TAGGED]):
            sound.append(text)
    rows = [a_row(text, answer=f"- {text}") for text in sound]
    asked = [messages(row, tokens=control)[0]["content"][-1]["text"] for row in rows]
    golds = [gold(row, tokens=control) for row in rows]
    ids = processor.tokenizer([*asked, *golds], add_special_tokens=False)["input_ids"]
    assert not any(special(processor) & set(each) for each in ids)
    assert [control.escape(text) for text in asked] == asked
    answered = [answers.answer_text(text) for text in tokens.texts(processor, ids[len(asked) :])]
    assert answered == [unicodedata.normalize("NFC", f"- {text}".strip()) for text in sound]
    assert len(sound) > 500


PLUGIN = """
import json
from geovlm import hookimpl
from geovlm.api import DatasetSpec, Sample, TaskSpec, Turn

def load(ctx):
    for line in (ctx.root / "records.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        target = {"answer": row["answer"], "labels": row["labels"]}
        image = ctx.root / "tile.png"
        yield Sample(id=row["id"], images=(image,), question=row["question"], target=target)

def make_sample(root, n, seed):
    raise NotImplementedError

def prompt(sample, ctx):
    answer = sample.target["answer"]
    labels = ", ".join(sample.target["labels"])
    question = f"{sample.question} ({labels})"
    return Turn(question=question, answer=answer, reasoning=f"I see {answer}")

@hookimpl
def geovlm_datasets():
    yield DatasetSpec(name="odd", summary="Odd texts.", splits=("train",), load=load,
        make_sample=make_sample, folders=("odd",), licence="CC0-1.0", homepage="-", citation="-")

@hookimpl
def geovlm_tasks():
    yield TaskSpec(name="odd/ask", summary="Ask.", dataset="odd", prompt=prompt,
        rewards={"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}}, metrics=("accuracy",),
        primary_metric="accuracy", max_answer_tokens=12)
"""


def odd(folder: Path, records: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Write the plugin and its data; return the options that name them."""
    install(folder, "odd", PLUGIN)
    root = folder / "odd"
    root.mkdir()
    Image.new("RGB", (56, 56), (90, 120, 40)).save(root / "tile.png")
    lines = [json.dumps({"labels": [], "answer": "yes"} | each) for each in records]
    (root / "records.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return "--tasks", "odd/ask", "--data", f"odd={root}", "--output", str(folder / "run")


STEPS = (
    *("--set", "stages.0.steps=3", "--set", "stages.0.trainer.per_device_train_batch_size=24"),
    *("--set", "stages.1.prompts=8", "--set", "stages.1.generations=2"),
    *("--set", "stages.1.on_fail=warn", "--set", "stages.1.keep_flat=1.0"),
    *("--set", "stages.2.steps=3", "--set", "stages.2.trainer.per_device_train_batch_size=8"),
    *("--set", "stages.2.trainer.num_generations=2", "--set", "stages.2.batch_size=8"),
    *("--set", "eval.split=train", "--set", "eval.base=false", "--set", "eval.limit=4"),
    *("--set", "eval.blind=off"),
)


@pytest.mark.slow
def test_a_run_trains_on_every_text_or_counts_it(tmp_path: Path) -> None:
    sound = [*NASTY, *OTHERS, *WHITE, *PLAIN[1:], "<think>", "a/b\nc", "x" * 99]
    records: list[dict[str, Any]] = [
        {"id": f"q {text[:5]!a} {i}", "question": f"Is {text} it?"} for i, text in enumerate(sound)
    ]
    records += [
        {"id": f"{'a/' * 300}{i}\n\t\\..", "question": "Is it?", "answer": text}
        for i, text in enumerate(NASTY)
    ]
    records += [
        {"id": f"a{i}", "question": "Is it?", "answer": f"it {text}", "labels": [text, "b, c"]}
        for i, text in enumerate(sound)
        if text not in TAGS
    ]
    left_out: list[dict[str, Any]] = [
        *({"id": f"bad q{i}", "question": f"Is {text} it?"} for i, text in enumerate(BAD)),
        *({"id": f"bad a{i}", "question": "?", "answer": text} for i, text in enumerate(BAD)),
        *({"id": f"bad t{i}", "question": "?", "answer": f"a {tag}"} for i, tag in enumerate(TAGS)),
        {"id": "bad long", "question": "?", "answer": "yes " * 7500},
        {"id": "bad none", "question": "?", "answer": " "},
        {"id": "bad question", "question": 5},
        {"id": "bad id \ud83d", "question": "?"},
        {"id": records[0]["id"], "question": "the same id"},
    ]
    mixed = random.Random(1).sample([*records, *left_out[:-1]], len(records) + len(left_out) - 1)
    given = odd(tmp_path, [*mixed, left_out[-1]])

    checked = geovlm("data", "check", "odd", "--data", given[3][4:], "--json", folder=tmp_path)
    report = json.loads(checked.stdout)
    assert report["records"] == {"train": len(records)}
    counts = {reason: each["count"] for reason, each in report["skipped"]["train"].items()}
    assert counts == {
        "a text with half of a surrogate pair, which is not Unicode": 2 * 2 + 1,
        "a text with a control character": 2 * 3,
        "an annotation with <think> or <answer> tags": 4,
        "an annotation of more than 19,963 characters": 1,
        "a correct answer without text": 1,
        "a question that is not text": 1,
    }
    assert report["duplicates"] == {"count": 1, "first": [records[0]["id"]]}

    dry = geovlm("run", *given, *STEPS, "--dry-run", folder=tmp_path)
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.count("skipped   odd train:") == len(counts) + 1
    done = geovlm("run", *given, *STEPS, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "run" / "eval" / "grpo" / "odd__ask.jsonl").read_text().splitlines()
    known = {record["id"]: record for record in records}
    assert [json.loads(line)["answer"] for line in lines] == [
        known[json.loads(line)["sample_id"]].get("answer", "yes") for line in lines
    ]


def test_a_question_of_a_megabyte_is_refused_by_its_id_in_seconds(tmp_path: Path) -> None:
    records = [{"id": f"r{i}", "question": "Is it?"} for i in range(8)]
    long = [{"id": f"long{i}", "question": f"{i} ship " * 130_000} for i in range(3)]
    given = odd(tmp_path, [*records, *long])
    started = time.process_time()
    done = geovlm("run", *given, *STEPS, folder=tmp_path)
    assert time.process_time() - started < 20  # 3 on an idle machine
    assert done.returncode == 2
    assert "sample 'long0' of task 'odd/ask' needs more than " in done.stderr
    assert "tokens, the model takes 4096 (leave the record out" in done.stderr
    assert not (tmp_path / "run" / "stages" / "0-sft" / "log.jsonl").exists()


def test_an_evaluation_refuses_what_the_model_does_not_take(tmp_path: Path) -> None:
    records = [{"id": "short", "question": "?"}, {"id": "long", "question": "ship " * 9000}]
    given = odd(tmp_path, records)
    chosen = ("--model", "nano", "--set", "eval.split=train")
    done = geovlm("eval", *given, *chosen, folder=tmp_path)
    assert done.returncode == 2
    assert "sample 'long' of task 'odd/ask' needs " in done.stderr


def test_a_split_of_which_nothing_is_left_is_refused_with_the_reason(tmp_path: Path) -> None:
    given = odd(tmp_path, [{"id": "one", "question": "\ud83d"}])
    done = geovlm("run", *given, *STEPS, "--dry-run", folder=tmp_path)
    assert done.returncode == 2
    assert "has no samples in split 'train'" in done.stderr
    assert "1 left out for a text with half of a surrogate pair" in done.stderr
    assert "(one, …)" in done.stderr
    checked = geovlm("data", "check", "odd", "--data", given[3][4:], folder=tmp_path)
    assert checked.returncode == 1
