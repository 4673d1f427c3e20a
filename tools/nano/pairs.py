"""Builds questions about two images of one place, before and after."""

from __future__ import annotations

import numpy as np

from geovlm.scenes import DAMAGES, Scene
from tools.nano.views import (
    Turn,
    ask,
    box_list,
    corners,
    listing,
    pick,
    place,
    states,
    summary,
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


def disaster(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask which disaster struck."""
    asked = (
        "Which disaster struck between the images?",
        "Name the disaster.",
        "What kind of disaster came between the two dates?",
        "What hit this place?",
    )
    return ask(rng, asked, SIGNS[scene.disaster], scene.disaster)


def any_hit(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask if any building is damaged."""
    hit = any(item.damage != "no-damage" for item in scene.items)
    asked = (
        "Was any building hit?",
        "Did a building take damage?",
        "Any building harmed in the second image?",
        "Damaged buildings, yes or no?",
    )
    reason = states(scene.items, scene)
    return ask(rng, asked, reason, "yes" if hit else "no")


def count_hit(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask how many buildings are damaged."""
    hit = [item for item in scene.items if item.damage != "no-damage"]
    asked = (
        "Count the damaged buildings.",
        "Number of buildings hit?",
        "Tell me how many buildings took damage.",
        "Give the count of harmed buildings.",
    )
    return ask(rng, asked, states(scene.items, scene), str(len(hit)))


def level(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask for the damage level of the building in a box."""
    if not scene.items:
        return None
    item = scene.items[int(rng.integers(len(scene.items)))]
    box = corners(item.box, scene)
    asked = (
        f"How badly was the building in {box} hit?",
        f"Damage of the building in {box}?",
        f"State of the building in {box} after the disaster?",
        f"Grade the damage in {box}.",
    )
    return ask(rng, asked, LOOKS[item.damage], item.damage)


def hit_boxes(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask for the boxes of all buildings, of the damaged ones, or of one damage level."""
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
    return ask(rng, asked, states(scene.items, scene), box_list(shown, scene))


def account(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask for a damage report: the disaster, and buildings per level."""
    asked = (
        "Describe the damage.",
        "Sum up what the disaster did.",
        "Say what changed between the images.",
        "Write a short damage report.",
    )
    counts = [(level, sum(i.damage == level for i in scene.items)) for level in DAMAGES]
    told = ", ".join(f"{n} {level}" for level, n in counts if n) or "no buildings"
    answer = f"{scene.disaster}: {told}."
    return ask(rng, asked, SIGNS[scene.disaster], answer)


def hit_boxes_at(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask for the boxes of the buildings of one damage level in one part of the frame."""
    if not scene.items:
        return None
    item = scene.items[int(rng.integers(len(scene.items)))]
    level, where = item.damage, place(item.box, scene)
    shown = [i for i in scene.items if (i.damage, place(i.box, scene)) == (level, where)]
    words = {"no-damage": "undamaged"}.get(level, level)
    asked = (
        f"Box the {words} building {where}.",
        f"Which building {where} is {words}? Give its box.",
        f"Mark what is {words} {where} in the second image.",
        f"Show the {words} building {where} after the disaster.",
    )
    return ask(rng, asked, states(scene.items, scene), box_list(shown, scene))


def built(rng: np.random.Generator, scene: Scene, earlier: Scene) -> Turn:
    """Ask which objects were added between the two dates."""
    new = [item for item in scene.items if item not in earlier.items]
    asked = (
        "What is new in the second image?",
        "Say what was added since the first image.",
        "Which objects appeared between the two dates?",
    )
    return ask(rng, asked, listing(new, scene), summary(new) if new else "nothing")
