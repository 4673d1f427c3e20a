"""Four sets as a new user brings them: two commands each, and no Python, to a training run."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from geovlm.plugins.described import FILES_VARIABLE
from geovlm.run.process import isolated
from tests.inside import geovlm
from tests.plugins.annotations import newcomer, sets

FOUR = {  # how a set is written, and what its source and options are called
    "coco": (lambda folder: newcomer.coco(folder, n=40, size_px=128), ("--images", "coco/images")),
    "yolo": (lambda folder: newcomer.yolo(folder, n=40, size_px=128), ()),
    "table": (lambda folder: newcomer.table(folder, rows=40, size_px=128), ()),
    "scenes": (
        lambda folder: newcomer.scenes(folder, size_px=256),
        ("--images", "scenes", "--label-field", "class", "--tile", "128", "--split", "4/1/1"),
    ),
}
ONE_STAGE = '[{kind = "sft", steps = 2, trainer = {per_device_train_batch_size = 2}}]'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FILES_VARIABLE, "")  # so that it is as before when the test ends
    monkeypatch.delenv(FILES_VARIABLE)
    return tmp_path


def run(*words: object) -> str:
    done = geovlm(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", FOUR)
def test_two_commands_lead_to_a_run(folder: Path, name: str) -> None:
    write, words = FOUR[name]
    source = write(folder / name)
    run("data", "add", f"my_{name}", source.relative_to(folder), *words)
    assert len(Path(f"my_{name}.toml").read_text().splitlines()) <= 20
    planned = json.loads(run("plan", f"my_{name}.toml", "--json"))
    (task,) = planned["tasks"]
    assert task["name"] == f"my_{name}"
    assert task["samples"]["train"] >= 10
    assert task["generated"] is False


@pytest.mark.parametrize("name", FOUR)
def test_the_splits_leak_nothing(folder: Path, name: str) -> None:
    write, words = FOUR[name]
    source = write(folder / name)
    run("data", "add", f"my_{name}", source.relative_to(folder), *words)
    assert "leaks: 0" in run("data", "leaks", f"my_{name}")


@pytest.mark.slow
def test_800_images_are_five_seconds_from_their_preview(folder: Path) -> None:
    newcomer.coco(folder / "coco")
    before = _cpu_s()
    for words in (
        ("data", "add", "cars", "coco/instances.json", "--images", "coco/images"),
        ("tasks", "preview", "cars", "--out", "preview"),
    ):
        argv = [sys.executable, "-m", "geovlm.cli", *words]
        subprocess.run(argv, cwd=folder, env=isolated(), check=True, capture_output=True)
    assert len(list((folder / "preview").glob("cars-*.png"))) == 4
    assert _cpu_s() - before < 5.0  # of one core: other work of the machine does not count


@pytest.mark.slow
def test_one_set_in_four_formats_gives_the_same_weights(folder: Path) -> None:
    sets.images(folder)
    weights = {
        write.__name__: _trained(write, folder)
        for write in (sets.coco, sets.yolo, sets.voc, sets.jsonl)
    }
    assert len(weights["coco"]) > 1_000_000
    assert [name for name, found in weights.items() if found != weights["coco"]] == []


def _trained(write: Callable[[Path], Path], folder: Path) -> bytes:
    """Return the weights after two steps on the set in one format."""
    made = folder / write.__name__
    made.mkdir()
    (made / "images").symlink_to(folder / "images")
    run(
        *("data", "add", "own", write(made), "--images", made / "images", "--task", "detect"),
        *("--labels", "car,truck", "--split", "1/1/1", "--seed", "5", "--out", made / "own.toml"),
    )
    run(
        *("run", made / "own.toml", "--output", made / "run", "--set", f"stages={ONE_STAGE}"),
        *("--set", "eval.base=false", "--set", "eval.limit=1", "--set", "eval.blind=off"),
        *("--set", "max_new_tokens=8"),
    )
    return (made / "run" / "stages" / "0-sft" / "model" / "model.safetensors").read_bytes()


def _cpu_s() -> float:
    """Return the seconds of CPU of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
