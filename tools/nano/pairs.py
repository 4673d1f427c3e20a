"""Builds questions about two images of one place, before and after."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geovlm.scenes import (
    DAMAGES,
)
from tools.nano.views import (
    Views,
    ask,
    both_views,
    box_list,
    corners,
    draw_scene,
    listing,
    pick,
    states,
    summary,
    view,
)

SIGNS = {
    "volcano": "a dark band with a red core",
    "fire": "black patches on the ground",
    "earthquake": "pale cracks in the ground",
    "flood": "murky water over the ground",
    "tsunami": "brown mud with a white edge",
    "wind": "bright debris everywhere",
}
LOOKS = {
    "no-damage": "its roof is whole",
    "minor-damage": "a bright tarp lies on its roof",
    "major-damage": "part of its roof is dark",
    "destroyed": "only rubble is left",
}


def disaster(rng: np.random.Generator) -> Views:
    """Ask which disaster struck."""
    scene = draw_scene(rng, pair=True)
    asked = (
        "Which disaster struck between the images?",
        "Name the disaster.",
        "What kind of disaster came between the two dates?",
        "What hit this place?",
    )
    return both_views(rng, scene), ask(rng, asked, SIGNS[scene.disaster], scene.disaster)


def any_hit(rng: np.random.Generator) -> Views:
    """Ask if any building is damaged."""
    scene = draw_scene(rng, pair=True)
    hit = any(item.damage != "no-damage" for item in scene.items)
    asked = (
        "Was any building hit?",
        "Did a building take damage?",
        "Any building harmed in the second image?",
        "Damaged buildings, yes or no?",
    )
    reason = states(scene.items, scene)
    return both_views(rng, scene), ask(rng, asked, reason, "yes" if hit else "no")


def count_hit(rng: np.random.Generator) -> Views:
    """Ask how many buildings are damaged."""
    scene = draw_scene(rng, pair=True)
    hit = [item for item in scene.items if item.damage != "no-damage"]
    asked = (
        "Count the damaged buildings.",
        "Number of buildings hit?",
        "Tell me how many buildings took damage.",
        "Give the count of harmed buildings.",
    )
    return both_views(rng, scene), ask(rng, asked, states(scene.items, scene), str(len(hit)))


def level(rng: np.random.Generator) -> Views:
    """Ask for the damage level of the building in a box."""
    scene = draw_scene(rng, pair=True, least=1)
    item = scene.items[int(rng.integers(len(scene.items)))]
    box = corners(item.box, scene)
    asked = (
        f"How badly was the building in {box} hit?",
        f"Damage of the building in {box}?",
        f"State of the building in {box} after the disaster?",
        f"Grade the damage in {box}.",
    )
    return both_views(rng, scene), ask(rng, asked, LOOKS[item.damage], item.damage)


def hit_boxes(rng: np.random.Generator) -> Views:
    """Ask for the boxes of all buildings, of the damaged ones, or of one damage level."""
    scene = draw_scene(rng, pair=True)
    level = pick(rng, ("", "damaged", *DAMAGES[1:]))
    words = {"": "", "damaged": "damaged "}.get(level, f"{level} ")
    shown = [i for i in scene.items if level in ("", i.damage)]
    if level == "damaged":
        shown = [i for i in scene.items if i.damage in DAMAGES[1:]]
    asked = (
        f"Box the {words}buildings.",
        f"Boxes of all {words}buildings after the disaster.",
        f"Mark every {words}building in the second image.",
        f"Where are the {words}buildings? List their boxes.",
    )
    return both_views(rng, scene), ask(
        rng, asked, states(scene.items, scene), box_list(shown, scene)
    )


def account(rng: np.random.Generator) -> Views:
    """Ask for a damage report: the disaster, and buildings per level."""
    scene = draw_scene(rng, pair=True)
    asked = (
        "Describe the damage.",
        "Sum up what the disaster did.",
        "Say what changed between the images.",
        "Write a short damage report.",
    )
    counts = [(level, sum(i.damage == level for i in scene.items)) for level in DAMAGES]
    told = ", ".join(f"{n} {level}" for level, n in counts if n) or "no buildings"
    answer = f"{scene.disaster}: {told}."
    return both_views(rng, scene), ask(rng, asked, SIGNS[scene.disaster], answer)


def built(rng: np.random.Generator) -> Views:
    """Ask which objects were added between the two dates."""
    scene = draw_scene(rng, least=1)
    gone = int(rng.integers(0, len(scene.items) + 1))
    kept = sorted(rng.permutation(len(scene.items))[gone:])
    earlier = replace(scene, items=tuple(scene.items[i] for i in kept))
    new = [item for i, item in enumerate(scene.items) if i not in kept]
    asked = (
        "What is new in the second image?",
        "Say what was added since the first image.",
        "Which objects appeared between the two dates?",
    )
    answer = summary(new) if new else "nothing"
    images = (view(rng, earlier), view(rng, scene))
    return images, ask(rng, asked, listing(new, scene), answer)
