from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from geovlm.plugins.guard import guarded, stdout_to_stderr


def test_what_is_printed_is_kept_on_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with guarded() as traces:
        print("one\n two")
        os.write(1, b"three")
    assert traces.printed == "one two three"
    assert capfd.readouterr() == ("", "")


def test_a_child_process_does_not_reach_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    with guarded() as traces:
        subprocess.run([sys.executable, "-c", "print('child')"], check=True)
    assert traces.printed == "child"
    assert capfd.readouterr().out == ""


def test_streams_are_put_back_after_an_exception() -> None:
    before = sys.stdout, sys.stderr
    with pytest.raises(ZeroDivisionError), guarded():
        sys.stdout = sys.stderr = None
        1 / 0  # noqa: B018
    assert (sys.stdout, sys.stderr) == before


def test_a_closed_stream_leaves_no_trace() -> None:
    with guarded() as traces:
        sys.stdout.close()
    assert traces.printed == ""


def test_variables_are_put_back_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOVLM_TEST_A", "before")
    monkeypatch.setenv("GEOVLM_TEST_B", "before")
    monkeypatch.delenv("GEOVLM_TEST_C", raising=False)
    with guarded() as traces:
        os.environ["GEOVLM_TEST_A"] = "after"
        del os.environ["GEOVLM_TEST_B"]
        os.environ["GEOVLM_TEST_C"] = "secret"
    assert traces.changed == (
        "environment variable GEOVLM_TEST_A",
        "environment variable GEOVLM_TEST_B",
        "environment variable GEOVLM_TEST_C",
    )
    assert (os.environ["GEOVLM_TEST_A"], os.environ["GEOVLM_TEST_B"]) == ("before", "before")
    assert "GEOVLM_TEST_C" not in os.environ


def test_the_working_folder_is_put_back(tmp_path: Path) -> None:
    before = Path.cwd()
    with guarded() as traces:
        os.chdir(tmp_path)
    assert traces.changed == ("working folder",)
    assert Path.cwd() == before


def test_standard_output_becomes_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with stdout_to_stderr():
        print("talk")
    print("data")
    assert capfd.readouterr() == ("data\n", "talk\n")
