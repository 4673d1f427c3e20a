"""`geovlm` commands in the test's own process, and the engine's work with them.

A process of the engine takes seven seconds of CPU to import torch and all that builds on it; the
tests have imported it. Tests of processes (kills, signals, ranks, pipes) start real ones.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from geovlm import cli
from geovlm.files.jsontext import dumps
from geovlm.plan import sizes
from geovlm.plan.memory import shape
from geovlm.plugins import references, registry
from geovlm.plugins.described import FILES_VARIABLE
from geovlm.run import launch, process

ALONE = "geovlm.engine.programs.stock"
"""A program whose tests need a process without GeoVLM."""
ABSENT = "absent"
"""Stands for a variable that is not set."""
_OTHER_COMMAND = re.compile(
    r"\b((?:geovlm|pip|hf|accelerate|torchrun|swift|apt|git|sbatch)(?: [a-z]+){0,2})(?: [^,;'()]*)?"
)
"""A command line in a message, and the command that it names."""


def geovlm(
    *words: object,
    folder: Path | None = None,
    first: Callable[[], object] = lambda: None,
    until: str = "",
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; returns what `subprocess.run` would.

    Args:
        words: the command line without `geovlm`.
        folder: with plugins of `fake_plugins.install`, next to the installed ones.
        first: called when the command has planned and the engine is to begin.
        until: stop, as when SIGTERM comes between two stages, before the stage of this number.
        environment: variables.
    """
    argv = [str(word) for word in words]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["geovlm", *argv])
        if folder is not None:
            patch.setenv("GEOVLM_CACHE", str(folder / "cache"))
        # a command may set it, for its own processes
        patch.setenv(FILES_VARIABLE, os.environ.get(FILES_VARIABLE, ABSENT))
        if os.environ[FILES_VARIABLE] == ABSENT:
            patch.delenv(FILES_VARIABLE)
        for name, value in environment.items():
            patch.setenv(name, value)
        with engine(first=first, until=until), found(folder), pytest.raises(SystemExit) as left:
            cli.main(argv)
    status = left.value.code
    assert isinstance(status, int)
    assert foreign_options(argv, err.getvalue()) == set(), err.getvalue()
    return subprocess.CompletedProcess(argv, status, out.getvalue(), err.getvalue())


def foreign_options(argv: Sequence[str], printed: str) -> set[str]:
    """Return the options that an error of a command names and that the command does not have.

    Options behind the name of another program or command, in quotes or not, are those of that one.
    """
    command: Any = typer.main.get_group(cli.app)
    words = [word for word in argv if not word.startswith("-")]
    path = "geovlm"
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        if (below := command.get_command(typer.Context(command), name)) is None:
            return set()
        command, path = below, f"{path} {name}"
    known = {option for each in command.params for option in each.opts} | {"--help"}
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    text = _OTHER_COMMAND.sub(lambda found: found[0] if found[1] == path else "", " ".join(errors))
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - known if errors else set()


@contextmanager
def found(folder: Path | None) -> Iterator[None]:
    """Let this process find the plugins of a folder for a while."""
    if folder is None:
        yield
        return
    known = set(sys.modules)
    _forget_plugins()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _forget_plugins()
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder):
                del sys.modules[name]


def _forget_plugins() -> None:
    for cached in (registry._load, references._imported, cli._plugin_commands):
        cached.cache_clear()


@contextmanager
def engine(*, first: Callable[[], object] = lambda: None, until: str = "") -> Iterator[None]:
    """Let commands do the engine's work in this process; see `geovlm`."""

    def execute(argv: Sequence[str], **given: object) -> process.Outcome:
        if ALONE in argv:
            return real(argv, **given)
        if until and argv[argv.index("--stage") + 1] == until:
            return process.Outcome(0, "", stopped="the test has seen enough")
        first()
        return _work(argv, **given)

    real = process.execute
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "execute", execute)
        patch.setattr(launch, "execute", execute)
        patch.setattr(sizes, "_Process", _Sizes)
        patch.setattr(shape, "_ask", _shape)
        yield


def _shape(request: dict[str, Any]) -> bytes:
    """Read the sizes of a model in this process, in place of `geovlm.plan.memory.shape._ask`."""
    with redirect_stdout(io.StringIO()) as written:
        import_module(shape.MODULE).answer(json.loads(dumps(request)))
    return written.getvalue().splitlines()[-1].encode()


class _Sizes:
    """Asks the processor of a model in this process, in place of `geovlm.plan.sizes._Process`."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._answers = import_module(sizes.MODULE).reader(json.loads(dumps(request)))

    def ask(self, question: dict[str, Any]) -> bytes:
        return dumps(self._answers(json.loads(dumps(question)))).encode()


def _work(
    argv: Sequence[str], *, variables: Mapping[str, str], log: Path, **_: object
) -> process.Outcome:
    """Do the work of the process of this command, and pass its output on."""
    assert process.LAUNCHER not in argv, "several ranks need several processes"
    at = argv.index("-m") + 1
    terminable = signal.getsignal(signal.SIGTERM)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(printed):
        for name in set(os.environ) - set(variables):
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        try:
            status = import_module(argv[at]).main(list(argv[at + 1 :]))
        finally:
            signal.signal(signal.SIGTERM, terminable)
    text = printed.getvalue()
    with log.open("a") as file:
        file.write(text)
    lines = text.splitlines()
    signs = ("error: ", "stopped: ")
    end = next((n for n, line in enumerate(lines) if line.startswith(signs)), len(lines))
    sys.stderr.write("".join(f"{line}\n" for line in lines[:end]))
    sign, _, rest = "".join(lines[end : end + 1]).partition(": ")
    return process.Outcome(
        status,
        rest if sign == "error" else "",
        stopped=rest if sign == "stopped" else "",
    )
