"""Builds questions about one image; a builder returns `None` where the scene allows none."""

from __future__ import annotations

import numpy as np

from geovlm.scenes import COVERS, KINDS, Scene
from tools.nano.views import (
    Turn,
    ask,
    box_list,
    corners,
    fitting_names,
    ground_covers,
    listing,
    pick,
    place,
    plural,
    summary,
    wanted_items,
)

_ROAD_SHARE = {True: 0.5, False: 0.1}
"""Road in the scene -> share of the questions about ground that are about a road, so that about as
many are answered with yes as with no. Without them `nano` says that there is no road."""


def count(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask how many objects there are of a kind, at times of a colour."""
    name, items = wanted_items(rng, scene)
    names = plural(name)
    asked = (
        f"Count the {names}.",
        f"Number of {names} in this scene?",
        f"Give the count of {names}.",
        f"{names}: how many do you see?",
        f"Tell me how many {names} the picture holds.",
    )
    return ask(rng, asked, listing(items, scene), str(len(items)))


def presence(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask if there is an object, a land cover or a road."""
    if rng.random() < 0.4:
        shown = [(name, place(box, scene)) for name, box in scene.covers]
        shown += [("road", "across")] if scene.road else []
        have = dict(shown)
        lacking = [name for name in (*COVERS, "road") if name not in have]
        name = pick(rng, list(have) if rng.random() < 0.5 else lacking)
        if rng.random() < _ROAD_SHARE[bool(scene.road)]:
            name = "road"
        found, reason = name in have, f"{name} {have.get(name, 'nowhere')}"
    else:
        name, items = wanted_items(rng, scene)
        found, reason = bool(items), listing(items, scene)
    asked = (
        f"Do you see any {name}?",
        f"Does the picture show {name}?",
        f"Any {name} visible?",
        f"Can {name} be found here?",
        f"{name} in this scene, yes or no?",
    )
    return ask(rng, asked, reason, "yes" if found else "no")


def land_cover(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask for the set of land covers."""
    asked = (
        "Name the land cover.",
        "Which land covers fill the frame?",
        "List every land cover class.",
        "What covers the ground?",
        "Which classes of land cover can be seen?",
    )
    reason = ", ".join(f"{name} {place(box, scene)}" for name, box in scene.covers)
    return ask(rng, asked, reason, ground_covers(scene))


def settlement(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask if it is urban (urban ground and at least two buildings) or rural."""
    n = sum(item.kind == "building" for item in scene.items)
    urban = n >= 2 and any(name == "urban" for name, _ in scene.covers)
    asked = (
        "Rural or urban scene?",
        "Decide: urban or rural.",
        "Does this look urban or rural?",
        "Settlement type, urban or rural?",
    )
    reason = f"ground {ground_covers(scene)}, {n} {plural('building', n)}"
    return ask(rng, asked, reason, "urban" if urban else "rural")


def compare(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask if one kind is more, less or as frequent as another."""
    order = [KINDS[i] for i in rng.permutation(len(KINDS))]
    shown = {item.kind for item in scene.items}
    a, b = (sorted(order, key=lambda kind: kind not in shown) if shown else order)[:2]
    if rng.random() < 0.5:
        a, b = b, a
    n_a, n_b = (sum(item.kind == kind for item in scene.items) for kind in (a, b))
    sense = int(rng.integers(3))
    asked = (
        (f"Do the {a}s outnumber the {b}s?", f"More {a}s than {b}s here, yes or no?"),
        (f"Are the {a}s outnumbered by the {b}s?", f"Fewer {a}s than {b}s here, yes or no?"),
        (f"As many {a}s as {b}s?", f"Same count of {a}s and {b}s?"),
    )[sense]
    true = (n_a > n_b, n_a < n_b, n_a == n_b)[sense]
    reason = f"{n_a} {plural(a, n_a)}, {n_b} {plural(b, n_b)}"
    return ask(rng, asked, reason, "yes" if true else "no")


def one_box(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask for the box of the one object that a phrase names."""
    named = [(item, fitting_names(item, scene)) for item in scene.items]
    named = [(item, names) for item, names in named if names]
    if not named:
        return None
    item, names = named[int(rng.integers(len(named)))]
    name = pick(rng, names)
    asked = (
        f"Box of the {name}.",
        f"Where is the {name}? Answer with its box.",
        f"Mark the {name} with a box.",
        f"Outline the {name}.",
        f"Find the {name} and box it.",
    )
    reason = f"{item.colour} {item.kind} {place(item.box, scene)}"
    return ask(rng, asked, reason, corners(item.box, scene))


def all_boxes(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask for the boxes of all objects that a phrase names, left to right."""
    name, items = wanted_items(rng, scene)
    asked = (
        f"Box every {name}.",
        f"Boxes of all {plural(name)}.",
        f"Mark all {plural(name)}.",
        f"Where are the {plural(name)}? List their boxes.",
        f"Find each {name} and box it.",
    )
    return ask(rng, asked, listing(items, scene), box_list(items, scene))


def boxed_objects(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask for every object by colour, kind and box, left to right."""
    asked = (
        "List every object with its box.",
        "Which objects are where? Give boxes.",
        "Name and box all objects.",
        "Make an inventory with boxes.",
    )
    named = (f"{i.colour} {i.kind} {corners(i.box, scene)}" for i in scene.items)
    answer = ", ".join(named) or "none"
    return ask(rng, asked, listing(scene.items, scene), answer)


def what(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask for colour and kind of the object in a box."""
    if not scene.items:
        return None
    item = scene.items[int(rng.integers(len(scene.items)))]
    box = corners(item.box, scene)
    asked = (
        f"What lies inside {box}?",
        f"Name the object in {box}.",
        f"Which object fills {box}?",
        f"Say what {box} shows.",
    )
    reason = f"the box lies {place(item.box, scene)}"
    return ask(rng, asked, reason, f"{item.colour} {item.kind}")


def caption(rng: np.random.Generator, scene: Scene) -> Turn | None:
    """Ask for a caption: objects by colour and kind, and the ground they lie on."""
    asked = (
        "Describe the picture.",
        "Say what the image shows.",
        "Sum up this scene in one sentence.",
        "Write a caption.",
    )
    answer = f"{summary(scene.items)} on {ground_covers(scene)}."
    return ask(rng, asked, listing(scene.items, scene), answer)
