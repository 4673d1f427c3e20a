"""The maps that nano learns to see by, against scenes laid out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geovlm.scenes import COVERS, DAMAGES, DISASTERS, KINDS, ROOFS, Item, Scene
from tools.nano import architecture, dense

# 14 px wide from the corner of token (2, 2) of 6 x 6: its cells are the token's own 4 x 4
BUILDING = Item(kind="building", box=(28.0, 28.0, 42.0, 35.0), colour="blue", damage="destroyed")
TOKEN = 2 * 6 + 2


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
    assert things.shape == (36, 16)
    building = 2 + KINDS.index("building")
    # half of the token's height: its first two rows of four cells
    assert [tuple(map(int, at)) for at in np.argwhere(things == building)] == [
        (TOKEN, cell) for cell in range(8)
    ]
    assert found["colour"][TOKEN].tolist() == [ROOFS.index("blue")] * 8 + [-100] * 8
    assert found["damage"][TOKEN, 0] == DAMAGES.index("destroyed")
    assert found["ground"][TOKEN, 0] == -100
    assert found["disaster"] == 1 + DISASTERS.index("flood")


def test_a_covered_token_has_the_box() -> None:
    found = dense.maps(scene(BUILDING))
    assert np.flatnonzero(found["centre"]).tolist() == [TOKEN]
    assert found["box"][TOKEN].tolist() == [28, 28, 42, 35]
    # from the corner (28, 28) of the token, counted from 42 px before it
    assert found["edges"][TOKEN].tolist() == [42, 42, 56, 49]
    assert set(found["box"][TOKEN + 1]) == {-100}
    assert (found["row"][TOKEN], found["column"][TOKEN]) == (2, 2)


def test_every_token_of_an_object_has_its_box_from_its_own_corner() -> None:
    # 28 x 14 px over the tokens (2, 2) and (2, 3)
    found = dense.maps(scene(Item(kind="ship", box=(28.0, 28.0, 56.0, 42.0), colour="red")))
    assert found["box"][TOKEN].tolist() == found["box"][TOKEN + 1].tolist() == [28, 28, 56, 42]
    assert found["edges"][TOKEN].tolist() == [42, 42, 42 + 28, 42 + 14]
    assert found["edges"][TOKEN + 1].tolist() == [42 - 14, 42, 42 + 14, 42 + 14]


def test_a_token_that_is_hardly_covered_has_no_box() -> None:
    # 3.5 px of the token's width, one column of its cells over two rows: 2 of 16 cells
    found = dense.maps(scene(Item(kind="ship", box=(28.0, 28.0, 31.5, 35.0), colour="red")))
    assert set(found["box"][TOKEN]) == {-100}


def test_before_the_disaster_nothing_is_damaged() -> None:
    found = dense.maps(scene(BUILDING, disaster="flood"), before=True)
    assert (found["damage"][TOKEN, 0], found["disaster"]) == (0, 0)


def test_the_ground_is_that_of_each_half() -> None:
    ground = dense.maps(scene())["ground"].reshape(6, 6, 16)
    assert set(ground[:, :3].ravel()) == {COVERS.index("forest")}
    assert set(ground[:, 3:].ravel()) == {COVERS.index("water")}


def test_maps_do_not_depend_on_the_size_of_the_scene() -> None:
    twice = Item(**{**_fields(BUILDING), "box": tuple(2 * v for v in BUILDING.box)})
    small, large = dense.maps(scene(BUILDING)), dense.maps(scene(twice, scale=2))
    assert all(np.array_equal(small[name], large[name]) for name in small)


def test_perfect_heads_lose_nothing() -> None:
    """Heads that predict the targets with certainty have losses of 0, and of wrong boxes not."""
    targets = dense.stack([dense.maps(scene(BUILDING, disaster="flood"))])
    heads = dense.Heads(architecture.VISUAL_TOKENS)
    for norm in (heads.seen_norm, heads.placed_norm):
        norm.weight.data.fill_(1.0)
    tokens = torch.eye(architecture.VISUAL_TOKENS)[None]  # each token names itself
    for name, layer in (*heads.seen.items(), *heads.placed.items()):
        wanted = targets[name].expand(1, 36) if name == "disaster" else targets[name]
        wanted = wanted.reshape(36, -1).clamp(min=0)
        classes = layer.out_features // wanted.shape[1]
        logits = torch.nn.functional.one_hot(wanted, classes).float().reshape(36, -1)
        layer.weight.data, layer.bias.data = 10 * logits.T, torch.zeros(layer.out_features)
    losses = heads.losses(tokens, tokens, targets)
    assert max(loss.item() for loss in losses.values()) == pytest.approx(0.0, abs=1e-6)
    worse = heads.losses(tokens, tokens, {**targets, "box": targets["box"].clamp(min=0) // 2})
    assert worse["box"] > 1


def _fields(item: Item) -> dict:
    return {name: getattr(item, name) for name in ("kind", "box", "colour", "damage")}
