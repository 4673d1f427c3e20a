"""Every `$ geovlm …` line of the plugin tutorial is executed with the package that it makes.

As in tests/docs/test_commands.py: `run` with `--dry-run`, all others as they stand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_commands import ROOT, adapted, shown
from tests.docs.test_first_task import PAGE
from tests.docs.test_first_task import edited as edited  # the fixture

LINES = list(dict.fromkeys(shown(PAGE)))


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_lesson_works(line: str, edited: Path, tmp_path: Path) -> None:
    begins = line.startswith("plugins new")  # there is no such package yet
    path = [str(ROOT)] if begins else [str(ROOT), str(edited.parent / "site")]
    done = subprocess.run(
        [sys.executable, "-m", "geovlm.cli", *adapted(line, tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_lesson_has_lines() -> None:
    assert len(LINES) > 3
