"""Hints name options that the command has; `tests.inside.geovlm` asserts it of every error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inside import foreign_options, geovlm

READERS = (
    ("data", "check", "{set}"),
    ("data", "stats", "{tasks}"),
    ("data", "leaks", "{tasks}"),
    ("tasks", "preview", "{task}", "--out", "out"),
    ("audit", "{tasks}"),
    ("run", "--tasks", "{tasks}", "--dry-run"),
    ("eval", "--tasks", "{tasks}", "--model", "nano", "--output", "scores", "--dry-run"),
)
"""Commands that read a data set, each with a name of a data set or tasks."""


def read(command: tuple[str, ...], folder: Path, *words: str, of: str, task: str) -> str:
    filled = [word.format(set=of, tasks=task, task=task) for word in command]
    paths = [str(folder / word) if word in ("out", "scores") else word for word in filled]
    done = geovlm(*paths, *words, folder=folder)
    assert done.returncode == 2
    return done.stderr


@pytest.mark.parametrize("command", READERS, ids=" ".join)
@pytest.mark.parametrize(
    ("of", "task", "option"),
    [("xbd", "xbd/count", "labels=other"), ("captions/ucm", "captions/ucm", "file=other.json")],
)
def test_the_option_of_a_hint_is_taken_by_every_command_that_reads_data(
    tmp_path: Path, command: tuple[str, ...], of: str, task: str, option: str
) -> None:
    (tmp_path / "eo").mkdir()
    data = ("--data", f"{of}={tmp_path / 'eo'}")
    before = read(command, tmp_path, *data, of=of, task=task)
    key = option.partition("=")[0]
    assert f"--set data.{of}.options.{key}=NAME" in before
    after = read(command, tmp_path, *data, "--set", f"data.{of}.options.{option}", of=of, task=task)
    assert "other" in after


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_a_folder_that_does_not_exist_is_one_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    stderr = read(command, tmp_path, "--data", str(tmp_path / "no"), of="xbd", task="xbd/count")
    assert f"{tmp_path / 'no'} does not exist" in stderr.splitlines()[-1]


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_an_unknown_data_set_gets_a_suggestion(tmp_path: Path, command: tuple[str, ...]) -> None:
    stderr = read(command, tmp_path, "--data", "xdb=/no", of="xbd", task="xbd/count")
    assert "did you mean 'xbd'?" in stderr


def test_an_option_that_a_command_lacks_is_seen() -> None:
    error = "error: no labels (--set a=b reads others, or 'geovlm run --resume')"
    assert foreign_options(["plugins", "list"], error) == {"--set"}
    assert foreign_options(["run"], error) == set()


def test_options_of_other_programs_are_theirs() -> None:
    error = "error: no model (hf download x --include y, or geovlm eval --output z)"
    assert foreign_options(["tasks", "list"], error) == set()
