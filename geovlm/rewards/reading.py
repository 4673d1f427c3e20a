"""Reads labels, boxes and texts of an answer and of its target, as the rewards compare them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geovlm import answers, boxes
from geovlm.api import RewardContext

MAX_BOXES = 256
"""Largest number of predicted boxes that are read, the first ones."""


def references(target: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the texts that count as right: `captions`, else `text`, else `answer`.

    A single caption may stand without a list. Null and blank texts are left out.
    """
    for name in ("captions", "text", "answer"):
        value = target.get(name)
        many = value if isinstance(value, list | tuple) and name == "captions" else (value,)
        found = tuple(str(each) for each in many if each is not None and str(each).strip())
        if found:
            return found
    return ()


def label_sets(completion: str, ctx: RewardContext) -> tuple[set[str], set[str]]:
    """Return the true labels and those that the answer names, normalised."""
    truth = {str(label) for label in ctx.target.get("labels") or ()}  # type: ignore[union-attr]
    vocabulary = [str(v) for v in ctx.target.get("vocabulary") or sorted(truth)]  # type: ignore[union-attr]
    named = answers.labels(answers.answer_text(completion), vocabulary)
    return set(map(answers.normalise, truth)), set(map(answers.normalise, named))


def box_labels(target: Mapping[str, Any]) -> list[str]:
    """Return the label of each true box: `box_labels`, else `label` for all of them.

    Raises:
        ValueError: the target has neither, or not one label per box; none for no box is sound.
    """
    n, labels = len(target.get("boxes") or ()), target.get("box_labels")
    if labels is None:
        labels = [target["label"]] * n if "label" in target else []
    if len(labels) != n:
        raise ValueError(f"the target has {n} boxes and {len(labels)} 'box_labels'")
    return [str(each) for each in labels]


def box_lists(completion: str, ctx: RewardContext) -> tuple[list[boxes.Box], list[boxes.Box]]:
    """Return the true and the predicted boxes, axis-aligned, in pixels of the stored image."""
    flat = boxes.drop_angle if ctx.options.get("hbb") == "drop" else boxes.enclosing
    truth = [flat(box) for box in boxes.target_boxes(ctx.target)]
    found = boxes.parse(answers.answer_text(completion), ctx, limit=MAX_BOXES)
    return truth, [flat(box) for box in found]


def explain(completion: str, ctx: RewardContext) -> dict[str, Any]:
    """Return what the built-in rewards read in a completion, named for people."""
    parts: dict[str, Any] = {
        "answer": answers.answer_text(completion),
        "think": answers.think_text(completion),
        "format/think": answers.has_think(completion),
        "format/answer": answers.has_answer(completion),
    }
    if "vocabulary" in ctx.target and "labels" in ctx.target:
        truth, named = label_sets(completion, ctx)
        parts["labels"] = {"true": sorted(truth), "named": sorted(named)}
    if "boxes" in ctx.target:
        truth_boxes, predicted = box_lists(completion, ctx)
        parts["boxes"] = {
            "true": [list(box) for box in truth_boxes],
            "predicted": [list(box) for box in predicted],
            "matched": boxes.match(truth_boxes, predicted),
        }
    if "box_labels" in ctx.target:
        vocabulary = [str(v) for v in ctx.target.get("vocabulary") or box_labels(ctx.target)]  # type: ignore[union-attr]
        read = boxes.parse_labelled(parts["answer"], ctx, vocabulary=vocabulary, limit=MAX_BOXES)
        parts["boxes"]["named"] = [each.label for each in read]
    if references(ctx.target):
        parts["references"] = list(references(ctx.target))
    return parts
