"""The contract is documented whole: every field, and every name that is read from a target."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "geovlm"
API = ast.parse((PACKAGE / "api.py").read_text(encoding="utf-8"))
CLASSES = [node for node in API.body if isinstance(node, ast.ClassDef)]
READERS = [
    *sorted((PACKAGE / "rewards").rglob("*.py")),
    *sorted((PACKAGE / "score").rglob("*.py")),
    PACKAGE / "boxes" / "reading.py",
]
TARGETS = {"target", "gold"}
"""Names under which the code holds a target."""


def documented_fields(cls: ast.ClassDef) -> dict[str, str]:
    """Field -> the docstring below it, or nothing."""
    found = {}
    for field, below in pairwise([*cls.body, ast.Pass()]):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = below.value if isinstance(below, ast.Expr) else None
            found[field.target.id] = text.value if isinstance(text, ast.Constant) else ""
    return found


def is_target(node: ast.expr) -> bool:
    """Whether an expression is a target: `target`, `ctx.target`, `target(record)`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in TARGETS
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in TARGETS


def keys_read(tree: ast.AST) -> Iterator[ast.expr]:
    """What stands for the name in `target.get(name)`, `target[name]` and `name in target`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "get" and is_target(node.func.value):
                yield node.args[0]
        elif isinstance(node, ast.Subscript) and is_target(node.value):
            yield node.slice
        elif isinstance(node, ast.Compare) and is_target(node.comparators[0]):
            yield node.left


def names_read(tree: ast.AST) -> set[str]:
    """The same as words; a loop variable stands for every word of its loop."""
    loops = {
        node.target.id: {each.value for each in node.iter.elts if isinstance(each, ast.Constant)}
        for node in ast.walk(tree)
        if isinstance(node, ast.For)
        and isinstance(node.target, ast.Name)
        and isinstance(node.iter, ast.Tuple)
    }
    found: set[str] = set()
    for key in keys_read(tree):
        if isinstance(key, ast.Constant):
            found.add(key.value)
        elif isinstance(key, ast.Name):
            found |= loops[key.id]
    return found


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.name)
def test_every_field_of_the_contract_has_a_docstring(cls: ast.ClassDef) -> None:
    assert [name for name, text in documented_fields(cls).items() if not text.strip()] == []


def test_the_target_lists_every_name_that_rewards_and_metrics_read() -> None:
    (sample,) = (cls for cls in CLASSES if cls.name == "Sample")
    listed = set(re.findall(r"^ *- `(\w+)`: ", documented_fields(sample)["target"], re.M))
    read = set().union(*(names_read(ast.parse(path.read_text("utf-8"))) for path in READERS))
    assert listed == read


def test_a_name_that_is_read_is_seen() -> None:
    code = """
for name in ("text", "answer"):
    ctx.target.get(name)
a = target(record)["facts"], "labels" in gold, prediction.target.get("type", ""), fields["no"]
"""
    assert names_read(ast.parse(code)) == {"text", "answer", "facts", "labels", "type"}
