"""The documents say what the code does: hooks, TOML blocks, commands."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from geovlm import hookspecs
from geovlm.cli import COMMANDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "plugins").glob("*/README.md")),
]
HOOKS = [
    f"### {name}({', '.join(inspect.signature(hook).parameters)})"
    for name, hook in inspect.getmembers(hookspecs, inspect.isfunction)
    if name.startswith("geovlm_")
]
TOML = [
    pytest.param(block, id=f"{path.parent.name}/{path.name}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(
        re.findall(r"^```toml\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    )
]
SHOWN = re.findall(r"^\$ (geovlm .*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)


@cache
def _help(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "geovlm.cli", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    return done.stdout


def _command(words: list[str]) -> tuple[str, ...]:
    """`geovlm tasks show X` -> (tasks, show); `geovlm run F` -> (run,)."""
    grouped = "COMMAND" in _help(words[1])
    return tuple(words[1:3]) if grouped else (words[1],)


@pytest.mark.parametrize("heading", HOOKS)
def test_every_hook_has_a_heading_with_its_arguments(heading: str) -> None:
    lines = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    assert heading in lines


@pytest.mark.parametrize("block", TOML)
def test_every_toml_block_parses(block: str) -> None:
    assert tomllib.loads(block)


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_of_the_readme_exists_with_its_options(line: str) -> None:
    words = shlex.split(line, comments=True)
    assert words[1] in COMMANDS
    page = _help(*_command(words))
    known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", page))
    assert {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)} <= known
