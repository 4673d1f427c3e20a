"""The head of a report, and what it keeps to itself."""

from __future__ import annotations

import pytest

from geovlm.report import facts
from tests.report import made


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/ada/eo/xBD", "PATH/xBD"),
        ("xbd=/home/ada/xBD", "xbd=PATH/xBD"),
        ("~/models/qwen", "PATH/qwen"),
        ("no folder /data/eo: see /data/doc", "no folder PATH/eo: see PATH/doc"),
        (r"C:\Users\ada\xBD", "PATH/xBD"),
        ("runs/first", "runs/first"),
        ("xbd/detect,rsvqa/lr", "xbd/detect,rsvqa/lr"),
        ("https://xview2.org/data/set", "https://xview2.org/data/set"),
        ("0.5 / 2", "0.5 / 2"),
    ],
)
def test_folders_of_the_author_are_left_out(text: str, shown: str) -> None:
    assert facts.without_folders({"a": [text]}) == {"a": [shown]}


def test_the_command_names_the_run_and_no_folder() -> None:
    assert facts.command(made.environment()) == (
        "geovlm run --tasks xbd/disaster,xbd/refer --data xbd=PATH/xBD --output runs/first-run"
    )


def test_a_run_without_a_command_has_none() -> None:
    assert facts.command({}) == ""


def test_the_head_tells_date_time_model_machine_and_versions() -> None:
    resolved = {"config": {"model": "/home/ada/qwen", "rewards": "robust", "seed": 3}}
    metrics = {"seconds": {"sft": 100.2, "grpo": 3700.0}}
    head = dict(facts.head(resolved, made.environment(), metrics))
    assert head == {
        "started": "2026-12-01 02:50:00 UTC",
        "took": "1 h 3 min (sft 1 min 40 s, grpo 1 h 1 min)",
        "model": "PATH/qwen, 2.3 M parameters",
        "rewards": "robust, seed 3",
        "machine": "2 cores, no GPU, Linux",
        "versions": "GeoVLM 0.1.0, Python 3.11.7, torch 2.13.0, transformers 5.23.0, trl 1.16.0",
    }


def test_licences_are_those_of_the_plugins() -> None:
    (xbd,) = facts.licences({"data_roots": {"xbd": "x", "gone": "y"}, "generated": ["xbd"]})
    assert (xbd["name"], xbd["generated"]) == ("xbd", True)
    assert xbd["licence"].startswith("CC-BY-NC-SA-4.0")
    assert xbd["homepage"] == "https://xview2.org"
