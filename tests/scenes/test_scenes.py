from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from geovlm.scenes import COVERS, DAMAGES, DISASTERS, KINDS, Item, Scene, compose, cover_map, render


def _scene(*, seed: int = 3, size: int = 84, **options):
    return compose(np.random.default_rng(seed), size_px=(size, size), **options)


def _house(*, damage: str = "no-damage", angle_deg: float = 0.0) -> Scene:
    house = Item(
        kind="building", box=(20, 30, 60, 50), colour="red", damage=damage, angle_deg=angle_deg
    )
    ground = (("pasture", (0, 0, 84, 84)),)
    return Scene(size_px=(84, 84), covers=ground, items=(house,), disaster="wind", seed=1)


def test_the_same_generator_state_gives_the_same_picture():
    assert _scene() == _scene()
    assert np.array_equal(render(_scene()), render(_scene()))


def test_another_seed_gives_another_scene():
    assert _scene(seed=1) != _scene(seed=2)


def test_a_picture_is_uint8_rows_by_columns_by_three():
    scene = compose(np.random.default_rng(0), size_px=(120, 60))
    picture = render(scene)
    assert (picture.shape, picture.dtype) == ((60, 120, 3), np.uint8)


def test_items_lie_inside_the_frame_and_do_not_overlap():
    scene = _scene(kinds=KINDS, count=(4, 4))
    filled = np.zeros((84, 84), int)
    for item in scene.items:
        x0, y0, x1, y1 = map(int, item.box)
        assert 0 <= x0 < x1 <= 84
        assert 0 <= y0 < y1 <= 84
        filled[y0:y1, x0:x1] += 1
    assert len(scene.items) == 4
    assert filled.max() == 1


def test_items_run_from_left_to_right():
    lefts = [item.box[0] for item in _scene(count=(4, 4)).items]
    assert lefts == sorted(lefts)


def test_land_covers_fill_the_frame():
    scene = _scene(n_covers=(3, 3))
    area = sum((x1 - x0) * (y1 - y0) for _, (x0, y0, x1, y1) in scene.covers)
    assert area == 84 * 84
    assert set(np.unique(cover_map(scene))) == {COVERS.index(name) for name, _ in scene.covers}


def test_without_a_disaster_nothing_is_damaged_and_both_dates_look_alike():
    scene = _scene(count=(3, 3))
    assert {item.damage for item in scene.items} == {"no-damage"}
    assert np.array_equal(render(scene, when="pre"), render(scene))


@pytest.mark.parametrize("disaster", DISASTERS)
def test_a_disaster_leaves_traces_on_the_ground(disaster):
    scene = _scene(disaster=disaster, count=(0, 0))
    changed = np.any(render(scene, when="pre") != render(scene), axis=-1)
    assert changed.mean() > 0.02


def test_none_draws_a_disaster():
    assert _scene(disaster=None).disaster in DISASTERS


@pytest.mark.parametrize("damage", DAMAGES[1:])
def test_damage_changes_the_roof(damage):
    roof = (slice(30, 50), slice(20, 60))
    whole = render(_house())[roof].astype(int)
    hit = render(_house(damage=damage))[roof].astype(int)
    assert np.any(np.abs(whole - hit) > 40, axis=-1).mean() > 0.1


def test_a_roof_is_painted_inside_its_box_only():
    bare = Scene(size_px=(84, 84), covers=_house().covers, items=(), disaster="wind", seed=1)
    changed = np.any(render(bare) != render(_house()), axis=-1)
    rows, columns = np.nonzero(changed)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (20, 30, 60, 50)


def test_a_quarter_turn_swaps_width_and_height():
    bare = Scene(size_px=(84, 84), covers=_house().covers, items=(), disaster="wind", seed=1)
    changed = np.any(render(bare) != render(_house(angle_deg=90)), axis=-1)
    rows, columns = np.nonzero(changed)
    # centre (40, 40), 40 x 20 px, turned: 20 x 40 px
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (30, 20, 50, 60)


def test_a_scene_looks_alike_at_every_size():
    small = render(_scene(size=84, kinds=KINDS)).astype(float)
    large = Image.fromarray(render(_scene(size=252, kinds=KINDS)))
    shrunk = np.asarray(large.resize((84, 84), Image.Resampling.BOX)).astype(float)
    assert np.abs(small - shrunk).mean() < 8  # of 255: edges round differently
