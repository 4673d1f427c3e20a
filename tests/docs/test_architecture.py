"""The walks of docs/architecture.md exist in the code, and each step is called where they say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.test_rooms import ROOMS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| (\d*) ?\| `([\w/]+\.py)` \| `([\w.]+)` \| .+ \|$", re.M)
REFERENCE = r"geovlm[\w.]+(:\w+)?"
"""A module, or one of its names, as a string."""
Function = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Step:
    """One row of a walk."""

    number: int
    caller: int | None
    """Number of the step that calls this one; `None` where a process starts."""
    path: str
    name: str
    """A function, a class or `Class.method`."""

    def __str__(self) -> str:
        return f"{self.number} {self.path}:{self.name}"


def walk(title: str) -> list[Step]:
    """The steps of the section with this title."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return [
        Step(int(number), int(caller) if caller else None, path, name)
        for number, caller, path, name in ROW.findall(section)
    ]


WALKS = {title: walk(title) for title in ("One sample", "One command")}
STEPS = [step for steps in WALKS.values() for step in steps]
CALLS = [
    (steps[step.caller - 1], step)
    for steps in WALKS.values()
    for step in steps
    if step.caller is not None
]
SIBLINGS = [
    (steps[caller - 1], [step for step in steps if step.caller == caller])
    for steps in WALKS.values()
    for caller in sorted({step.caller for step in steps if step.caller is not None})
]


@cache
def definitions(path: str) -> dict[str, Function]:
    """Functions, classes and `Class.method` of a file by name."""
    found: dict[str, Function] = {}
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, Function):
            found[node.name] = node
        if isinstance(node, ast.ClassDef):
            inner = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            found |= {f"{node.name}.{each.name}": each for each in inner}
    return found


def named(node: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of every name, attribute and word of a reference; not those of annotations."""
    body: list[ast.AST] = [*node.body] if isinstance(node, Function) else [node]
    if isinstance(node, ast.FunctionDef):
        body += [each for each in (*node.args.defaults, *node.args.kw_defaults) if each]
    for each in (inner for part in body for inner in ast.walk(part)):
        if isinstance(each, ast.alias) and each.asname:
            yield each.lineno, each.name
        elif isinstance(each, ast.Name):
            yield each.lineno, each.id
        elif isinstance(each, ast.Attribute):
            yield each.end_lineno or each.lineno, each.attr
        elif isinstance(each, ast.Constant) and re.fullmatch(REFERENCE, str(each.value)):
            yield from ((each.lineno, word) for word in re.split(r"[.:]", str(each.value)))


@cache
def constants(path: str) -> dict[str, ast.AST]:
    """Values that a file assigns to a name at its top level."""
    found: dict[str, ast.AST] = {}
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found[node.target.id] = node.value
    return found


@cache
def uses(path: str, name: str) -> frozenset[str]:
    """The names that a function uses, itself or through functions and constants of its file."""
    known: dict[str, ast.AST] = {**constants(path), **definitions(path)}
    reached, waiting, found = {name}, [name], set[str]()
    while waiting:
        for _, word in named(known[waiting.pop()]):
            found.add(word)
            inner = [key for key in known if key.rpartition(".")[2] == word]
            waiting += [key for key in inner if key not in reached]
            reached |= set(inner)
    return frozenset(found)


def wanted(step: Step) -> set[str]:
    """The names by which a caller may use a step: the function, or for a process its module."""
    return {step.name.rpartition(".")[2] if step.name != "main" else Path(step.path).stem}


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_step_exists(step: Step) -> None:
    assert step.name in definitions(step.path)


@pytest.mark.parametrize(("caller", "step"), CALLS, ids=lambda step: str(step))
def test_a_step_is_used_by_the_one_that_calls_it(caller: Step, step: Step) -> None:
    assert wanted(step) <= uses(caller.path, caller.name)


@pytest.mark.parametrize(("caller", "steps"), SIBLINGS, ids=lambda value: str(value)[:60])
def test_steps_of_one_function_stand_in_the_order_of_its_lines(
    caller: Step, steps: list[Step]
) -> None:
    lines: dict[str, int] = {}
    for line, name in named(definitions(caller.path)[caller.name]):
        lines[name] = min(line, lines.get(name, line))
    direct = [lines[name] for step in steps for name in wanted(step) if name in lines]
    assert direct == sorted(direct)


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_goes_from_top_to_bottom(title: str) -> None:
    steps = WALKS[title]
    assert len(steps) >= 10
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert all(step.caller < step.number for step in steps if step.caller is not None)


def test_the_order_of_rooms_is_that_of_the_test() -> None:
    section = PAGE.partition("## The order of the rooms\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| \d+ \| ([^|]+) \|", section, re.M)
    assert [row.replace("`", "").split() for row in rows] == [
        line.split() for line in ROOMS.strip().splitlines()
    ]
