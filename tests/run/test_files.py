from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from geovlm.engine.training.callbacks import JsonLines
from geovlm.run import files


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
        JsonLines(full).write([{"step": 1}])
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
