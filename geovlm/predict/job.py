"""The folder of a prediction in progress: request, plan of the windows, answers so far.

```text
request.json    task, images, area, the user's inputs, configuration
plan.json       profile of the model, window, overlap, the question of the first window, and the
                windows of the second pass, once the grid is done
answers.jsonl   one line per window, in order; a killed process resumes after the last whole line
warped-0.vrt    resamples the second image to the grid of the first
```
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from geovlm.api import Json, ModelProfile, Size
from geovlm.errors import ConfigError
from geovlm.files import jsontext
from geovlm.predict.windows import tiles
from geovlm.predict.windows.tiles import Window


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """The user's request; every field survives JSON."""

    task: str
    images: tuple[Json, ...]
    """References encoded by `geovlm.raster.reference.encode`, oldest first, on one grid."""
    area: Window
    """Part of the grid to cover, pixels."""
    inputs: Mapping[str, Json]
    """Inputs of the task, see `asking.user_inputs`; boxes in pixels of the grid."""
    window: int | None
    """Side of the windows, pixels; `None`: the model's default; 0: one window for all."""
    overlap: int | None
    """Overlap of windows, pixels; `None`: a quarter of the window for boxes, else 0."""
    config: Mapping[str, Any]
    """The `RunConfig` as JSON."""
    stamps: tuple[tuple[str, int, int], ...] = ()
    """(path, bytes, time of change in ns) of each file, so that a changed image is not resumed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The windows of a scene, and the profile of the model that answers about them."""

    profile: ModelProfile
    side: int
    """Side of the windows, pixels; 0: one window for all."""
    overlap: int
    """Pixels that neighbours share at least."""
    min_pixels: int
    """`TaskSpec.min_pixels`."""
    question: str = ""
    """Question of the first window, as the model reads it."""
    second_pass: tuple[Window, ...] = ()
    """Windows after those of the grid; see `geovlm.predict.windows.second_pass`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The model's answer about one window."""

    tile: int
    """Number of the window."""
    text: str | None
    """The completion; `None`: an image has no data there, and the model was not asked."""


@dataclass(frozen=True)
class Job:
    """Folder of a prediction."""

    path: Path

    @property
    def answers(self) -> Path:
        """File of the answers so far."""
        return self.path / "answers.jsonl"

    @property
    def is_begun(self) -> bool:
        """True if a prediction was begun here."""
        return (self.path / "request.json").is_file()

    @property
    def has_answers(self) -> bool:
        """True if the folder holds answers."""
        return any(self.read())

    def write_request(self, request: Request) -> None:
        """Write the request, or check that it equals the one that is there.

        Raises:
            ConfigError: The folder holds another request.
        """
        made = json.loads(jsontext.dumps(asdict(request)))
        if self.is_begun:
            before = json.loads((self.path / "request.json").read_text(encoding="utf-8"))
            differing = sorted(key for key in made if made[key] != before.get(key))
            if differing:
                raise ConfigError(
                    f"the unfinished prediction in {self.path} was begun with another "
                    f"{' and '.join(differing)}",
                    hint="start again with --overwrite",
                )
            return
        self._write("request.json", made)

    def read_request(self) -> Request:
        """Read the request."""
        fields = json.loads((self.path / "request.json").read_text(encoding="utf-8"))
        fields["images"] = tuple(fields["images"])
        fields["area"] = Window(*fields["area"])
        fields["stamps"] = tuple(map(tuple, fields["stamps"]))
        return Request(**fields)

    def write_plan(self, plan: Plan) -> None:
        """Write the plan, with the sizes at which a processor that resizes shows the windows."""
        profile = plan.profile
        shown: dict[Size, Size] = {}
        if profile.seen_size is not None:
            given = {picture_size(each, plan) for each in windows(self.read_request(), plan)}
            shown = {size: profile.seen_size(size) for size in sorted(given)}
        bare = replace(profile, image_tokens=None, seen_size=None)
        fields = asdict(replace(plan, profile=bare))
        self._write("plan.json", fields | {"shown": list(shown.items())})

    def read_plan(self) -> Plan:
        """Read the plan."""
        fields = json.loads((self.path / "plan.json").read_text(encoding="utf-8"))
        profile = fields.pop("profile")
        profile["model_types"] = tuple(profile["model_types"])
        shown = {tuple(given): tuple(seen) for given, seen in fields.pop("shown", ())}
        if shown:
            profile["seen_size"] = shown.__getitem__
        fields["second_pass"] = tuple(Window(*each) for each in fields["second_pass"])
        return Plan(profile=ModelProfile(**profile), **fields)

    def append(self, answered: Sequence[Answer]) -> None:
        """Append the answers about the next windows; they are on disk when this returns."""
        with self.answers.open("a", encoding="utf-8") as file:
            file.write(jsontext.lines(map(asdict, answered)))
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> Iterator[Answer]:
        """Yield the answers so far, one by one."""
        if not self.answers.is_file():
            return
        with self.answers.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                if line.endswith("\n"):
                    yield Answer(**json.loads(line))

    def drop_torn_end(self) -> int:
        """Cut a line that a killed process left half-written; return the number of whole lines."""
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
        scratch.write_text(jsontext.dumps(value), encoding="utf-8")
        scratch.replace(self.path / name)


def windows(request: Request, plan: Plan) -> Sequence[Window]:
    """Return one window around each box of the user, or else the grid and the second pass."""
    marked: Any = request.inputs.get("boxes")
    if marked:
        return [tiles.around(box, request.area, side=plan.side) for box in marked]
    return tiles.grid(request.area, side=plan.side, overlap=plan.overlap, more=plan.second_pass)


def window_inputs(request: Request, index: int, window: Window) -> dict[str, Json]:
    """Return the user's inputs for one window: of the boxes only its own, in its pixels."""
    inputs = dict(request.inputs)
    marked: Any = inputs.get("boxes")
    if marked:
        x0, y0, x1, y1, *angle = marked[index]
        moved = [x0 - window.x, y0 - window.y, x1 - window.x, y1 - window.y]
        inputs["boxes"] = [[*moved, *angle]]
    return inputs


def input_size(window: Window, plan: Plan) -> Size:
    """Return the size at which the model sees a window; raises as `boxes.input_size` does."""
    from geovlm import boxes

    size = (window.width, window.height)
    return boxes.input_size(size, profile=plan.profile, min_pixels=plan.min_pixels)


def picture_size(window: Window, plan: Plan) -> Size:
    """Return the size of the picture of a window that the processor gets; raises likewise."""
    from geovlm import boxes

    size = (window.width, window.height)
    return boxes.picture_size(size, profile=plan.profile, min_pixels=plan.min_pixels)
