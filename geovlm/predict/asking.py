"""Checks the user's images and inputs against those that a task asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geovlm import answers
from geovlm.api import Asked, Json, TaskSpec
from geovlm.errors import ConfigError
from geovlm.plugins.references import resolve

TWO_IMAGES = "bitemporal"
"""The tag of tasks that take two images."""


def user_inputs(
    task: TaskSpec,
    *,
    question: str | None,
    boxes: Sequence[tuple[float, ...]],
    values: Mapping[str, str],
) -> dict[str, Json]:
    """Return the inputs of a task's `blank`: a value for everything that the task asks.

    `boxes` are in pixels of the scene; `values` are those of `--ask KEY=VALUE`.

    Raises:
        ConfigError: An input is missing or blank, is not Unicode, or holds control characters; the
            task does not ask for it; or it is not one of the choices.
    """
    given: dict[str, Json] = dict(values)
    for option, name in (("--question", "question"), ("--box", "boxes")):
        if name in values:
            raise ConfigError(f"--ask does not take {name!r}", hint=f"use {option}")
    if question is not None:
        given["question"] = question
    for name, value in given.items():
        why = "no text" if not str(value).strip() else answers.defect(str(value))
        if why is not None:
            option = "--question" if name == "question" else f"--ask {name}"
            raise ConfigError(f"{option} holds {why}", hint="give it as text in UTF-8")
    if boxes:
        given["boxes"] = [list(box) for box in boxes]
    known = {asked.name: asked for asked in task.asks}
    for name in given:
        if name not in known:
            asked = ", ".join(map(_described, task.asks)) or "nothing but its images"
            raise ConfigError(
                f"task {task.name!r} does not ask for {name!r}", hint=f"it asks for {asked}"
            )
    missing = [asked for asked in task.asks if asked.name not in given and asked.default is None]
    if missing:
        raise ConfigError(
            f"task {task.name!r} needs {' and '.join(map(_described, missing))}",
            hint=" ".join(map(_option, missing)),
        )
    for name, value in given.items():
        choices = known[name].choices
        if choices and value not in choices:
            raise ConfigError(f"{name}={value!r} is not one of {', '.join(choices)}")
    return {name: given.get(name, asked.default) for name, asked in known.items()}


def blank_target(task: TaskSpec, inputs: Mapping[str, Json]) -> dict[str, Any]:
    """Return the task's target without a correct answer.

    Raises:
        ConfigError: The task has no `blank`, or cannot use a value.
    """
    if task.blank is None:
        plugin = task.name.partition("/")[0]
        raise ConfigError(
            f"task {task.name!r} cannot be asked about new images: plugin {plugin!r} does not "
            "define how",
            hint="its TaskSpec needs the field 'blank'",
        )
    try:
        return dict(resolve(task.blank)(inputs))
    except ValueError as error:
        raise ConfigError(f"task {task.name!r}: {error}") from error


def check_images(task: TaskSpec, number: int) -> None:
    """Raise `ConfigError` if the task takes another number of images."""
    needed = 2 if TWO_IMAGES in task.tags else 1
    if number != needed:
        wanted = "two images, before and after" if needed == 2 else "one image"
        raise ConfigError(
            f"task {task.name!r} takes {wanted}, {number} given",
            hint="the older one first" if needed == 2 else "call predict once per image",
        )


def _described(asked: Asked) -> str:
    choices = f", one of {', '.join(asked.choices)}" if asked.choices else ""
    return f"{asked.name!r} ({asked.summary}{choices})"


def _option(asked: Asked) -> str:
    if asked.name == "question":
        return "--question TEXT"
    return "--box x0,y0,x1,y1" if asked.name == "boxes" else f"--ask {asked.name}=…"
