"""The maps that nano's vision tower learns first, against scenes laid out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geovlm.scenes import COVERS, DAMAGES, DISASTERS, KINDS, ROOFS, Item, Scene
from tools.nano import architecture, corpus, dense, tokenizer

# a building of 8 x 4 px in the corner of the middle token: cells (7, 7) and (7, 8) of 21 x 21
BUILDING = Item(kind="building", box=(28.0, 28.0, 36.0, 32.0), colour="blue", damage="destroyed")


def scene(*items: Item, scale: int = 1, **fields) -> Scene:
    side = 84 * scale
    return Scene(
        size_px=(side, side),
        covers=(("forest", (0.0, 0.0, side / 2, side)), ("water", (side / 2, 0.0, side, side))),
        items=items,
        seed=1,
        **fields,
    )


def test_a_building_fills_its_cells_of_its_token() -> None:
    found = dense.maps(scene(BUILDING, disaster="flood"))
    things = found["thing"]
    assert things.shape == (9, 49)
    building = 2 + KINDS.index("building")
    assert [tuple(map(int, at)) for at in np.argwhere(things == building)] == [(4, 0), (4, 1)]
    assert found["colour"][4, :3].tolist() == [ROOFS.index("blue")] * 2 + [-100]
    assert found["damage"][4, 0] == DAMAGES.index("destroyed")
    assert found["ground"][4, 0] == -100
    assert found["box"][4, 0] == pytest.approx([28 / 84, 28 / 84, 36 / 84, 32 / 84])
    assert found["disaster"] == 1 + DISASTERS.index("flood")


def test_the_centre_is_one_cell() -> None:
    # the middle of 28..36 is 32, which is the first column of the cell 32..36
    centre = dense.maps(scene(BUILDING))["centre"]
    assert [tuple(map(int, at)) for at in np.argwhere(centre)] == [(4, 1)]


def test_before_the_disaster_nothing_is_damaged() -> None:
    found = dense.maps(scene(BUILDING, disaster="flood"), before=True)
    assert (found["damage"][4, 0], found["disaster"]) == (0, 0)


def test_the_ground_is_that_of_each_half() -> None:
    ground = dense.maps(scene())["ground"]
    # tokens 0, 3, 6 are the left third, 2, 5, 8 the right one
    assert set(ground[[0, 3, 6]].ravel()) == {COVERS.index("forest")}
    assert set(ground[[2, 5, 8]].ravel()) == {COVERS.index("water")}


def test_maps_do_not_depend_on_the_size_of_the_scene() -> None:
    twice = Item(**{**_fields(BUILDING), "box": tuple(2 * v for v in BUILDING.box)})
    small, large = dense.maps(scene(BUILDING)), dense.maps(scene(twice, scale=2))
    assert all(np.array_equal(small[name], large[name]) for name in small)


def test_training_lowers_the_loss_and_moves_the_tower_alone() -> None:
    model = architecture.build(tokenizer.train(corpus.text(n=40)), seed=0)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    losses = dense.pretrain(model, steps=12, seed=0, batch=8)
    moved = {n for n, weight in model.state_dict().items() if not torch.equal(weight, before[n])}
    assert moved
    assert all("visual" in name for name in moved)
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


def _fields(item: Item) -> dict:
    return {name: getattr(item, name) for name in ("kind", "box", "colour", "damage")}
