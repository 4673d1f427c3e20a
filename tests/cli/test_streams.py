"""Standard streams in any encoding: JSON is UTF-8, and no character ends a command."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from geovlm import cli
from geovlm.cli.commands import plugins

GEOVLM = [sys.executable, "-P", "-m", "geovlm.cli"]
NOT_UTF8 = os.fsdecode(b"caf\xe9")
"""A name in latin-1: the byte becomes half of a surrogate pair, which UTF-8 cannot hold."""


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch):
    """Run a command with streams of this encoding; returns status, output, messages."""

    def run(
        *argv: str, encoding: str, kind: type[io.TextIOWrapper] = io.TextIOWrapper
    ) -> tuple[int, bytes, bytes]:
        raw = io.BytesIO(), io.BytesIO()
        out, err = (kind(each, encoding=encoding, newline="\n") for each in raw)
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as left:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            cli.main(argv)
        out.flush()
        err.flush()
        return int(left.value.code or 0), raw[0].getvalue(), raw[1].getvalue()

    return run


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-16"])
def test_tables_and_json_in_a_pipe_are_utf8(call, encoding: str) -> None:
    status, table, _ = call("rewards", "list", encoding=encoding)
    assert (status, "Σ" in table.decode("utf-8")) == (0, True)
    status, document, _ = call("config", "schema", encoding=encoding)
    assert (status, "…" in json.dumps(json.loads(document), ensure_ascii=False)) == (0, True)


def test_a_terminal_keeps_its_encoding_and_escapes_the_rest(call) -> None:
    status, table, _ = call("config", "schema", encoding="latin-1", kind=Terminal)
    text = table.decode("latin-1")
    assert (status, "\\u2026" in text, "…" in text) == (0, True, False)


def test_a_message_with_any_character_is_one_line(call) -> None:
    status, _, line = call("tasks", "show", "Straße 🙂", encoding="cp1252")
    assert (status, line.decode("utf-8").startswith("error: unknown task 'Straße 🙂'")) == (2, True)


def test_a_file_name_that_is_not_utf8_is_escaped(call) -> None:
    status, _, line = call("data", "check", "xbd", "--data", NOT_UTF8, encoding="utf-8")
    assert (status, b"caf\\udce9 does not exist" in line) == (2, True)


def test_json_with_such_a_name_can_be_read_again(call, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [types.SimpleNamespace(name=NOT_UTF8)]
    monkeypatch.setattr(plugins.registry, "load", lambda: types.SimpleNamespace(plugins=records))
    monkeypatch.setattr(plugins, "_as_json", vars)
    status, document, _ = call("plugins", "list", "--json", encoding="ascii")
    assert (status, json.loads(document.decode("utf-8"))) == (0, [{"name": NOT_UTF8}])


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line, "bash", *GEOVLM],
        env={**os.environ, **variables},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_the_c_locale_without_utf8_mode_changes_nothing() -> None:
    done = shell('"$@" rewards list', LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (done.returncode, "Σ" in done.stdout) == (0, True)


def test_closed_streams_change_no_exit_code() -> None:
    assert shell('"$@" tasks list >&-').returncode == 0
    assert shell('"$@" tasks show nothing 2>&-').returncode == 2


def test_a_completion_from_a_closed_input_is_refused() -> None:
    done = shell('"$@" rewards try exact --target \'{"answer": "x"}\' <&-')
    assert (done.returncode, done.stderr) == (
        2,
        "error: the completion is missing: standard input is closed (give --completion)\n",
    )


def test_a_completion_that_is_not_utf8_is_refused() -> None:
    done = shell('printf \'caf\\xe9\' | "$@" rewards try exact --target \'{"answer": "x"}\'')
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard input is not UTF-8: unexpected end of data at ")


def test_a_completion_is_read_as_utf8_in_any_locale() -> None:
    done = shell(
        'printf "<think>t</think><answer>Straße</answer>" | "$@" rewards try exact'
        ' --json --target \'{"answer": "Straße"}\'',
        PYTHONIOENCODING="ascii",
    )
    assert json.loads(done.stdout)["value"] == 1.0


def test_a_deleted_working_folder_is_one_line(tmp_path: Path) -> None:
    done = shell(f'mkdir {tmp_path}/x && cd {tmp_path}/x && rmdir ../x && "$@" plan --tasks xbd')
    assert (done.returncode, done.stderr) == (
        2,
        "error: the working folder was deleted (cd to a folder that exists)\n",
    )
