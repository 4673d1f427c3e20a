"""Checks the declarations of a plugin and its package."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution
from itertools import pairwise, product
from typing import Any

import typer

from geovlm.errors import PluginUnavailableError
from geovlm.plugins.discover import SLOW_SECONDS
from geovlm.plugins.references import resolve
from geovlm.run.process import isolated, python
from geovlm.testing.findings import Finding, fault, remark, source
from geovlm.testing.subject import Subject

HEAVY = ("PIL", "datasets", "numpy", "pydantic", "rich", "torch", "transformers", "trl")
"""Packages that a plugin must not import when it is loaded: `geovlm tasks list` would wait."""

_LOAD_ALONE = """
import json, sys
from geovlm.plugins import discover
before = set(sys.modules)
name, others, heavy = json.loads(sys.argv[1])
found = discover.discover(disabled=others)
(record,) = [each for each in found.plugins if each.name == name]
print(json.dumps([sorted((set(sys.modules) - before) & set(heavy)), record.seconds]))
"""


def loads(subject: Subject) -> Iterator[Finding]:
    """It is active: it imports, and its hooks return the right types under its own prefix."""
    if subject.record.status != "active":
        yield fault(subject.record.describe(), file=subject.declarations)


def light_import(subject: Subject) -> Iterator[Finding]:
    """Loading it imports none of torch, transformers, trl, datasets, numpy, PIL, pydantic, rich."""
    if not subject.is_packaged:
        return
    others = [r.name for r in subject.registry.plugins[1:] if r.name != subject.name]
    done = subprocess.run(
        python("-c", _LOAD_ALONE, json.dumps([subject.name, others, HEAVY])),
        env=isolated() | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        yield fault(
            f"plugin {subject.name!r} ends the process that loads it: {last}",
            file=subject.declarations,
        )
        return
    heavy, seconds = json.loads(done.stdout.splitlines()[-1])  # a sitecustomize may print too
    if heavy:
        yield fault(
            f"loading plugin {subject.name!r} imports {', '.join(heavy)}: name functions as "
            "'module:attribute' strings, or import inside the function",
            file=subject.declarations,
        )
    if seconds > SLOW_SECONDS:
        yield remark(f"importing plugin {subject.name!r} takes {1000 * seconds:.0f} ms")


def complete_metadata(subject: Subject) -> Iterator[Finding]:
    """Package and declarations state summary, licence, homepage, citation and readme."""
    if subject.is_packaged:
        about = distribution(subject.record.distribution).metadata.json
        stated = {
            "description": about.get("summary"),
            "license": about.get("license_expression") or about.get("license"),
            "readme": about.get("description"),
        }
        for field, value in stated.items():
            if not str(value or "").strip():
                yield fault(
                    f"distribution {subject.record.distribution!r} states no {field}",
                    file=subject.pyproject,
                )
    specs: list[tuple[str, Sequence[Any], tuple[str, ...]]] = [
        ("data set", subject.datasets, ("summary", "licence", "homepage", "citation")),
        ("task", subject.tasks, ("summary",)),
        ("reward", subject.rewards, ("summary", "formula")),
        ("metric", subject.metrics, ("summary",)),
    ]
    for kind, declared, fields in specs:
        for spec, field in product(declared, fields):
            if not getattr(spec, field).strip():
                yield fault(f"{kind} {spec.name!r} has no {field}", file=subject.declarations)


def prefixed_names(subject: Subject) -> Iterator[Finding]:
    """Commands that it adds begin with its name, as its declarations do."""
    if "geovlm_commands" not in subject.record.hooks:
        return
    app = typer.Typer()
    subject.registry.call(subject.name, "geovlm_commands", app=app)
    added = [(each.name, each.callback) for each in app.registered_commands]
    added += [(each.name, each.typer_instance) for each in app.registered_groups]
    for given, function in added:
        name = given if given else str(getattr(function, "__name__", "")).replace("_", "-")
        if name != subject.name and not name.startswith(f"{subject.name}-"):
            yield fault(
                f"command {name!r} does not begin with the plugin's name {subject.name!r}",
                file=source(function),
            )


def references_resolve(subject: Subject) -> Iterator[Finding]:
    """Every 'module:attribute' exists and is callable; every name that a task uses is provided."""
    references = [
        *((f"data set {s.name!r}: load", s.load) for s in subject.datasets),
        *(
            (f"data set {s.name!r}: make_sample", s.make_sample)
            for s in subject.datasets
            if s.make_sample
        ),
        *((f"data set {s.name!r}: official", s.official) for s in subject.datasets if s.official),
        *((f"task {s.name!r}: prompt", s.prompt) for s in subject.tasks),
        *((f"task {s.name!r}: samples", s.samples) for s in subject.tasks if s.samples),
        *((f"task {s.name!r}: blank", s.blank) for s in subject.tasks if s.blank),
        *((f"reward {s.name!r}: score", s.score) for s in subject.rewards),
        *(
            (f"metric {s.name!r}: {field}", reference)
            for s in subject.metrics
            for field in ("compute", "counts", "finish")
            if (reference := getattr(s, field)) is not None
        ),
    ]
    for where, reference in references:
        try:
            found = resolve(reference)
        except PluginUnavailableError as error:
            yield fault(f"{where}: {error.args[0]}", file=subject.declarations)
            continue
        if not callable(found):
            yield fault(f"{where}: {reference!r} is not callable", file=subject.declarations)
    for task in subject.tasks:
        if task.name in subject.registry.unusable:
            why = subject.registry.unusable[task.name]
            yield fault(f"task {task.name!r} is unusable: {why}", file=subject.declarations)


def version_range(subject: Subject) -> Iterator[Finding]:
    """It requires a range of GeoVLM versions, so that no later one breaks it unnoticed."""
    from packaging.requirements import Requirement

    if not subject.is_packaged:
        return
    needs = [Requirement(line) for line in subject.record.requires]
    operators = {
        part.operator for need in needs if need.name == "geovlm" for part in need.specifier
    }
    lower, upper = {">=", ">", "~=", "=="}, {"<", "<=", "~=", "=="}
    if not operators & lower or not operators & upper:
        stated = next((str(need) for need in needs if need.name == "geovlm"), "no geovlm at all")
        yield fault(
            f"distribution {subject.record.distribution!r} requires {stated}: state the first "
            "version that works and the first that may not, as in geovlm>=0.1,<0.2",
            file=subject.pyproject,
        )


def options_documented(subject: Subject) -> Iterator[Finding]:
    """Every field of an options class has a docstring below it."""
    named = [d.options for d in subject.datasets if d.options]
    named += [t.options for t in subject.tasks if t.options]
    for cls in dict.fromkeys(named):
        documented = {name for base in cls.__mro__[:-1] for name in _documented(base)}
        for field in dataclasses.fields(cls):
            if field.name not in documented:
                yield fault(
                    f"option {field.name!r} of {cls.__name__} has no docstring below it",
                    file=source(cls),
                )


def _documented(cls: type) -> Iterator[str]:
    """Yield the fields of a class that a string literal follows."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for field, below in pairwise(statements):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield field.target.id
