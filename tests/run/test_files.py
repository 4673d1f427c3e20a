from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from geovlm.errors import ConfigError
from geovlm.run import files


def test_a_failed_write_leaves_the_old_file_and_no_scratch(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    files.write_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(tmp_path / "a.txt", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_logs_are_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    lines = files.JsonLines(tmp_path / "log.jsonl")
    lines.append([{"step": 1, "loss": 0.5}, {"step": 2, "loss": float("nan")}])
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')  # a killed process
    lines.cut(after_step=1)
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 1, "loss": 0.5}\n'


def test_a_torn_end_is_left_out_and_repaired(tmp_path: Path) -> None:
    lines = files.JsonLines(tmp_path / "answers" / "a.jsonl")
    lines.append([{"key": "a"}], sync=True)
    with (tmp_path / "answers" / "a.jsonl").open("a") as file:
        file.write('{"key": "b"')  # a killed process
    assert lines.read() == [{"key": "a"}]
    lines.repair()
    lines.append([{"key": "c"}])
    assert lines.read() == [{"key": "a"}, {"key": "c"}]


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    lines = files.JsonLines(tmp_path / "a.jsonl")
    lines.repair()
    lines.cut(after_step=1)
    assert lines.read() == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/run cannot be written: Not a directory"):
        files.check_writable(tmp_path / "file" / "run")
    files.check_writable(tmp_path / "new" / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_whose_name_is_not_unicode_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"its name holds half of a surrogate pair, which is not"):
        files.check_writable(tmp_path / "run\udcff")


def test_what_the_disk_refused_is_found_behind_other_exceptions():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "a/optimizer.pt")
        except OSError as error:
            raise RuntimeError("unexpected pos 704 vs 598") from error
    except RuntimeError as error:
        assert files.refusal(error) == "No space left on device (a/optimizer.pt)"


def test_other_errors_are_no_refusals():
    assert files.refusal(FileNotFoundError(errno.ENOENT, "No such file", "a")) is None
    assert files.refusal(RuntimeError("shapes differ")) is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_is_recognised_from_each_library_that_writes(tmp_path):
    import torch
    from safetensors.torch import save_file

    full = tmp_path / "full.pt"
    full.symlink_to("/dev/full")
    with pytest.raises((OSError, RuntimeError)) as by_torch:
        torch.save(torch.zeros(9_999), full)
    assert files.refusal(by_torch.value)
    with pytest.raises(OSError) as by_us:
        files.JsonLines(full).append([{"step": 1}])
    assert files.refusal(by_us.value) == os.strerror(errno.ENOSPC)
    with pytest.raises(Exception, match="os error") as by_safetensors:
        save_file({"a": torch.zeros(9_999)}, tmp_path / "missing" / "a.safetensors")
    assert files.refusal(by_safetensors.value) is None
    again = type(by_safetensors.value)("I/O error: No space left on device (os error 28)")
    assert files.refusal(again) == os.strerror(errno.ENOSPC)


WITHOUT_PRIVILEGES = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if os.geteuid() == 0:  # root writes everywhere, unless it gives up CAP_DAC_OVERRIDE (1)
    assert libc.prctl(24, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.executable, [sys.executable, "-m", "geovlm.cli", *sys.argv[1:]])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl of Linux")
def test_a_read_only_output_is_refused_before_any_work(tmp_path):
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    argv = ["run", "--tasks", "rsvqa/lr", "--output", str(folder / "run")]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PRIVILEGES, *argv],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {folder / 'run'} cannot be written: Permission denied (give an --output on a disk "
        "with room, in a folder that you may write to)\n"
    )
