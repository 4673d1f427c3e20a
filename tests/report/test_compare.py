"""Runs side by side, on folders that are written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from geovlm.config.schema import RunConfig
from geovlm.errors import ConfigError
from geovlm.report import cards
from geovlm.report.compare import comparison, differences, page, runs, tasks
from geovlm.run import files
from geovlm.run.folder import RunDir
from tests.inside import geovlm

CLASSES = ["fire", "flood"]
DISASTER, DETECT = "xbd/disaster", "xbd/detect"
RIGHT, WRONG = "flood", "fire"


def said(answer: str) -> str:
    return f"<think> because </think><answer> {answer} </answer>"


def record(task: str, sample: str, answer: str, *, image: Path, **more: Any) -> dict[str, Any]:
    labels = {"labels": [RIGHT], "vocabulary": CLASSES}
    target = labels if task == DISASTER else {"boxes": [[0, 0, 28, 28]]}
    return {
        "task": task,
        "sample_id": sample,
        "images": [str(image.with_name(f"{sample}.png"))],
        "question": "What has happened?",
        "completion": said(answer),
        "answer": RIGHT if task == DISASTER else "[0, 0, 28, 28]",
        "target": target,
        "image_sizes": [[56, 56]],
        "input_sizes": [[56, 56]],
        "meta": {},
        "profile": "qwen2.5-vl",
        "rewards": {"exact": float(answer == RIGHT), "format/answer": 1.0},
        **more,
    }


def a_run(
    folder: Path,
    answered: Mapping[str, Mapping[str, Sequence[str]]],
    *,
    changed: Mapping[str, Any] = {},
    entry: Mapping[str, Any] = {},
    config: Mapping[str, Any] = {},
    first: int = 0,
) -> str:
    """Write a run: stage -> task -> answers to samples `first`, `first` + 1, …; returns its path.

    `changed` are other fields of the records, `entry` those of `metrics.json`.
    """
    run = RunDir(folder)
    folder.mkdir(parents=True)
    stages = [{"kind": "sft", "steps": 3}]
    given = {"tasks": [DISASTER, DETECT], "stages": stages, "eval": {"resamples": 200}} | config
    made = RunConfig.model_validate(given)
    resolved = {
        "config": made.model_dump(mode="json"),
        "task_names": list(made.tasks),
        "stage_folders": made.stage_folders(),
    }
    files.write_json(run.resolved, resolved)
    image = folder / "0.png"
    Image.new("RGB", (56, 56)).save(image)
    for stage, of in answered.items():
        for task, texts in of.items():
            lines = [
                record(task, str(i), text, image=image, **changed)
                for i, text in enumerate(texts, start=first)
            ]
            run.write_eval(task, stage, lines)
            primary = "accuracy" if task == DISASTER else "mean_iou"
            scored = {
                "n": len(lines),
                "split": "test",
                "task_version": 1,
                "protocol": "",
                "metrics": {primary: 0.5},
                "ci95": {},
                "sampled_reward": 1.0,
            }
            run.write_metrics(task, stage, primary=primary, entry={**scored, **entry})
    return str(folder)


def compared(*words: str) -> tasks.Compared:
    (task,) = comparison.of(words).tasks
    return task


def test_values_are_of_the_common_samples(tmp_path: Path) -> None:
    one = a_run(tmp_path / "a", {"sft": {DISASTER: [RIGHT, RIGHT, WRONG, WRONG]}})
    other = a_run(tmp_path / "b", {"sft": {DISASTER: [RIGHT, WRONG, WRONG]}}, first=1)
    task = compared(one, other)
    assert task.n == 3  # samples 1, 2 and 3
    assert task.cells["a"].values["accuracy"] == pytest.approx(1 / 3)
    assert task.cells["b"].values["accuracy"] == pytest.approx(1 / 3)
    assert task.cells["a"].n == 4
    assert task.remarks == ["3 samples are common, of 4 of a, 3 of b"]


def test_a_run_that_is_right_more_often_is_better(tmp_path: Path) -> None:
    one = a_run(tmp_path / "a", {"sft": {DISASTER: [WRONG] * 8 + [RIGHT] * 2}})
    other = a_run(tmp_path / "b", {"sft": {DISASTER: [RIGHT] * 8 + [WRONG, RIGHT]}})
    found = comparison.of([one, other])
    (task,) = found.tasks
    change = task.cells["b"].changes["accuracy"]
    # 8 won, 1 lost: at least 7 more of one side in 9 coins, 2 * 10 / 512
    assert change["difference"] == pytest.approx(0.7)
    assert change["p"] == pytest.approx(20 / 512, abs=0.03)
    assert task.exchanged("b") == (1, 8)
    assert task.counts() == {"only b right": 8, "only a right": 1, "both right": 1}
    assert found.summary() == [f"b against a: better on {DISASTER}."]


def test_equal_answers_differ_by_nothing(tmp_path: Path) -> None:
    one, other = (
        a_run(tmp_path / name, {"sft": {DISASTER: [RIGHT, WRONG, RIGHT]}}) for name in "ab"
    )
    assert compared(one, other).cells["b"].changes["accuracy"] == {
        "difference": 0.0,
        "ci95": [0.0, 0.0],
        "p": 1.0,
    }
    assert comparison.of([one, other]).summary() == [
        f"b against a: no clear difference on {DISASTER}."
    ]


def test_two_stages_of_one_run_are_compared(tmp_path: Path) -> None:
    run = a_run(tmp_path / "a", {"base": {DISASTER: [WRONG]}, "sft": {DISASTER: [RIGHT]}})
    found = comparison.of([f"{run}:base", run])
    assert found.names == ["a:base", "a:sft"]
    assert found.tasks[0].scores("0") == {"a:base": 0.0, "a:sft": 1.0}


def test_the_stage_is_the_last_one_unless_it_is_named(tmp_path: Path) -> None:
    answered = {"base": {DISASTER: [WRONG]}, "sft": {DISASTER: [RIGHT]}}
    words = [a_run(tmp_path / name, answered) for name in "abc"]
    assert [run.stage for run in runs.read(words)] == ["sft", "sft", "sft"]
    chosen = runs.read([words[0], words[1], f"{words[2]}:sft"], stage="base")
    assert [run.stage for run in chosen] == ["base", "base", "sft"]


def test_folders_of_one_name_have_the_folder_above_in_theirs(tmp_path: Path) -> None:
    words = [a_run(tmp_path / name / "run", {"sft": {DISASTER: [RIGHT]}}) for name in "ab"]
    assert [run.name for run in runs.read(words)] == ["a/run", "b/run"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"entry": {"task_version": 2}}, "the version differs: 1 in a, 2 in b"),
        ({"entry": {"split": "val"}}, "the split differs: 'test' in a, 'val' in b"),
        ({"entry": {"protocol": "x"}}, "the protocol differs: '' in a, 'x' in b"),
        ({"first": 9}, "the runs have no sample in common"),
        ({"changed": {"target": {"labels": []}}}, "sample '0' has another target in b than in a"),
        ({"changed": {"profile": "?"}}, "b does not state the frame of boxes of '0'"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, more: Any, why: str) -> None:
    one = a_run(tmp_path / "a", {"sft": {DISASTER: [RIGHT]}})
    other = a_run(tmp_path / "b", {"sft": {DISASTER: [RIGHT]}}, **more)
    with pytest.raises(ConfigError) as caught:
        comparison.of([one, other])
    assert str(caught.value).startswith(f"no task can be compared: {DISASTER}: {why} (")


def test_versions_that_are_not_installed_are_refused(tmp_path: Path) -> None:
    answered = {"sft": {DISASTER: [RIGHT]}}
    words = [a_run(tmp_path / name, answered, entry={"task_version": 9}) for name in "ab"]
    with pytest.raises(ConfigError, match="scored in version 9; 1 is installed"):
        comparison.of(words)


def test_tasks_of_one_run_are_listed_apart(tmp_path: Path) -> None:
    one = a_run(tmp_path / "a", {"sft": {DISASTER: [RIGHT], DETECT: ["[0, 0, 28, 28]"]}})
    other = a_run(tmp_path / "b", {"sft": {DISASTER: [RIGHT]}})
    found = comparison.of([one, other])
    assert found.left_out == {DETECT: "not evaluated in b"}


def test_runs_without_a_common_task_are_refused(tmp_path: Path) -> None:
    one = a_run(tmp_path / "a", {"sft": {DISASTER: [RIGHT]}})
    other = a_run(tmp_path / "b", {"sft": {DETECT: ["[0, 0, 28, 28]"]}})
    with pytest.raises(ConfigError, match=f"a has {DISASTER}; b has {DETECT}"):
        comparison.of([one, other])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "nope"], "nope is not a run folder"),
        (["a", "empty"], "empty has no scores yet"),
        (["a", "b:grpo"], "b was not evaluated after 'grpo' (it has sft)"),
        (["a", "a:sft"], "is named twice with the stage 'sft'"),
    ],
)
def test_a_word_that_names_no_evaluated_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    for name in "ab":
        a_run(tmp_path / name, {"sft": {DISASTER: [RIGHT]}})
    a_run(tmp_path / "empty", {})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        comparison.of(words)
    assert message in str(caught.value)


def test_samples_of_both_directions_come_first(tmp_path: Path) -> None:
    answers = [RIGHT, RIGHT, RIGHT, WRONG, WRONG]
    one = a_run(tmp_path / "a", {"sft": {DISASTER: answers}})
    other = a_run(tmp_path / "b", {"sft": {DISASTER: [RIGHT, WRONG, WRONG, RIGHT, WRONG]}})
    assert page.choose(compared(one, other)) == [
        cards.Chosen("1", "only a right"),
        cards.Chosen("3", "only b right"),
        cards.Chosen("2", "only a right"),
        cards.Chosen("4", "both wrong"),
        cards.Chosen("0", "both right"),
    ]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"a": 1.0, "b": 0.49, "c": 0.5}, "a and c right"),
        ({"a": 0.0, "b": 1.0, "c": 0.0}, "only b right"),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, "all right"),
        ({"a": 0.0, "b": 0.0}, "both wrong"),
        ({"a": 0.0, "b": None}, "not scored"),
    ],
)
def test_who_is_right(scores: dict[str, float | None], expected: str) -> None:
    assert tasks.agreement(scores) == expected


def test_keys_that_differ_are_listed_with_their_defaults(tmp_path: Path) -> None:
    answered = {"sft": {DISASTER: [RIGHT]}}
    one = a_run(tmp_path / "a", answered)
    stages = [{"kind": "sft", "steps": 5, "trainer": {"optim": "sgd"}}, {"kind": "probe"}]
    other = a_run(tmp_path / "b", answered, config={"seed": 3, "stages": stages})
    found = differences.settings(runs.read([one, other]))
    assert [(each.key, each.values, each.default) for each in found] == [
        ("stages", ("sft", "sft, probe"), "–"),
        ("seed", ("0", "3"), "0"),
        ("sft.steps", ("3", "5"), "none"),
        ("sft.trainer.optim", ("adamw_torch_fused", "sgd"), "adamw_torch_fused"),
    ]


def test_a_key_that_an_earlier_version_does_not_state_has_its_default(tmp_path: Path) -> None:
    words = [a_run(tmp_path / name, {"sft": {DISASTER: [RIGHT]}}) for name in "ab"]
    path = tmp_path / "a" / "resolved.json"
    resolved = json.loads(path.read_text())
    del resolved["config"]["share_images"], resolved["config"]["eval"]["temperature"]
    path.write_text(json.dumps(resolved))
    assert differences.settings(runs.read(words)) == []


def test_folders_of_the_machine_are_left_out(tmp_path: Path) -> None:
    answered = {"sft": {DISASTER: [RIGHT]}}
    words = [
        a_run(tmp_path / name, answered, config={"model": f"/home/{name}/model"}) for name in "ab"
    ]
    (found,) = differences.settings(runs.read(words))
    assert found.values == ("PATH/model (place 1)", "PATH/model (place 2)")


def test_the_page_holds_both_answers_and_escapes_them(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    one = a_run(tmp_path / "a", {"sft": {DISASTER: [hostile, RIGHT]}})
    other = a_run(tmp_path / "b", {"sft": {DISASTER: [RIGHT, RIGHT]}})
    out = tmp_path / "new" / "page.html"
    page.write(comparison.of([one, other]), out)
    written = out.read_text()
    assert written.count("<script") == 1  # the page's own
    assert "&lt;script&gt;alert(1)" in written
    assert 'data-outcome="only b right"' in written
    assert "<option>only b right</option>" in written


def test_the_command_prints_a_table_and_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    a_run(tmp_path / "a", {"sft": {DISASTER: [RIGHT, WRONG]}})
    a_run(tmp_path / "b", {"sft": {DISASTER: [WRONG, WRONG]}})
    done = geovlm("report", "a", "b")
    assert done.stdout.splitlines()[1:3] == [
        "xbd/disaster\taccuracy\t2\ta\t0.500\t\t\t\t",
        "xbd/disaster\taccuracy\t2\tb\t0.000\t-0.500 [-1.00, +0.00]\t1.000\t1\t0",
    ]
    assert done.stdout.splitlines()[-1] == "compare.html"
    assert (tmp_path / "compare.html").is_file()


@pytest.mark.parametrize("option", ["--out", "--stage"])
def test_options_of_a_comparison_need_two_runs(tmp_path: Path, option: str) -> None:
    run = a_run(tmp_path / "a", {"sft": {DISASTER: [RIGHT]}})
    done = geovlm("report", run, option, "sft")
    assert done.returncode == 2
    assert f"{option} is of a comparison" in done.stderr
