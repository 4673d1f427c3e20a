"""Sizes and tokens of images as a model's own processor makes them, for commands without torch.

A family whose processor resizes images itself is asked: a process of the engine loads the processor
and answers one size after another. Answers are cached until the model's files change.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import subprocess
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from geovlm.api import ModelProfile, Size
from geovlm.data import cache
from geovlm.errors import ConfigError, DataError
from geovlm.files.jsontext import dumps
from geovlm.plugins.installed import version
from geovlm.run.process import isolated, python

if TYPE_CHECKING:
    from geovlm.config.model import ModelFacts
    from geovlm.config.schema import RunConfig

MODULE = "geovlm.engine.programs.sizes"
_VERSION = 1
"""Version of the cached answers; to be raised with every change of the answers."""


def bound(facts: ModelFacts, config: RunConfig) -> ModelFacts:
    """Return the facts of a model with the limits, sizes and tokens of its processor.

    Those of a family that GeoVLM resizes for stay as they are, and so do those of a model that is
    not on this machine.

    Raises:
        ConfigError: the processor cannot be loaded, or has no such limit as the run sets.
    """
    if facts.folder is None or facts.profile is None or facts.profile.resize == "multiples":
        return facts
    made = of_folder(facts.profile, facts.folder, config)
    return dataclasses.replace(facts, profile=made)


def of_folder(profile: ModelProfile, folder: Path, config: RunConfig) -> ModelProfile:
    """Return the profile of a family with the limits, sizes and tokens of a model folder.

    Raises:
        ConfigError: see `bound`.
    """
    reader = _Reader(folder, config)
    low, high = reader.ask({"areas": True})
    return dataclasses.replace(
        profile,
        min_pixels=low or profile.min_pixels,
        max_pixels=high or profile.max_pixels,
        image_tokens=reader.tokens,
        seen_size=reader.seen_size,
    )


class _Reader:
    """Asks the processor of a model folder, with the limits of a run."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self._request = {
            "source": str(folder),
            "trust_remote_code": config.trust_remote_code,
            "min_pixels": config.min_pixels,
            "max_pixels": config.max_pixels,
        }
        self._files = sorted([*folder.glob("*.json"), *folder.glob("*.jinja")])
        self._process: _Process | None = None
        self.seen_size = functools.cache(self._seen_size)
        self._counted = functools.cache(self._tokens)

    def tokens(self, sizes: Sequence[Size]) -> int:
        """Return the tokens of the images of one prompt; see `ModelProfile.image_tokens`."""
        return self._counted(tuple(sizes))

    def _tokens(self, sizes: tuple[Size, ...]) -> int:
        return int(self.ask({"tokens": sizes}))

    def _seen_size(self, size: Size) -> Size:
        width, height = self.ask({"seen": size})
        return width, height

    def ask(self, question: dict[str, Any]) -> Any:
        """Return the answer to a question, from the cache if it is there."""
        request = self._request | {"transformers": version("transformers"), "version": _VERSION}
        kind = f"sizes {dumps([request, question])}"
        try:
            ((_, answer),) = cache.look(
                [question],
                kind=lambda _: kind,
                files=lambda _: self._files,
                work=lambda one, _: self._ask(one),
            )
        except DataError:  # the cache cannot be used
            answer = self._ask(question)
        assert isinstance(answer, bytes)  # a failure is not a DataError
        return json.loads(answer)

    def _ask(self, question: dict[str, Any]) -> bytes:
        if self._process is None:
            self._process = _Process(self._request)
        return self._process.ask(question)


class _Process:
    """A process of the engine, which ends with this object."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            python("-m", MODULE),
            env=isolated(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        weakref.finalize(self, _end, self._process)
        self._write(request)

    def ask(self, question: dict[str, Any]) -> bytes:
        """Return the line that answers a question.

        Raises:
            ConfigError: the processor cannot be loaded, or not be limited.
        """
        self._write(question)
        answer = _pipe(self._process.stdout).readline()
        if answer:
            return answer.encode()
        said = _pipe(self._process.stderr).read()
        last = (said.strip().splitlines() or [""])[-1]
        if self._process.wait() == ConfigError.exit_code and last.startswith("error: "):
            raise ConfigError(last.removeprefix("error: "))
        raise RuntimeError(f"{MODULE} failed: {said}")

    def _write(self, value: dict[str, Any]) -> None:
        pipe = _pipe(self._process.stdin)
        with contextlib.suppress(BrokenPipeError):  # it has ended: `ask` reads why
            pipe.write(f"{dumps(value)}\n")
            pipe.flush()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _end(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(BrokenPipeError):
            _pipe(pipe).close()
    process.terminate()
    process.wait()
