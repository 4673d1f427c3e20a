"""Holds the findings of the kit: sentences that name the thing and the file to change."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geovlm.errors import MetricError


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One sentence about a plugin."""

    kind: Literal["fault", "remark"]
    """A fault breaks the rule; a remark does not."""
    sentence: str
    file: str = ""
    """The file to change, or the distribution whose `pyproject.toml` it is; faults only."""

    def __str__(self) -> str:
        return f"{self.sentence}; change {self.file}" if self.file else self.sentence


class PluginFault(Exception):
    """Code of the plugin raised where the contract does not allow it."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


def fault(sentence: str, *, file: str) -> Finding:
    """Return a finding that breaks the rule."""
    return Finding(kind="fault", sentence=sentence, file=file)


def remark(sentence: str) -> Finding:
    """Return a finding that is worth knowing and breaks no rule."""
    return Finding(kind="remark", sentence=sentence)


def attempt(function: Callable[..., Any], *arguments: Any, doing: str, blame: object = None) -> Any:
    """Call a function of the plugin and return its result; generators are read to their end.

    The code is under test, so an exception is a finding and not a crash. `doing` is the subject of
    its sentence, such as `prompt of task 'x'`; `blame` is the object whose file has the fault, by
    default the function.

    Raises:
        PluginFault: the function raised; names type and message of the error and the file.
    """
    try:
        value = function(*arguments)
        return list(value) if inspect.isgenerator(value) else value
    except Exception as error:
        raised = error.__cause__ if isinstance(error, MetricError) and error.__cause__ else error
        message = " ".join(str(raised).split())[:200]
        file = source(function if blame is None else blame)
        raise PluginFault(
            fault(f"{doing} raised {type(raised).__name__}: {message}", file=file)
        ) from error


def source(thing: Any) -> str:
    """Return the file that defines a function, class or module, relative to the working folder.

    Something that has no file, such as a built-in function, is given by its name.
    """
    while isinstance(thing, functools.partial):
        thing = thing.func
    defined = inspect.isroutine(thing) or inspect.isclass(thing) or inspect.ismodule(thing)
    try:
        found = inspect.getsourcefile(thing if defined else type(thing))
    except TypeError:
        return repr(thing)
    return readable(Path(found)) if found else repr(thing)


def readable(path: Path) -> str:
    """Return a path for people: relative if it lies in the working folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
