"""Rubbish in place of answers and truths, for every protocol, in others' files and in ours."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from geovlm.score.protocols import catalogue, records, scoring
from geovlm.score.protocols.contract import Score

ABSENT = object()
RUBBISH: tuple[Any, ...] = (
    ABSENT,
    None,
    math.nan,
    math.inf,
    -1e308,
    7,
    0.5,
    True,
    "",
    " \t",
    [],
    [None, math.nan],
    ["xyzzy", None],
    [[1, None, 3, 4], [math.inf, 2, 3, 4], [1], "x"],
    {},
    {"answer": {"answer": ["yes"]}},
    "\ud83d",
    "\x00",
    "</answer><think><answer>",
    "[[[[[" * 3000,
    "9" * 6000,
    "xyzzy " * 4000,
)
"""Values that are right in no row of this file."""

_BOX, _OTHER = "[[10, 10, 40, 40, 0]]", "[[60, 60, 90, 90, 0]]"
_SENTENCE, _WRONG = "a wide road was built here", "four grey boats lie there"
_LEVELS = {str(level): {"tp": 5, "fp": 1, "fn": 2} for level in (1, 2, 3, 4)}
_MASKS = ("localization_prediction", "damage_prediction", "localization_target", "damage_target")

THEIRS: dict[str, tuple[dict[str, Any], Any]] = {
    "earthdial/refer": ({"answer": _BOX, "gt_bbox": _BOX, "size_group": "small"}, _OTHER),
    "earthdial/grounding": (
        {"answer": f"a ship {_BOX}", "groundtruth": f"a ship {_BOX}", "obj_ids": _BOX},
        _OTHER,
    ),
    "earthdial/xbd_detect": ({"answer": _BOX, "caption0": _BOX}, _OTHER),
    "earthdial/region_caption": (
        {"answer": _SENTENCE, "annotation": _SENTENCE, "size_group": "small"},
        _WRONG,
    ),
    "earthdial/caption": (
        {"answer": _SENTENCE, **{f"caption{i}": _SENTENCE for i in range(5)}},
        _WRONG,
    ),
    "earthdial/classify": ({"answer": "sea", "annotation": "sea"}, "land"),
    "earthdial/vqa": ({"answer": "yes", "annotation": "yes", "vqa_type": "presence"}, "no"),
    "geochat/bench": ({"answer": _BOX, "gt_bbox": _BOX, "size_group": "small"}, _OTHER),
    "rsvqa": ({"answer": "120", "annotation": "120", "vqa_type": "count"}, "0"),
    "rsvqa/lrben": ({"answer": "yes", "annotation": "yes", "vqa_type": "comp"}, "no"),
    "rsvqa/hrben": ({"answer": "yes", "annotation": "yes", "vqa_type": "comp"}, "no"),
    "rsvqa/xben": ({"answer": "None", "annotation": "None", "vqa_type": "LC"}, "forests"),
    "rsvqa/hr": ({"answer": "120m2", "annotation": "120m2", "vqa_type": "area"}, "0m2"),
    "bigearthnet": ({"answer": "Pastures", "labels": ["Pastures"]}, "Inland waters"),
    "xview2": (dict.fromkeys(_MASKS, "mask.png"), "blank.png"),
    "change_caption": (
        {"answer": _SENTENCE, "caption0": _SENTENCE, "caption1": _SENTENCE},
        "there is no difference",
    ),
    **dict.fromkeys(
        ("choice", "geobench_vlm", "xlrs"),
        ({"answer": "B", "label": "B", "query": "Which?\nA.river\nB.road"}, "A"),
    ),
    "vrsbench/vqa": ({"answer": "yes", "ground_truth": "Yes", "type": "object existence"}, "no"),
    "vrsbench/refer": (
        {"answer": "{<10><10><40><40>}", "ground_truth": "{<10><10><40><40>}", "unique": True},
        "{<60><60><90><90>}",
    ),
    "vrsbench/caption": ({"answer": _SENTENCE, "ground_truth": _SENTENCE}, _WRONG),
}
"""Protocol -> a record with a right answer, and a wrong answer."""

OURS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "earthdial/refer": ("[10, 10, 40, 40]", "[60, 60, 90, 90]", {"boxes": [[10, 10, 40, 40]]}),
    "earthdial/grounding": (
        "a ship [10, 10, 40, 40]",
        "[60, 60, 90, 90]",
        {"boxes": [[10, 10, 40, 40]], "text": "a ship [10, 10, 40, 40]"},
    ),
    "earthdial/xbd_detect": ("[10, 10, 40, 40]", "[60, 60, 90, 90]", {"boxes": [[10, 10, 40, 40]]}),
    "earthdial/region_caption": (_SENTENCE, _WRONG, {"captions": [_SENTENCE]}),
    "earthdial/caption": (_SENTENCE, _WRONG, {"captions": [_SENTENCE, _SENTENCE]}),
    "earthdial/classify": ("sea", "land", {"labels": ["sea"], "vocabulary": ["sea", "land"]}),
    "earthdial/vqa": ("yes", "no", {"type": "presence", "answer": "yes"}),
    "geochat/bench": ("[10, 10, 40, 40]", "[60, 60, 90, 90]", {"boxes": [[10, 10, 40, 40]]}),
    "rsvqa": ("120", "0", {"type": "count", "answer": "120"}),
    "rsvqa/lrben": ("yes", "no", {"type": "comp", "answer": "yes"}),
    "rsvqa/hrben": ("yes", "no", {"type": "comp", "answer": "yes"}),
    "rsvqa/xben": ("None", "forests", {"type": "LC", "answer": "None"}),
    "rsvqa/hr": ("120m2", "0m2", {"type": "area", "answer": "120m2"}),
    "bigearthnet": ("sea", "land", {"labels": ["sea"], "vocabulary": ["sea", "land"]}),
    "change_caption": (_SENTENCE, "there is no difference", {"captions": [_SENTENCE] * 2}),
    **dict.fromkeys(
        ("choice", "geobench_vlm", "xlrs"),
        ("B", "A", {"answer": "B", "choices": ["river", "road"], "type": "scene"}),
    ),
    "vrsbench/vqa": ("yes", "no", {"type": "object existence", "answer": "yes"}),
    "vrsbench/refer": (
        "[10, 10, 40, 40]",
        "[60, 60, 90, 90]",
        {"boxes": [[10, 10, 40, 40]], "hundredths": [10, 10, 40, 40], "unique": True},
    ),
    "vrsbench/caption": (_SENTENCE, _WRONG, {"captions": [_SENTENCE]}),
}
"""Protocol -> a right answer, a wrong answer, the target."""

FILES = [*((name, "theirs") for name in THEIRS), *((name, "ours") for name in OURS)]


def answered(protocol: str, whose: str, *, right: bool, number: int = 0) -> dict[str, Any]:
    if whose == "theirs":
        row, wrong = copy.deepcopy(THEIRS[protocol])
        fields = _MASKS[:2] if protocol == "xview2" else ("answer",)
        return row if right else row | dict.fromkeys(fields, wrong)
    said, wrong, target = OURS[protocol]
    return {
        "task": "t/t",
        "sample_id": str(number),
        "answer": said,
        "completion": f"<think> so </think><answer> {said if right else wrong} </answer>",
        "target": copy.deepcopy(target),
        "image_sizes": [[100, 100]],
        "input_sizes": [[100, 100]],
        "profile": "qwen2.5-vl",
        "meta": {},
    }


def changed(row: dict[str, Any], value: Any, *fields: str) -> dict[str, Any]:
    if value is ABSENT:
        return {name: each for name, each in row.items() if name not in fields}
    return row | dict.fromkeys(fields, value)


def answer_fields(protocol: str, whose: str) -> tuple[str, ...]:
    if whose == "ours":
        return ("completion",)
    return _MASKS[:2] if protocol == "xview2" else ("answer",)


def scored(folder: Path, protocol: str, rows: list[dict[str, Any]]) -> Score:
    path = folder / "predictions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return scoring.score(records.read(path), catalogue.find(protocol), resamples=20)


def named(made: Score) -> dict[str, float]:
    sides = {"published": made.published, "strict": made.strict}
    return {f"{side} {name}": v for side, scores in sides.items() for name, v in scores.items()}


def out_of_range(made: Score) -> dict[str, float]:
    return {
        name: value
        for name, value in named(made).items()
        if not 0 <= value <= (10 if "cider" in name else 1) + 1e-9
    }


def mixture(protocol: str, whose: str) -> list[dict[str, Any]]:
    return [answered(protocol, whose, right=i % 2 == 0, number=i) for i in range(8)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mask = np.array([[0, 1, 2, 1], [0, 3, 4, 1]], dtype=np.uint8)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(np.zeros_like(mask)).save(tmp_path / "blank.png")
    return tmp_path


def test_every_protocol_is_tried() -> None:
    assert set(THEIRS) == set(catalogue.PROTOCOLS)
    ours = {p.name for p in catalogue.PROTOCOLS.values() if p.needs_own is not None}
    assert set(OURS) == ours


@pytest.mark.parametrize(("protocol", "whose"), FILES)
def test_right_answers_score_higher_than_wrong_ones(
    folder: Path, protocol: str, whose: str
) -> None:
    good, bad = (
        scored(folder, protocol, [answered(protocol, whose, right=right)])
        for right in (True, False)
    )
    assert sum(named(good).values()) > sum(named(bad).values())


@pytest.mark.parametrize(("protocol", "whose"), FILES)
def test_rubbish_for_a_right_answer_raises_no_score(
    folder: Path, protocol: str, whose: str
) -> None:
    rows = mixture(protocol, whose)
    before = named(scored(folder, protocol, rows))
    raised = []
    for value in RUBBISH:
        row = changed(rows[0], value, *answer_fields(protocol, whose))
        made = scored(folder, protocol, [row, *rows[1:]])
        assert (made.n, made.lines, made.skipped) == (8, 8, {})
        assert out_of_range(made) == {}
        raised += [
            (repr(value)[:40], name)
            for name, after in named(made).items()
            if after > before.get(name, 0.0) + 1e-12
        ]
    assert raised == []


@pytest.mark.parametrize(("protocol", "whose"), FILES)
def test_answers_that_cannot_be_read_score_zero(folder: Path, protocol: str, whose: str) -> None:
    unreadable = (None, math.nan, "", {"a": 1})
    rows = [
        changed(answered(protocol, whose, right=True, number=i), value, field)
        for i, value in enumerate(unreadable)
        for field in answer_fields(protocol, whose)[:1]
    ]
    made = scored(folder, protocol, rows)
    assert sum(made.unreadable.values()) == made.n == 4
    assert {name: value for name, value in named(made).items() if value > 1e-5} == {}


def damaged(row: dict[str, Any], rng: random.Random) -> Iterator[dict[str, Any]]:
    """Yield the row with one field, or one key of its target, replaced by each rubbish."""
    for value in RUBBISH:
        yield changed(row, value, rng.choice([name for name in row if name != "task"]))
        if "target" in row:
            name = rng.choice(list(row["target"]))
            yield row | {"target": changed(row["target"], value, name)}


@pytest.mark.parametrize(("protocol", "whose"), FILES)
def test_every_damaged_line_is_scored_or_skipped(folder: Path, protocol: str, whose: str) -> None:
    rng = random.Random(f"{protocol} {whose}")
    rows = mixture(protocol, whose)
    for i in range(4):
        rows += damaged(answered(protocol, whose, right=True, number=len(rows) + i), rng)
    rows = [row | {"sample_id": str(i)} for i, row in enumerate(rows)]
    made = scored(folder, protocol, rows)
    assert made.lines == len(rows)
    assert made.n >= 8
    assert out_of_range(made) == {}
    assert all(
        math.isfinite(bound)
        for side in made.ci95.values()
        for each in side.values()
        for bound in each
    )
