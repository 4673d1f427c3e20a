from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fake_plugins import TOY, geovlm, install

LABELS = '{"labels": ["water", "forest"], "vocabulary": ["water", "forest", "urban"]}'


def test_rewards_list_has_formula_and_source(tmp_path: Path) -> None:
    done = geovlm("rewards", "list", folder=tmp_path)
    assert "recall\t0..1\tTP / (TP + FN)\tarXiv 2509.25026" in done.stdout


def test_rewards_list_as_json_includes_those_of_plugins(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    rows = json.loads(geovlm("rewards", "list", "--json", folder=tmp_path).stdout)
    assert {"recall", "toy/one"} <= {row["name"] for row in rows}


def test_rewards_try_scores_one_of_two_labels_with_a_half(tmp_path: Path) -> None:
    text = "<think>blue</think><answer>water</answer>"
    flags = ["--target", LABELS, "--completion", text, "--json"]
    found = json.loads(geovlm("rewards", "try", "recall", *flags, folder=tmp_path).stdout)
    assert (found["reward"], found["value"]) == ("recall", 0.5)
    assert found["parts"]["answer"] == "water"


def test_rewards_try_reads_standard_input(tmp_path: Path) -> None:
    text = "<think>blue</think><answer>water, forest</answer>"
    done = geovlm("rewards", "try", "recall", "--target", LABELS, folder=tmp_path, stdin=text)
    assert "value: 1.0" in done.stdout.splitlines()


def test_rewards_try_converts_boxes_through_the_profile(tmp_path: Path) -> None:
    """norm1000: 100..300 of 1000 on 280 px is 28..84 px, the gold box."""
    text = "<think>there</think><answer>[100, 100, 300, 300]</answer>"
    flags = ["--target", '{"boxes": [[28, 28, 84, 84]]}', "--profile", "qwen2-vl", "--json"]
    done = geovlm("rewards", "try", "detection", *flags, folder=tmp_path, stdin=text)
    assert json.loads(done.stdout)["value"] == pytest.approx(1.0)


def test_rewards_try_warns_of_a_completion_without_an_answer_block(tmp_path: Path) -> None:
    done = geovlm("rewards", "try", "recall", "--target", LABELS, folder=tmp_path, stdin="water")
    assert done.returncode == 0
    assert done.stderr.startswith("note: the completion has no well-formed <answer>")


def test_a_value_out_of_range_fails_the_work(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    done = geovlm("rewards", "try", "toy/huge", "--target", "{}", folder=tmp_path)
    assert done.returncode == 1
    assert (
        "error: reward 'toy/huge' returned 7.0, outside [0.0, 1.0] on task 'rewards-try'"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["recal", "--target", "{}"], "error: unknown reward 'recal'. Did you mean 'recall'?"),
        (["recall", "--target", "{x"], "error: --target is not JSON"),
        (["recall", "--target", "[1]"], "error: --target is a JSON list, not an object"),
        (["recall", "--target", "{}", "--profile", "foo"], "error: unknown profile 'foo' (known: "),
        (
            ["recall", "--target", "{}", "--image-size", "9"],
            "error: --image-size '9' is not a size",
        ),
        (["recall", "--target", "{}", "--option", "hbb"], "error: --option 'hbb' is not of the"),
        (["recall"], "error: missing option"),
    ],
)
def test_an_impossible_request_is_one_line_and_exit_code_2(
    tmp_path: Path, argv: list[str], message: str
) -> None:
    done = geovlm("rewards", "try", *argv, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
