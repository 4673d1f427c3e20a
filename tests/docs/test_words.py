"""Prose is plain: docstrings begin with a subject or a verb, and coined words stay out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [
    *sorted((ROOT / "geovlm").rglob("*.py")),
    *sorted(ROOT.glob("plugins/*/geovlm_*/**/*.py")),
    *sorted(ROOT.glob("examples/*/geovlm_*/**/*.py")),
    *sorted((ROOT / "tools").rglob("*.py")),
]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
FIRST = ("What ", "Whether ", "Of ", "How ", "Which ", "Who ", "Where ", "When ", "Why ")
"""Words that begin a clause and not a sentence."""
COINED = {
    r"is talk\b": "progress",
    r"\bmends?\b|\bmended\b": "fix",
    r"signs? of life": "heartbeat",
    r"gold behind|behind it earns": "the correct answer with other text appended",
    r"\b(?:Found|Tested|Quantised|Left out|Counted|Written|Refused) (?:are|is)\b": "subject first",
    r", sooner\b|\bsooner:": "faster",
}
"""Pattern -> what to write instead."""


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of every docstring, those of attributes too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        for each in node.body:
            value = each.value if isinstance(each, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield each.lineno, value.value


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of every string in a Python file, or of every line of another one."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.split("\n"), 1)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_docstring_begins_with_a_subject_or_a_verb(path: Path) -> None:
    begun = [(line, text[:60]) for line, text in docstrings(path) if text.startswith(FIRST)]
    assert begun == []


@pytest.mark.parametrize("path", [*FILES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_coined_word(path: Path) -> None:
    found = [
        (line, match.group(), instead)
        for line, text in strings(path)
        for pattern, instead in COINED.items()
        for match in re.finditer(pattern, text)
    ]
    assert found == []
