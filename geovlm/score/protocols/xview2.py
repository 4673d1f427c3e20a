"""Scores building and damage masks as xView2 does, by pixels.

Rule: DIUx-xView/xView2_scoring, xview2_metrics.py, ea0793d. A line names four PNGs of 0..4
(`localization_prediction`, `damage_prediction`, `localization_target`, `damage_target`; paths
relative to the file), or holds the pixel counts of an image:

    {"localization": {"tp": 9, "fp": 1, "fn": 2},
     "damage": {"1": {"tp": 5, "fp": 1, "fn": 0}, "2": …, "3": …, "4": …}}

Given counts are used for the published and the strict score. Decoding four PNGs of 1024 px takes
far longer than everything else here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from geovlm.score.protocols.contract import Counts, Protocol, Record, Scores, share
from geovlm.score.protocols.values import UnreadableError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

T = TypeVar("T")

LEVELS = {1: "no_damage", 2: "minor_damage", 3: "major_damage", 4: "destroyed"}

_EPSILON = 1e-6
_MOST_PIXELS = 2**53  # sums of larger counts would not be exact
_PARTS = ("tp", "fp", "fn")
_PREDICTED = ("localization_prediction", "damage_prediction")
_TRUE = ("localization_target", "damage_target")


def pixel_counts(
    *, found: np.ndarray, damage: np.ndarray, true_found: np.ndarray, true_damage: np.ndarray
) -> dict[str, float]:
    """Return the pixel counts of one image from four masks `(H, W)` of 0..4.

    As in the official scorer, predicted damage counts only where a building is predicted and the
    truth has damage, and a level counts false positives only in images where the level occurs.
    Counts that begin with `all_` are strict: false positives on every pixel of every image.
    """
    import numpy as np

    building, true_building = found > 0, true_found > 0
    counts: dict[str, float] = {
        "tp": int((building & true_building).sum()),
        "fp": int((building & ~true_building).sum()),
        "fn": int((~building & true_building).sum()),
    }
    visible = np.where(building, damage, 0)
    cells = true_damage.astype(np.int64) * 5 + visible
    table = np.bincount(cells.ravel(), minlength=25).reshape(5, 5)  # truth, prediction
    for level in LEVELS:
        hit, true = int(table[level, level]), int(table[level].sum())
        on_damage, anywhere = int(table[1:, level].sum()), int(table[:, level].sum())
        counts |= {
            f"tp{level}": hit,
            f"fp{level}": on_damage - hit if true else 0,
            f"fn{level}": true - hit,
            f"all_tp{level}": hit,
            f"all_fp{level}": anywhere - hit,
            f"all_fn{level}": true - hit,
        }
    return counts


def _answer(record: Record) -> Sequence[np.ndarray] | None:
    """Predicted masks of the size of the true ones; `None` where the record has counts."""
    if "localization" in record.fields:
        return None
    masks = [_mask(record, name) for name in _PREDICTED]
    shape = _shape(record, _TRUE[0])
    if shape is not None and any(mask.shape != shape for mask in masks):
        raise UnreadableError("a predicted mask has not the size of the true one")
    return masks


def _read(record: Record, predicted: Sequence[np.ndarray] | None) -> Counts:
    """Counts of a record; an image without a readable prediction is one without buildings."""
    import numpy as np

    if "localization" in record.fields:
        return _given(record.fields)
    true_found, true_damage = (_mask(record, name) for name in _TRUE)
    if true_found.shape != true_damage.shape:
        raise UnreadableError("the true masks differ in size")
    found, damage = predicted or [np.zeros_like(true_found)] * 2
    return pixel_counts(found=found, damage=damage, true_found=true_found, true_damage=true_damage)


def _given(fields: Mapping[str, Any]) -> Counts:
    counts = {part: _count(fields["localization"], part) for part in _PARTS}
    damage = fields.get("damage")
    for level in LEVELS:
        own = damage.get(str(level)) if isinstance(damage, dict) else None
        for part in _PARTS:
            counts[f"{part}{level}"] = counts[f"all_{part}{level}"] = _count(own, part)
    return counts


def _count(fields: Any, part: str) -> int:
    value = fields.get(part) if isinstance(fields, dict) else None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST_PIXELS:
        raise UnreadableError("pixel counts are not tp, fp, fn of localization and damage 1 to 4")
    return value


def _mask(record: Record, name: str) -> np.ndarray:
    import numpy as np

    mask = _opened(record, name, np.asarray)
    if mask.ndim != 2 or mask.dtype != np.uint8 or mask.max(initial=0) > max(LEVELS):
        raise UnreadableError(f"{name} is not one band of 0..4")
    return mask


def _shape(record: Record, name: str) -> tuple[int, int] | None:
    """Return height and width of a mask; `None` if it cannot be read."""
    try:
        return _opened(record, name, lambda image: (image.height, image.width))
    except UnreadableError:
        return None


def _opened(record: Record, name: str, use: Callable[[Image], T]) -> T:
    """Return what `use` makes of the image that a field names."""
    import PIL.Image

    path = record.folder / record.text(name)
    try:
        with PIL.Image.open(path) as image:
            return use(image)
    # Pillow has no error of its own for some kinds of damage
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise UnreadableError(f"{name} is not a readable image") from error


def _f1(counts: Counts, *, before: str = "", level: int | str = "") -> float:
    tp, fp, fn = (counts[f"{before}{part}{level}"] for part in _PARTS)
    return share(2 * tp, 2 * tp + fp + fn)


def _scores(counts: Counts, levels: Sequence[int], *, before: str) -> Scores:
    by_level = {level: _f1(counts, before=before, level=level) for level in LEVELS}
    localization = _f1(counts)
    inverse = sum(1 / (by_level[level] + _EPSILON) for level in levels)
    damage = share(len(levels), inverse)  # the harmonic mean
    return {
        "score": 0.3 * localization + 0.7 * damage,
        "localization_f1": localization,
        "damage_f1": damage,
        **{f"damage_f1_{name}": by_level[level] for level, name in LEVELS.items()},
    }


def _strict(counts: Counts) -> Scores:
    present = [level for level in LEVELS if counts[f"tp{level}"] or counts[f"fn{level}"]]
    tp, fp, fn = (counts[part] for part in _PARTS)
    found = _scores(counts, present, before="all_")
    found["localization_iou"] = share(tp, tp + fp + fn)
    return {name: value for name, value in found.items() if name not in _undefined(counts)}


def _undefined(counts: Counts) -> set[str]:
    """Strict scores of pixels on no side: they are 0 for right answers and for wrong ones."""
    names = set()
    if not any(counts[part] for part in _PARTS):
        names |= {"localization_f1", "localization_iou", "score"}
    for level, name in LEVELS.items():
        if not any(counts[f"all_{part}{level}"] for part in _PARTS):
            names.add(f"damage_f1_{name}")
    if len(names & {f"damage_f1_{name}" for name in LEVELS.values()}) == len(LEVELS):
        names |= {"damage_f1", "score"}
    return names


def _counted(counts: Counts) -> dict[str, int]:
    true = {
        f"damage_f1_{name}": int(counts[f"tp{level}"] + counts[f"fn{level}"])
        for level, name in LEVELS.items()
    }
    return {"localization_f1": int(counts["tp"] + counts["fn"]), **true}


XVIEW2 = Protocol(
    name="xview2",
    summary="Building and damage masks, by pixels.",
    published_rule="score: 0.3 localization_f1 + 0.7 damage_f1; damage_f1: harmonic mean of the "
    "four levels, on true buildings only, a level that never occurs counts as 0",
    strict_rule="damage on every pixel, false alarms outside buildings included; damage_f1 over "
    "the levels that occur; a score of pixels that occur on no side is left out",
    source="DIUx-xView/xView2_scoring, xview2_metrics.py, ea0793d",
    needs=(("localization", "localization_prediction"), ("damage", "damage_prediction")),
    needs_own=None,
    read=_read,
    tally=lambda cases: cases,
    credit=frozenset(),  # masks without buildings earn nothing
    answer=_answer,
    nothing=None,
    published=lambda counts: _scores(counts, list(LEVELS), before=""),
    strict=_strict,
    counted=_counted,
)
