"""A command on a machine that lacks a home, a cache or a folder for temporary files."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from geovlm import cli
from geovlm.data import cache
from geovlm.plugins import guard, registry


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run a command in an empty folder; returns its status and its last message."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            cli.main(argv)
        return int(left.value.code or 0), capsys.readouterr().err.splitlines()[-1]

    return run


@pytest.mark.parametrize(
    "argv",
    [
        ("tasks", "show", "xbd/detect"),
        ("tasks", "preview", "xbd/detect", "--out", "drawn"),
        ("run", "--tasks", "xbd/count", "--dry-run"),
        ("plan", "--tasks", "xbd/count"),
        ("eval", "--tasks", "xbd/count", "--model", "nano", "--output", "o", "--dry-run"),
        ("audit", "xbd/count"),
    ],
    ids=lambda argv: argv[0] + argv[1].removeprefix("--tasks"),
)
def test_a_cache_that_cannot_be_made_is_one_line(
    call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, argv: tuple[str, ...]
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "cache"
    monkeypatch.setenv("GEOVLM_CACHE", str(folder))
    status, message = call(*argv)
    assert status == 2
    assert message.startswith("error: ")
    assert str(folder) in message
    assert message.endswith("name a folder that can be written in GEOVLM_CACHE)")


def test_a_user_without_a_home_is_told_of_the_cache(call, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("GEOVLM_CACHE")
    monkeypatch.setattr(Path, "home", homeless)
    assert call("run", "--tasks", "xbd/count", "--dry-run") == (
        2,
        "error: the user has no home folder for the cache "
        "(name a folder that can be written in GEOVLM_CACHE)",
    )


def test_another_file_is_no_fault_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOVLM_CACHE", "/a/cache")
    assert cache.explain(OSError(errno.EACCES, "Permission denied", "/b/file")) is None
    assert cache.explain(OSError(errno.EACCES, "Permission denied")) is None
    above = OSError(errno.EACCES, "Permission denied", "/a")
    assert "the cache /a/cache cannot be used: Permission denied (/a)" in str(cache.explain(above))


def test_no_folder_for_temporary_files_is_one_line(call, monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(registry, "load", load)
    assert call("tasks", "list") == (
        2,
        "error: no folder for temporary files can be written (name one in TMPDIR)",
    )


def test_plugins_load_without_a_folder_for_temporary_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(guard.tempfile, "tempdir", str(tmp_path / "nowhere"))
    with guard.guarded() as traces:
        print("loud")
    assert traces.printed == "loud"
