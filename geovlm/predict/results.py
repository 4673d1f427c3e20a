"""Turns the answers about all windows into features: boxes merged, other answers one each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from geovlm import __version__
from geovlm.api import Json, PromptContext, TaskSpec
from geovlm.boxes import Box, corners
from geovlm.errors import DataError
from geovlm.predict import asking, features, job, reading
from geovlm.predict.georeference.antimeridian import Point
from geovlm.predict.georeference.georeference import Georeference
from geovlm.predict.job import Job, Plan, Request
from geovlm.predict.windows import merge, second_pass
from geovlm.predict.windows.detections import Detection, Views
from geovlm.predict.windows.tiles import Window

Shape: TypeAlias = tuple[list[Point], dict[str, Json]]
"""(corners (x, y) in pixels of the scene, properties)."""
NAMED = 10
"""Most windows without a readable answer that are named; the rest are counted."""
_EDGE_INPUT_PX = 2.0  # a box this near to its window's edge, as the model sees it, is cut
_DISTINCT = 50  # most frequent answers in the summary


@dataclass(slots=True)
class Counts:
    """Counts of windows and features; complete when all features are made."""

    windows: int = 0
    """Windows, those of the second pass included."""
    empty: int = 0
    """Windows without data in an image; the model was not asked."""
    unread: int = 0
    """Answers that could not be read."""
    first_unread: list[dict[str, Json]] = field(default_factory=list)
    """The first of them, with their windows."""
    features: int = 0
    """Features in the file."""
    labels: Counter[str] = field(default_factory=Counter)
    """Label or answer -> features, those outside included; windows if they have several labels."""
    antimeridian: int = 0
    """Features that are cut at the antimeridian."""
    outside: int = 0
    """Features without longitude and latitude, for example next to the disk of the earth."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Reads a finished job."""

    job: Job
    task: TaskSpec
    request: Request
    plan: Plan
    where: Georeference | None
    """Georeference of the scene; `None`: coordinates are pixels."""
    model: str
    """Name of the model in the features."""
    notes: tuple[str, ...] = ()
    """`Scene.notes`: what was assumed about the images."""
    min_iou: float = merge.MIN_IOU
    """See `geovlm.predict.windows.merge`."""

    @property
    def kind(self) -> reading.Kind:
        """Form of the task's answer."""
        return reading.kind(self._target, inputs=frozenset(self.request.inputs))

    @property
    def windows(self) -> Sequence[Window]:
        """All windows, by number."""
        return job.windows(self.request, self.plan)

    def second_pass(self) -> list[Window]:
        """Return windows around objects that no window of the grid shows whole."""
        if self.kind != "boxes":
            return []
        views, found = self._views, self._detections(Counts())
        return second_pass.windows(merge.merge(found, views), views, side=self.plan.side)

    def features(self, counts: Counts, *, crs: str = "wgs84") -> Iterator[Any]:
        """Yield GeoJSON features in order of the windows; those without coordinates are left out.

        `counts` is filled meanwhile. `crs` is that of `features.place`.
        """
        for number, (ring, properties) in enumerate(self.shapes(counts)):
            try:
                geometry = features.place(ring, self.where, crs=crs)
            except DataError:
                counts.outside += 1
                continue
            if self.where is not None and crs == "wgs84":
                counts.antimeridian += features.crosses(geometry)
            counts.features += 1
            yield features.feature(number, geometry, properties)

    def shapes(self, counts: Counts) -> Iterator[Shape]:
        """Yield the features in pixels of the scene."""
        return self._boxes(counts) if self.kind == "boxes" else self._windows(counts)

    def summary(self, counts: Counts, *, images: Sequence[str], crs: str) -> dict[str, Any]:
        """Return the member `geovlm` of the file, which describes the prediction."""
        units = {
            "wgs84": "longitude, latitude (WGS 84)",
            "source": "those of the first image's CRS",
            "pixels": "pixels of the first image, x right, y down: it has no georeference",
        }
        return {
            "version": __version__,
            "task": self.task.name,
            "task_version": self.task.version,
            "model": self.model,
            "images": list(images),
            "notes": list(self.notes),
            "coordinates": units[crs if self.where is not None else "pixels"],
            **self._accuracy(crs),
            "question": self.plan.question,
            "window": self.plan.side,
            "overlap": self.plan.overlap,
            "windows": counts.windows,
            "second_looks": len(self.plan.second_pass),
            "empty_windows": counts.empty,
            "unread_answers": counts.unread,
            "first_unread": counts.first_unread,
            "features": counts.features,
            "features_outside": counts.outside,
            "counts": dict(counts.labels.most_common(_DISTINCT)),
        }

    def _accuracy(self, crs: str) -> dict[str, Any]:
        """Return how longitude and latitude were made: PROJ's operation and its accuracy."""
        if self.where is None or crs != "wgs84":
            return {}
        operation = self.where.operation
        return {
            "operation": operation.name,
            "accuracy_m": operation.accuracy_m,
            "accuracy_note": self.where.doubt(),
        }

    @property
    def _target(self) -> dict[str, Any]:
        return asking.blank_target(self.task, self.request.inputs)

    def _read(self, counts: Counts) -> Iterator[tuple[int, Window, reading.Reading]]:
        """Yield (number, window, reading) of every window whose answer could be read."""
        views, target, how = self.windows, self._target, self.kind
        images, default = len(self.request.images), self.task.name.rpartition("/")[2]
        for one in self.job.read():
            if one.tile == len(views):  # of a second pass that is being planned once more
                return
            window = views[one.tile]
            counts.windows += 1
            if one.text is None:
                counts.empty += 1
                continue
            sizes = PromptContext(
                profile=self.plan.profile,
                image_sizes=((window.width, window.height),) * images,
                input_sizes=(job.input_size(window, self.plan),) * images,
            )
            found = reading.read(one.text, how=how, target=target, default=default, sizes=sizes)
            if found.understood:
                yield one.tile, window, found
                continue
            counts.unread += 1
            if counts.unread <= NAMED:
                counts.first_unread.append({"tile": list(window), "answer": one.text[:200]})

    def _boxes(self, counts: Counts) -> Iterator[Shape]:
        merged = iter(merge.merge(self._detections(counts), self._views, min_iou=self.min_iou))
        following = next(merged, None)
        for tile, window, answered in self._read(Counts()):  # a second time, for the reasoning
            while following is not None and following.tile == tile:
                properties = self._properties(following.label, window, answered)
                if following.parts > 1:
                    properties["parts"] = following.parts
                counts.labels[following.label] += 1
                yield list(corners(following.box)), properties
                following = next(merged, None)

    @property
    def _views(self) -> Views:
        windows = self.windows
        width, height = windows[0].width, windows[0].height  # all are of one size
        seen = job.input_size(windows[0], self.plan)
        return Views(
            windows=windows,
            area=self.request.area,
            tolerance=_EDGE_INPUT_PX * max(width / seen[0], height / seen[1]),
        )

    def _detections(self, counts: Counts) -> list[Detection]:
        views = self._views
        found: list[Detection] = []
        for tile, window, answered in self._read(counts):
            for (x0, y0, x1, y1, angle), label in answered.boxes:
                box = Box(x0 + window.x, y0 + window.y, x1 + window.x, y1 + window.y, angle)
                cut = views.cuts(box, tile)
                found.append(Detection(box=box, label=label, tile=tile, cut=cut))
        return found

    def _windows(self, counts: Counts) -> Iterator[Shape]:
        marked: Any = self.request.inputs.get("boxes")
        several = self.kind == "labels"
        for tile, window, answered in self._read(counts):
            label = "; ".join(answered.labels) if several else answered.text
            properties = self._properties(label, window, answered)
            if several:
                properties["labels"] = list(answered.labels)
            counts.labels.update(answered.labels if several else [label])
            ring = list(corners(Box(*marked[tile]))) if marked else features.footprint(window)
            yield ring, properties

    def _properties(self, label: str, window: Window, answered: reading.Reading) -> dict[str, Json]:
        return {
            "label": label,
            "task": self.task.name,
            "model": self.model,
            "reasoning": answered.reasoning,
            "tile": list(window),
        }
