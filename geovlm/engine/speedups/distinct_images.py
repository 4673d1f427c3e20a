"""Passes each distinct image of a batch through the vision tower once.

RSVQA has a hundred questions about one image, and all completions of a prompt have the same
images. The features are those of the ordinary way, copied to the rows.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

_PIXELS = "pixel_values"
_GRIDS = "image_grid_thw"


class UnknownOutputError(Exception):
    """A family returns its features in a form that is not known here."""


class Way:
    """A method of a model that is given images and can be given the distinct ones alone.

    `of_images` says what a list in its output holds: an entry per image, else one per layer.
    """

    def __init__(self, owner: nn.Module, name: str, *, of_images: bool) -> None:
        self._owner, self._name, self._of_images = owner, name, of_images
        self.saved = 0
        """Number of images that were not computed."""

    def enable(self) -> None:
        """Let the method compute equal images once."""
        ordinary = getattr(type(self._owner), self._name)
        setattr(self._owner, self._name, MethodType(self._stand_in(ordinary), self._owner))

    def disable(self) -> None:
        """Let the method compute all images."""
        delattr(self._owner, self._name)

    def _stand_in(self, ordinary: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(ordinary)
        rest = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), "")

        @functools.wraps(ordinary)  # transformers reads the names of the arguments
        def shared(this: Any, *args: Any, **kwargs: Any) -> Any:
            given = dict(signature.bind(this, *args, **kwargs).arguments)
            fields = given | given.pop(rest, {})
            fields.pop(next(iter(signature.parameters)))  # self
            chosen = _distinct(fields)
            if chosen is None:
                return ordinary(this, *args, **kwargs)
            self.saved += len(chosen.which) - max(chosen.which) - 1
            output = ordinary(this, **chosen.fields)
            _copy(output, chosen.which, of_images=self._of_images)
            return output

        return shared


def ways(model: Any, tower: nn.Module) -> Iterator[Way]:
    """Yield the ways to share images that a model may have, the one that shares most first.

    Whether a way leaves the features unchanged is not visible from outside: a tower may let the
    images of a batch attend to each other. `trial.enable` tries.
    """
    method = getattr(type(model.base_model), "get_image_features", None)
    taken = inspect.signature(method).parameters if method is not None else {}
    if _PIXELS not in taken:
        return
    if _GRIDS not in taken and _PIXELS in inspect.signature(type(tower).forward).parameters:
        # tiles of equal content too, and whatever a family does with the tiles of a prompt
        yield Way(tower, "forward", of_images=False)
    yield Way(model.base_model, "get_image_features", of_images=True)


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    fields: dict[str, Any]
    """Arguments with the distinct images alone."""
    which: list[int]
    """For every image, its place among the distinct ones."""


def _distinct(fields: dict[str, Any]) -> _Chosen | None:
    """Return the arguments with the distinct images alone; `None` where nothing repeats.

    Pixels are one entry per image, or with grids one per patch. Every other tensor with an entry
    per image belongs to its image too, such as the mask of its pixels.
    """
    pixels, grids = fields[_PIXELS], fields.get(_GRIDS)
    n_images = len(pixels if grids is None else grids)
    parts = {
        name: list(value.split(1))
        for name, value in fields.items()
        if isinstance(value, Tensor) and name != _PIXELS and len(value) == n_images
    }
    parts[_PIXELS] = list(pixels.split(1 if grids is None else grids.prod(dim=-1).tolist()))
    firsts, which = distinct([tuple(each) for each in zip(*parts.values(), strict=True)])
    if len(firsts) == len(which):
        return None
    chosen = {name: torch.cat([values[i] for i in firsts]) for name, values in parts.items()}
    return _Chosen(fields=fields | chosen, which=which)


def distinct(images: Sequence[tuple[Tensor, ...]]) -> tuple[list[int], list[int]]:
    """Return the first of each kind of image, and for every image the place of its kind there.

    An image is the tensors that describe it; those of equal images are equal.
    """
    sums = torch.stack([each[-1].sum(dtype=torch.float32) for each in images]).tolist()
    firsts: list[int] = []
    which: list[int] = []
    alike: dict[float, list[int]] = {}
    for i, image in enumerate(images):
        places = alike.setdefault(sums[i], [])
        place = next((p for p in places if all(map(torch.equal, images[firsts[p]], image))), None)
        if place is None:
            place = len(firsts)
            places.append(place)
            firsts.append(i)
        which.append(place)
    return firsts, which


def _copy(output: Any, which: Sequence[int], *, of_images: bool) -> None:
    """Give every image of a batch its features, in place of those of the distinct images.

    Raises:
        UnknownOutputError: a field has neither an entry per image nor one per token of an image.
    """
    pooled = output.get("pooler_output")
    sizes = [len(each) for each in pooled] if isinstance(pooled, list | tuple) else None
    n_distinct = max(which) + 1

    def copied(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, Tensor):
            return _rows(value, which, n_distinct=n_distinct, sizes=sizes)
        if of_images and len(value) == n_distinct and all(isinstance(v, Tensor) for v in value):
            return tuple(value[i] for i in which)
        return [copied(each) for each in value]

    for name, value in output.items():
        output[name] = copied(value)


def _rows(
    value: Tensor, which: Sequence[int], *, n_distinct: int, sizes: Sequence[int] | None
) -> Tensor:
    """Return the rows of a tensor that belong to the images: one each, or as many as `sizes`."""
    if len(value) == n_distinct:
        return value[torch.tensor(which, device=value.device)]
    total = sum(sizes or ())
    if not sizes or len(value) % total:
        raise UnknownOutputError(f"{len(value)} rows of {n_distinct} images")
    parts = value.split([size * (len(value) // total) for size in sizes])
    return torch.cat([parts[i] for i in which])
