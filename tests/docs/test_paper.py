"""Every function and test that docs/paper.md names exists, and tasks have the rewards it states."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from geovlm.plugins import registry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
REFERENCES = sorted(set(re.findall(r"`([\w./-]+\.py)::(\w+)`", PAGE)))
REWARDS = {
    "recall": "recall",
    "detection": "detection",
    "LMGR": "lmgr",
    "HSLR": "hslr",
    "Levenshtein": "levenshtein",
    "Jaccard": "jaccard",
}
"""Word of the page -> name of the reward."""


def defined(path: Path) -> set[str]:
    """The names that a file defines or imports at its top level."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {each.id for each in node.targets if isinstance(each, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.ImportFrom):
            names |= {each.asname or each.name for each in node.names}
    return names


def task_rows() -> list[tuple[str, str]]:
    """(reward, tasks) of the table of tasks."""
    section = PAGE.partition("## Task to reward")[2].partition("\n## ")[0]
    return re.findall(r"^\| [^|`]+ \| ([^|`]+) \| (`[^|]+) \|$", section, re.M)


@pytest.mark.parametrize(("path", "name"), REFERENCES)
def test_a_name_of_the_page_exists(path: str, name: str) -> None:
    assert name in defined(ROOT / path)


def test_the_page_names_functions_and_tests() -> None:
    assert sum(path.startswith("geovlm/") for path, _ in REFERENCES) >= 20
    assert sum(path.startswith("tests/") for path, _ in REFERENCES) >= 20


@pytest.mark.parametrize(("stated", "tasks"), task_rows())
def test_the_papers_reward_of_each_task_is_declared(stated: str, tasks: str) -> None:
    expected = {name for word, name in REWARDS.items() if word in stated}
    loaded = registry.load()
    declared = {
        r for task in re.findall(r"`([\w/]+)`", tasks) for r in loaded.task(task).rewards["paper"]
    }
    assert declared == expected


def test_the_table_of_tasks_is_read_whole() -> None:
    assert len(task_rows()) == 9
