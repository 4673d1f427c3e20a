from __future__ import annotations

import json
from pathlib import Path

import pytest

from geovlm.engine.training.checkpoints import (
    damage,
    find,
    remove_unfinished,
    to_resume,
    write_manifest,
)


def written(folder: Path, step: int) -> Path:
    """Return a checkpoint of two files, one of them in a folder."""
    path = folder / f"checkpoint-{step}"
    (path / "shards").mkdir(parents=True)
    (path / "model.safetensors").write_bytes(bytes([step]) * 100)
    (path / "shards" / "0.bin").write_bytes(b"shard")
    write_manifest(path, step=step, rows=8 * step, processes=2)
    return path


def test_a_manifest_says_where_training_was_and_what_every_file_holds(tmp_path: Path) -> None:
    path = written(tmp_path, 5)
    manifest = json.loads((path / "manifest.json").read_text())
    assert (manifest["step"], manifest["rows"], manifest["processes"]) == (5, 40, 2)
    assert list(manifest["files"]) == ["model.safetensors", "shards/0.bin"]
    assert manifest["files"]["model.safetensors"]["bytes"] == 100
    assert damage(path) is None


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("model.safetensors", b"\5" * 40, "model.safetensors has 40 of 100 bytes"),
        (
            "model.safetensors",
            b"\5" * 99 + b"\6",
            "model.safetensors differs from",
        ),
        ("manifest.json", b'{"step": 5, "fi', "manifest.json cannot be read"),
    ],
)
def test_damage_is_found_and_named(tmp_path: Path, file: str, content: bytes, why: str) -> None:
    path = written(tmp_path, 5)
    (path / file).write_bytes(content)
    assert str(damage(path)).startswith(why)


def test_missing_files_are_damage_and_without_a_manifest_a_checkpoint_is_half_written(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, 5)
    (path / "shards" / "0.bin").unlink()
    assert damage(path) == "shards/0.bin is missing"
    (path / "manifest.json").unlink()
    assert damage(path) == "half-written: it has no manifest.json"


def test_the_newest_whole_checkpoint_counts(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        written(tmp_path, step)
    (tmp_path / "checkpoint-15" / "manifest.json").unlink()
    found = find(tmp_path)
    assert found.last == tmp_path / "checkpoint-10"
    assert [path.name for path, _ in found.damaged] == ["checkpoint-15"]
    assert find(tmp_path, before_step=10) == (tmp_path / "checkpoint-5", [])


def test_resuming_names_and_deletes_what_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (5, 10):
        written(tmp_path, step)
    (tmp_path / "checkpoint-10" / "model.safetensors").write_bytes(b"")
    assert to_resume(tmp_path) == tmp_path / "checkpoint-5"
    said = capsys.readouterr().err
    assert said == (
        f"warning: {tmp_path}/checkpoint-10 is damaged (model.safetensors has 0 of 100 bytes); "
        "going on from checkpoint-5\n"
    )
    assert not (tmp_path / "checkpoint-10").exists()
    (tmp_path / "checkpoint-5" / "manifest.json").unlink()
    assert to_resume(tmp_path) is None
    assert "the stage begins again" in capsys.readouterr().err


def test_a_full_disk_gets_back_what_is_half_written(tmp_path: Path) -> None:
    written(tmp_path, 5)
    (written(tmp_path, 10) / "manifest.json").unlink()
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]
