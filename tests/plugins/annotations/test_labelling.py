"""One question for all labels: questions, answers, what is refused, and what `predict` reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from geovlm.api import PromptContext, TaskSpec, Turn
from geovlm.boxes import Box
from geovlm.data import loading
from geovlm.data.prompts import Prompter
from geovlm.errors import ConfigError
from geovlm.plugins import registry
from geovlm.plugins.annotations import description
from geovlm.plugins.profiles import QWEN3_VL
from geovlm.plugins.references import resolve
from geovlm.predict import reading
from tests.inside import geovlm
from tests.plugins.annotations import sets

ADD = ["data", "add", "own", "instances.json", "--images", "images", "--split", "1/0/0"]
ALL = [*ADD, "--ask", "all"]
FILE = """[dataset]
name = "own"
source = "instances.json"
format = "coco"
task = "detect"
ask = "all"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the set in COCO, and no description yet."""
    sets.images(tmp_path)
    sets.coco(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> str:
    done = geovlm(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def turns(folder: Path) -> tuple[TaskSpec, dict[str, Turn]]:
    task, spec = registry.load().task("own"), registry.load().dataset("own")
    records = loading.load_records(spec, root=folder, split="train").records
    prompter = Prompter(task, profile=QWEN3_VL)
    return task, {s.id: prompter.prompt(s).turn for s in loading.task_samples(task, records)}


def test_all_labels_of_an_image_are_one_question(folder: Path) -> None:
    run(*ALL)
    task, asked = turns(folder)
    assert list(asked) == ["a.png", "b.png", "c.png"]
    assert {turn.question for turn in asked.values()} == {
        "Detect every object of these labels: car, truck."
    }
    assert [turn.answer for turn in asked.values()] == [  # thousandths of 200 x 100 px
        "car: [50, 200, 250, 600]; truck: [500, 100, 900, 900]",
        "car: [0, 0, 100, 200], [752, 302, 952, 702]",
        "none",
    ]
    assert asked["a.png"].reasoning == "One car: left. One truck: right."
    assert (task.reasoning, task.primary_metric) == ("think", "labelled_iou")


def test_answers_alone_are_asked_for_where_the_file_says_so(folder: Path) -> None:
    run(*ALL, "--reasoning", "none")
    task, asked = turns(folder)
    assert task.reasoning == "none"
    assert {turn.reasoning for turn in asked.values()} == {""}


def test_objects_of_other_labels_are_left_out(folder: Path) -> None:
    run(*ALL, "--labels", "truck")
    _, asked = turns(folder)
    assert [turn.answer for turn in asked.values()] == [
        "truck: [500, 100, 900, 900]",
        "none",
        "none",
    ]


def test_such_a_task_keeps_the_rules_of_the_kit(folder: Path) -> None:
    run(*ALL, "--reasoning", "none")
    lines = run("plugins", "check", "own").splitlines()[1:]
    assert {line.split("\t")[0] for line in lines} == {"ok"}


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ('labels = ["car", "Car"]', "labels cannot be told apart in an answer: 'Car'"),
        ('labels = ["car [small]"]', "'car [small]' has a bracket"),
        (
            'labels = ["car"]\nquestion = "Where is each {label}?"',
            "question has {label} and ask is 'all': write {labels}",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_key(lines: str, why: str) -> None:
    with pytest.raises(ConfigError, match=r"own\.toml: dataset\.") as found:
        description.parse(f"{FILE}{lines}\n", Path("own.toml"))
    assert why in str(found.value)


def test_other_tasks_have_no_use_for_the_key(folder: Path) -> None:
    done = geovlm(*ALL, "--task", "caption")
    assert done.returncode == 2
    assert "dataset.ask is for detect only, not for caption" in done.stderr


def test_predicted_boxes_have_the_labels_of_the_answer(folder: Path) -> None:
    run(*ALL)
    blank = resolve(registry.load().task("own").blank)({})
    sizes = PromptContext(profile=QWEN3_VL, image_sizes=((100, 100),), input_sizes=((100, 100),))
    said = "<answer> car: [0, 0, 500, 500]; truck: [500, 0, 900, 90]; bus: [1, 1, 90, 90] </answer>"
    how = reading.kind(blank, inputs=frozenset())
    read = reading.read(said, how=how, target=blank, default="own", sizes=sizes)
    assert [label for _, label in read.boxes] == ["car", "truck", "own"]
    assert read.boxes[0][0] == Box(0, 0, 50, 50)
    nothing = reading.read("<answer>none</answer>", how=how, target=blank, default="", sizes=sizes)
    assert (nothing.understood, nothing.boxes) == (True, ())
