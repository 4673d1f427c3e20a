"""What an untrained model writes tells in which frame and order it was pre-trained."""

from __future__ import annotations

import dataclasses
import random

import pytest

from geovlm import boxes
from geovlm.api import BoxFrame, BoxOrder, ModelProfile, PromptContext
from geovlm.boxes import Box
from geovlm.engine.evaluation import frames
from geovlm.engine.rows.rows import Row

SIZE, SEEN = (800, 600), (812, 588)


def profile(frame: BoxFrame | None, order: BoxOrder = "xyxy") -> ModelProfile:
    return ModelProfile(name="p", model_types=("p",), box_frame=frame, box_order=order)


def rows(n: int, **target: str) -> list[Row]:
    drawn = random.Random(0)
    made = []
    for i in range(n):
        x, y = drawn.randrange(600), drawn.randrange(100, 400)
        held = [[x, y, x + drawn.randrange(60, 200), y + drawn.randrange(30, 90)]]
        made.append(
            Row(
                task="t",
                sample_id=str(i),
                images=("a",),
                question="Where?",
                target={"boxes": held, **target},
                image_sizes=(SIZE,),
                input_sizes=(SEEN,),
            )
        )
    return made


def written(asked: list[Row], family: ModelProfile) -> list[str]:
    """Return what a model of that family writes without training: boxes, but no tags."""
    ctx = PromptContext(profile=family, image_sizes=(SIZE,), input_sizes=(SEEN,))
    return [
        f"The object is at {boxes.write([Box(*box) for box in row.target['boxes']], ctx)}."
        for row in asked
    ]


@pytest.mark.parametrize("frame", ["norm1000", "norm1", "input_pixels"])
@pytest.mark.parametrize("order", ["xyxy", "yxyx"])
def test_the_frame_in_which_a_model_was_pre_trained_fits_best(
    frame: BoxFrame, order: BoxOrder
) -> None:
    asked = rows(40)
    found = frames.fits(asked, written(asked, profile(frame, order)), profile=profile("norm100"))
    assert next(iter(found)) == "norm100 xyxy"
    assert max(found, key=lambda name: found[name]) == f"{frame} {order}"
    assert found[f"{frame} {order}"] > 0.9


def test_a_wrong_order_is_named_with_the_right_settings() -> None:
    asked = rows(40)
    found = frames.fits(
        asked, written(asked, profile("norm1000", "yxyx")), profile=profile("norm1000")
    )
    said = frames.doubt(found, task="xbd/detect")
    assert said is not None
    assert said.startswith("task xbd/detect: the boxes that the model writes lie on objects as")
    assert said.endswith("--set profile.box_frame=norm1000 --set profile.box_order=yxyx?")


def test_a_right_frame_raises_no_doubt() -> None:
    asked = rows(40)
    found = frames.fits(asked, written(asked, profile("norm1000")), profile=profile("norm1000"))
    assert frames.doubt(found, task="t") is None


def test_a_model_that_writes_no_box_raises_no_doubt() -> None:
    asked = rows(40)
    found = frames.fits(asked, ["I see a ship."] * 40, profile=profile("norm1000"))
    assert frames.doubt(found, task="t") is None


def test_boxes_at_random_places_raise_no_doubt() -> None:
    asked, others = rows(40), rows(80)[40:]
    found = frames.fits(asked, written(others, profile("norm1000")), profile=profile("norm1"))
    assert frames.doubt(found, task="t") is None


@pytest.mark.parametrize(
    ("n", "target", "frame"),
    [(15, {}, "norm1000"), (40, {"answer": "yes"}, "norm1000"), (40, {}, None)],
    ids=["few images", "no boxes in the answer", "no frame"],
)
def test_nothing_is_compared_where_nothing_can_be_told(
    n: int, target: dict[str, str], frame: BoxFrame | None
) -> None:
    asked = rows(n, **target)
    assert frames.fits(asked, ["[1, 2, 30, 40]"] * n, profile=profile(frame)) == {}


def test_tags_around_the_answer_do_not_matter() -> None:
    asked = rows(20)
    bare = written(asked, profile("norm1000"))
    tagged = [f"<think> so </think><answer> {text} </answer>" for text in bare]
    fitted = [frames.fits(asked, each, profile=profile("norm1")) for each in (bare, tagged)]
    assert fitted[0] == fitted[1]


def test_a_row_without_an_object_does_not_count() -> None:
    asked = rows(20)
    empty = dataclasses.replace(asked[0], target={"boxes": []})
    texts = written(asked, profile("norm1000"))
    with_empty = frames.fits([*asked, empty], [*texts, "none"], profile=profile("norm1000"))
    assert with_empty == frames.fits(asked, texts, profile=profile("norm1000"))
