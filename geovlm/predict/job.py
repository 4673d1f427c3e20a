"""A prediction on its way: what was asked, how it is cut into windows, what was answered so far.

```text
request.json    task, images, area, what the user said, configuration
plan.json       profile of the model, window, overlap, the question of the first window, and where
                to look again, once the grid is done
answers.jsonl   one line per window, in order; a killed process goes on after the last whole one
warped-0.vrt    how the second image gets onto the grid of the first
```
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geovlm.api import Json, ModelProfile, Size
from geovlm.errors import ConfigError
from geovlm.predict.windows import tiles
from geovlm.predict.windows.tiles import Window


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What was asked; every field survives JSON."""

    task: str
    images: tuple[Json, ...]
    """References, encoded by `geovlm.raster.reference.encode`, oldest first, on one grid."""
    area: Window
    """Pixels of the grid."""
    said: Mapping[str, Json]
    """What the user said; boxes in pixels of the grid."""
    window: int | None
    """Side of the windows, pixels; `None`: as suits the model; 0: one window."""
    overlap: int | None
    """Pixels; `None`: a quarter of the window for boxes, else 0."""
    config: Mapping[str, Any]
    """Of `RunConfig`."""
    stamps: tuple[tuple[str, int, int], ...] = ()
    """(file, length, time in ns) of the images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How the model looks at the scene."""

    profile: ModelProfile
    side: int
    overlap: int
    min_pixels: int
    """Of the task."""
    question: str = ""
    """Of the first window, as the model reads it."""
    again: tuple[Window, ...] = ()
    """Windows of the second look, after those of the grid; see `geovlm.predict.windows.looks`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the model said of one window."""

    tile: int
    text: str | None
    """`None`: an image has no data there, and nothing was asked."""


@dataclass(frozen=True)
class Job:
    """A folder of a prediction."""

    path: Path

    @property
    def answers(self) -> Path:
        """The answers so far."""
        return self.path / "answers.jsonl"

    @property
    def is_begun(self) -> bool:
        """Whether a prediction was begun here."""
        return (self.path / "request.json").is_file()

    @property
    def has_answers(self) -> bool:
        """Whether anything would be lost with the folder."""
        return any(self.read())

    def write_request(self, request: Request) -> None:
        """Begin; a request that is there already must be the same.

        Raises:
            ConfigError: it is not.
        """
        made = json.loads(json.dumps(asdict(request)))
        if self.is_begun:
            before = json.loads((self.path / "request.json").read_text(encoding="utf-8"))
            differing = sorted(key for key in made if made[key] != before.get(key))
            if differing:
                raise ConfigError(
                    f"the unfinished prediction in {self.path} was begun with another "
                    f"{' and '.join(differing)}",
                    hint="--overwrite begins anew",
                )
            return
        self._write("request.json", made)

    def read_request(self) -> Request:
        """What was asked."""
        fields = json.loads((self.path / "request.json").read_text(encoding="utf-8"))
        fields["images"] = tuple(fields["images"])
        fields["area"] = Window(*fields["area"])
        fields["stamps"] = tuple((name, size, time) for name, size, time in fields["stamps"])
        return Request(**fields)

    def write_plan(self, plan: Plan) -> None:
        """Write how the model looks."""
        self._write("plan.json", asdict(plan))

    def read_plan(self) -> Plan:
        """How the model looks."""
        fields = json.loads((self.path / "plan.json").read_text(encoding="utf-8"))
        profile = fields.pop("profile")
        profile["model_types"] = tuple(profile["model_types"])
        again = tuple(Window(*each) for each in fields.pop("again"))
        return Plan(profile=ModelProfile(**profile), again=again, **fields)

    def append(self, answered: Sequence[Answer]) -> None:
        """Keep the answers of the next windows; on disk when it returns."""
        lines = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in answered)
        with self.answers.open("a", encoding="utf-8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> Iterator[Answer]:
        """The answers so far, one by one."""
        if not self.answers.is_file():
            return
        with self.answers.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                if line.endswith("\n"):
                    yield Answer(**json.loads(line))

    def drop_torn_end(self) -> int:
        """Cut a line that a killed process left half-written; the number of whole ones."""
        if not self.answers.is_file():
            return 0
        number = end = 0
        with self.answers.open("rb+") as file:
            for line in file:
                if line.endswith(b"\n"):
                    number, end = number + 1, end + len(line)
            file.truncate(end)
        return number

    def _write(self, name: str, value: Any) -> None:
        scratch = self.path / f".{name}"
        scratch.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
        scratch.replace(self.path / name)


def windows(request: Request, plan: Plan) -> Sequence[Window]:
    """What is looked at: one window around each box that the user marked, else grid and again."""
    marked: Any = request.said.get("boxes")
    if marked:
        return [tiles.around(box, request.area, side=plan.side) for box in marked]
    return tiles.grid(request.area, side=plan.side, overlap=plan.overlap, more=plan.again)


def said_of(request: Request, index: int, window: Window) -> dict[str, Json]:
    """What the user said, for one window: its own box, in its pixels."""
    told = dict(request.said)
    marked: Any = told.get("boxes")
    if marked:
        x0, y0, x1, y1, *angle = marked[index]
        moved = [x0 - window.x, y0 - window.y, x1 - window.x, y1 - window.y]
        told["boxes"] = [[*moved, *angle]]
    return told


def input_size(window: Window, plan: Plan) -> Size:
    """The size at which the model sees a window.

    Raises:
        DataError: it cannot be shown.
    """
    from geovlm import boxes

    size = (window.width, window.height)
    return boxes.input_size(size, profile=plan.profile, min_pixels=plan.min_pixels)
