"""`geovlm eval` of a model behind an endpoint, against a stand-in that answers and fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from geovlm import answers, raster
from geovlm.data import loading
from geovlm.data.prompts import Prompter
from geovlm.engine.rows.rows import with_instruction
from geovlm.plugins import registry
from geovlm.plugins.profiles import SERVED
from tests import inside
from tests.standin import MODEL, Asked, Response, error, said, seen, serving

KEY = "sk-geovlm-0123456789abcdef"
TASKS = ("rsvqa/lr", "xbd/detect")
RECORDS = 6
QUICK = ["sample.records=6", "eval.resamples=10", "served.backoff_s=0.001", "served.retries=1"]
FRAME = "profile.box_frame=input_pixels"


def evaluate(
    url: str, output: Path, *more: str, tasks: str = ",".join(TASKS)
) -> subprocess.CompletedProcess[str]:
    words = ["eval", "--model", f"openai:{MODEL}", "--base-url", url, "--tasks", tasks]
    sets = [word for each in QUICK for word in ("--set", each)]
    words += ["--output", str(output), "--limit", "6", *sets, *more]
    return inside.geovlm(*words, OPENAI_API_KEY=KEY)


def metrics(output: Path) -> dict[str, Any]:
    return json.loads((output / "metrics.json").read_text())["tasks"]


def correct_answers(task_name: str) -> dict[str, str]:
    """Return name of question and images, as the endpoint sees them -> correct completion."""
    known = registry.load()
    task = known.task(task_name)
    spec = known.dataset(task.dataset)
    root = loading.sample_root(spec, n=RECORDS, seed=0)
    records = loading.load_records(spec, root=root, split="test", options=None).records
    profile = replace(SERVED, box_frame="input_pixels")
    prompter = Prompter(task, profile=profile)
    found = {}
    for sample in loading.task_samples(task, records):
        prompt = prompter.prompt(sample)
        opened = [raster.open_image(image) for image in sample.images]
        images = [
            each.resize(size) for each, size in zip(opened, prompt.picture_sizes, strict=True)
        ]
        found[seen(with_instruction(prompt, answers.INSTRUCTION), images)] = prompt.gold
    return found


def perfect(correct: Mapping[str, str]) -> Callable[[Asked], Response]:
    """Return an endpoint that knows the answers, and says `nothing` of other images."""
    return lambda asked: said(
        correct.get(seen(asked.question, asked.images), "<answer> nothing </answer>")
    )


@pytest.fixture(scope="module")
def correct() -> dict[str, str]:
    return {name: text for task in TASKS for name, text in correct_answers(task).items()}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, correct: dict[str, str]) -> Path:
    """An evaluation of a perfect model on two tasks."""
    output = tmp_path_factory.mktemp("served") / "run"
    with serving(perfect(correct)) as server:
        done = evaluate(server.url, output, "--set", FRAME)
    assert done.returncode == 0, done.stderr
    assert {asked.authorization for asked in server.asked} == {f"Bearer {KEY}"}
    return output


def test_a_perfect_model_has_perfect_scores(scored: Path) -> None:
    found = metrics(scored)
    bases = {task: found[task]["stages"]["base"] for task in TASKS}
    assert [bases[task]["metrics"][found[task]["primary"]] for task in TASKS] == [1.0, 1.0]
    assert [bases[task]["cut"] for task in TASKS] == [0, 0]
    assert all(bases[task]["sampled_reward"] == bases[task]["greedy_reward"] for task in TASKS)


def test_blind_answers_are_asked_with_other_images(scored: Path) -> None:
    blind = metrics(scored)["rsvqa/lr"]["blind"]
    assert set(blind) == {"majority", "text_only", "shuffled"}
    assert max(max(blind[name]["metrics"].values()) for name in ("text_only", "shuffled")) < 1


def test_scores_are_those_of_any_model_and_what_was_paid(scored: Path) -> None:
    entry = metrics(scored)["rsvqa/lr"]["stages"]["base"]
    assert {"ci95", "prompt_sha256", "published", "unreadable", "decoding"} <= entry.keys()
    assert entry["decoding"]["metrics"] == "greedy"
    paid = entry["served"]
    assert (paid["refused"], paid["empty"], paid["cut"]) == (0, 0, 0)
    assert paid["models"] == [f"{MODEL}-1"]
    assert paid["prompt_tokens"] == 100 * paid["answers"]
    assert f"openai:{MODEL} at http://127.0.0.1" in (scored / "report.html").read_text()


def test_the_key_is_written_nowhere(scored: Path) -> None:
    files = [path for path in scored.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_nothing_is_paid_twice(scored: Path, correct: dict[str, str], tmp_path: Path) -> None:
    kept = f"served.cache={scored / 'served'}"
    with serving(perfect(correct)) as server:
        done = evaluate(server.url, tmp_path / "again", "--set", FRAME, "--set", kept)
    assert done.returncode == 0, done.stderr
    assert len(server.asked) == 1  # the probe
    again, first = metrics(tmp_path / "again"), metrics(scored)
    for each in (again, first):
        for task in TASKS:
            del each[task]["stages"]["base"]["served"]
    assert again == first


def test_a_limit_stops_and_a_resumed_evaluation_loses_nothing(
    correct: dict[str, str], tmp_path: Path
) -> None:
    one = ("--set", "served.concurrency=1", "--set", "eval.blind=off")
    output, limit = tmp_path / "run", ("--set", "served.token_limit=440")
    with serving(perfect(correct)) as server:
        limited = evaluate(server.url, output, *one, *limit, tasks="rsvqa/lr")
        paid = len(server.asked)
        resumed = evaluate(server.url, output, *one, "--resume", tasks="rsvqa/lr")
    assert limited.returncode == 1
    assert "440 tokens, served.token_limit is 440" in limited.stderr
    assert "go on with --resume" in limited.stderr
    assert paid == 5  # with the probe
    assert resumed.returncode == 0, resumed.stderr
    found = metrics(output)["rsvqa/lr"]
    assert found["stages"]["base"]["metrics"][found["primary"]] == 1.0
    served = found["stages"]["base"]["served"]
    assert served["reused"] >= 4
    assert len(server.asked) - 2 == 4 + served["answers"] - served["reused"]


def test_a_server_that_dies_is_one_line_and_what_it_answered_is_kept(
    correct: dict[str, str], tmp_path: Path
) -> None:
    output, answer, left = tmp_path / "run", perfect(correct), iter(range(6))
    more = ("--set", "eval.blind=off", "--set", "served.concurrency=2")
    with serving(
        lambda asked: answer(asked) if next(left, None) is not None else error(500, "gone")
    ) as server:
        broken = evaluate(server.url, output, *more, tasks="rsvqa/lr")
    assert broken.returncode == 1
    last = broken.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "HTTP 500: gone, 2 times (sample " in last
    with serving(answer) as server:
        resumed = evaluate(server.url, output, *more, "--resume", tasks="rsvqa/lr")
    assert resumed.returncode == 0, resumed.stderr
    assert metrics(output)["rsvqa/lr"]["stages"]["base"]["served"]["reused"] >= 5


def test_refusals_and_empty_answers_are_wrong_and_counted(tmp_path: Path) -> None:
    replies = [said(None, refusal="No."), said(""), said("<answer> yes", finish="length")]
    number = iter(range(10_000))
    with serving(lambda _: replies[next(number) % 3]) as server:
        done = evaluate(
            server.url, tmp_path / "run", "--set", "served.concurrency=1",
            "--set", "eval.blind=off", tasks="xbd/affected",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    entry = metrics(tmp_path / "run")["xbd/affected"]["stages"]["base"]
    counts = entry["served"]
    assert counts["refused"] + counts["empty"] + counts["cut"] == 6
    assert entry["cut"] == counts["cut"] / 6
    assert entry["unreadable"] == 1
    assert set(entry["metrics"].values()) == {0.0}
    assert f"of 6 greedy answers {counts['refused']} refused" in done.stderr


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (error(401, f"wrong key {KEY}"), "does not accept the key"),
        (error(400, "no image input"), "does the model take images?"),
    ],
)
def test_an_endpoint_that_cannot_work_is_refused_before_anything_is_written(
    response: Response, expected: str, tmp_path: Path
) -> None:
    with serving(lambda _: response) as server:
        done = evaluate(server.url, tmp_path / "run", tasks="xbd/affected")
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("error: ")]
    assert expected in line
    assert KEY not in done.stderr
    assert done.returncode == 1
    assert len(server.asked) == 1
    assert not (tmp_path / "run").exists()


def test_a_wrong_path_is_refused(tmp_path: Path) -> None:
    with serving(lambda _: said("yes")) as server:
        done = evaluate(f"{server.url}/v2", tmp_path / "run", tasks="xbd/affected")
    assert "it often ends in /v1" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model", "openai:m", "--tasks", "xbd/affected"], "needs the address of its endpoint"),
        (["--model", "openai:m", "--base-url", "http://h/v1", "--tasks", "xbd/detect"],
         "the frame of its boxes is not known"),
        (["--model", "nano", "--base-url", "http://h/v1", "--tasks", "xbd/affected"],
         "model 'nano' is not served"),
        (["--model", "openai:m", "--base-url", "http://h/v1", "--tasks", "xbd/affected",
          "--processes", "2"], "one process sends the requests"),
        (["--model", "openai:m", "--base-url", "http://h/v1?key=sk-1", "--tasks", "xbd/affected"],
         "no user, password or query"),
        (["--model", "openai:m", "--base-url", "http://h/v1", "--tasks", "xbd/affected",
          "--set", "served.family=qwen9"], "no model profile for model type 'qwen9'"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(words: list[str], expected: str, tmp_path: Path) -> None:
    few = ("--set", f"sample.records={RECORDS}")
    done = inside.geovlm("eval", *words, *few, "--output", str(tmp_path / "run"))
    assert done.returncode == 2
    assert expected in done.stderr


def test_a_served_model_is_not_trained(tmp_path: Path) -> None:
    words = ["--set", "served.base_url=http://h/v1", "--output", str(tmp_path / "run")]
    done = inside.geovlm("run", "--model", "openai:m", "--tasks", "xbd/affected", *words)
    assert "it can be evaluated, not trained" in done.stderr


def test_an_evaluation_of_a_served_model_loads_no_torch() -> None:
    code = (
        "import sys, geovlm.engine.served\n"
        "print(*{'torch', 'transformers', 'datasets', 'accelerate'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
