"""Tries speed-ups on a few images and tokens when a model is loaded.

A speed-up is exact for some families and wrong for others, and those of transformers are too many
to list: a tower may let the images of a batch attend to each other, a decoder may carry one
completion into the next. Here both ways are computed; a speed-up is used if they give the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import PreTrainedModel

from geovlm.engine.speedups import distinct_images, shared_prompt, vision_attention

_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}
"""Largest distance of features, in shares of their norm; `_COARSE` for 16 bits."""
_COARSE = 5e-2
_FAILURES = (
    distinct_images.UnknownOutputError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors of a family that is not called as here: it takes the ordinary way."""


def prompts(model: Any) -> str:
    """Return why a model's prompts cannot be shared by their completions; empty if they can.

    Two completions of a prompt of text alone are computed in one row and in a row each; and in one
    row the first must not change with the second.
    """
    why = shared_prompt.refusal(model)
    if why:
        return why
    one, other, changed = [7, 3, 9], [2, 8, 4, 6], [5, 1, 1, 5]
    try:
        apart = [_packed(model, [row]) for row in (one, other)]
        together = _packed(model, [one, other])
        beside = _packed(model, [one, changed])
    except _FAILURES as error:
        return f"rows of text cannot be tried ({_line(error)})"
    if not _same(together, torch.cat(apart)) or not _same(beside[: len(one)], apart[0]):
        return "in one row its completions are not those of rows of their own"
    return ""


def _packed(model: Any, completions: Sequence[Sequence[int]]) -> Tensor:
    """Return the features that predict the tokens of completions, in their order, all in one row.

    A single completion is a row of the ordinary way, without a mask per pair of tokens.
    """
    prompt = torch.tensor([3, 1, 4, 1, 5], device=model.device)
    rows = [
        shared_prompt.Row(
            prompt=prompt,
            kinds=None,
            completion=prompt.new_tensor(ids),
            columns=torch.arange(len(ids), device=prompt.device),
            images={},
        )
        for ids in completions
    ]
    packed = shared_prompt.pack(rows, model=model.base_model)
    scored = packed.inputs.pop("shift_labels") != -100
    if len(rows) == 1:
        packed.inputs["attention_mask"] = torch.ones_like(packed.inputs["input_ids"])
        packed.inputs.pop("position_ids")
    with _evaluating(model):
        found = model.base_model(**packed.inputs, use_cache=False).last_hidden_state
    return cast(Tensor, found[scored])


class Speedups(NamedTuple):
    """Speed-ups of a vision tower."""

    windows: bool = False
    """True if windows of equal size attend in one batch."""
    images: int | None = None
    """Place among `distinct_images.ways` of the way to share images; `None`: not shared."""
    notes: tuple[str, ...] = ()
    """A line for each speed-up that the tower does not allow."""


def find(
    model: PreTrainedModel, processor: Any, *, tower: nn.Module, side: int, share_images: bool
) -> Speedups:
    """Enable the speed-ups of a vision tower that leave its features unchanged, and return them.

    Windows attend in batches; with `share_images` each distinct image of a batch passes the tower
    once. `side` is the number that the sides of images are multiples of, px.
    """
    unused = "share_images is not used: "
    if any(isinstance(module, _BatchNorm) for module in tower.modules()):
        why = "batch normalization mixes the images of a batch"
        return Speedups(notes=(unused + why,) if share_images else ())
    try:
        fields = _images(model, processor, side=side)
        plain = _features(model, fields)
    except _FAILURES as error:
        why = f"images of this family cannot be tried ({_line(error)})"
        return Speedups(notes=(unused + why,) if share_images else ())
    notes = []
    windows = False
    if isinstance(tower, PreTrainedModel) and vision_attention.batch(tower):
        why = _difference(model, fields, plain)
        windows = not why
        if why:
            vision_attention.undo(tower)
            notes.append(f"windows of images do not attend in batches: {why}")
    if not share_images:
        return Speedups(windows, None, tuple(notes))
    why = "the family has no method for the features of images"
    for number, way in enumerate(distinct_images.ways(model, tower)):
        way.enable()
        why = _difference(model, fields, plain)
        if not why and way.saved:
            return Speedups(windows, number, tuple(notes))
        why = why or "equal images are not found among those that its tower is given"
        way.disable()
    return Speedups(windows, None, (*notes, unused + why))


def repeat(speedups: Speedups, model: PreTrainedModel, *, tower: nn.Module) -> None:
    """Enable the speed-ups of a model for another one of the same kind, such as the reference."""
    if speedups.windows and isinstance(tower, PreTrainedModel):
        vision_attention.batch(tower)
    if speedups.images is not None:
        list(distinct_images.ways(model, tower))[speedups.images].enable()


def _images(model: PreTrainedModel, processor: Any, *, side: int) -> dict[str, Any]:
    """Return what the model takes of three images, of which the last equals the first."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (4 * side, 4 * side, 3), dtype=np.uint8)
    ramp = np.linspace(0, 255, 6 * side, dtype=np.uint8)[None, :, None].repeat(4 * side, 0)
    one, other = Image.fromarray(noise), Image.fromarray(ramp.repeat(3, 2))
    made = processor.image_processor(images=[one, other, one], return_tensors="pt")
    inner: Any = model.base_model
    taken = inspect.signature(inner.get_image_features).parameters
    return {name: _placed(value, model) for name, value in made.items() if name in taken}


def _placed(value: Any, model: PreTrainedModel) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.to(model.device, model.dtype if value.is_floating_point() else None)


def _features(model: Any, fields: Mapping[str, Any]) -> Any:
    with _evaluating(model):
        return model.base_model.get_image_features(**fields)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Compute without gradients and dropout."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def _difference(model: Any, fields: Mapping[str, Any], plain: Any) -> str:
    """Return why the features of a speed-up are not the plain ones; empty if they are."""
    try:
        found = _features(model, fields)
    except _FAILURES as error:
        return f"its features have an unknown form ({_line(error)})"
    mine, theirs = dict(_leaves(found)), dict(_leaves(plain))
    if {name: value.shape for name, value in mine.items()} != {
        name: value.shape for name, value in theirs.items()
    }:
        return "its features have an unknown form"
    for name, value in theirs.items():
        if not _same(mine[name], value):
            return "the features of an image depend on the other images of its batch"
    return ""


def _same(found: Tensor, expected: Tensor) -> bool:
    tolerance = _TOLERANCE.get(expected.dtype, _COARSE)
    distance = (found.double() - expected.double()).norm()
    return bool(distance <= tolerance * expected.double().norm())


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for i, each in enumerate(value):
            yield from _leaves(each, f"{name}.{i}")


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
