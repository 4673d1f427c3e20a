"""The order of the rooms: who may import whom, and what each room says of itself.

`ROOMS` and `INSIDE` are the order, lowest first. Every import counts, in functions and for typing
too, and so does a name that another module only passes on. What a name stands for in the order is
a room of `geovlm`, or, inside a room, a module or a folder.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tools import house

ROOT = Path(__file__).parents[1]

ROOMS = """
    errors
    api
    hookspecs answers
    nano scenes raster files
    boxes
    plugins
    config data
    run predict
    rewards
    plan score testing
    report
    engine cli
"""
"""Each line may import from the lines above it; names of one line do not import each other."""

INSIDE = {
    "boxes": "notations rectangle | frames | reading writing | labels | arrays",
    "raster": "faults headers spectra | files | masks places | fills | bands"
    " | appearance reference scaling | decoding | pictures | checks images",
    "scenes": "composing | painting",
    "files": "caches text images jsontext | streams | records tables | arrow",
    "plugins": "annotations declarations families guard installed profiles scaffold"
    " | builtin described references | discover | registry | metrics",
    "config": "checkpoint control_tokens health options presets shapes | stages trackers"
    " | answering served | schema | load model | extras tasks",
    "data": "cache fingerprints mixture objects snapshots texts | findings"
    " | imagefiles loading prompts | check leaks preview",
    "run": "devices files machines served stopping | folder parallel | status | process"
    " | changes export heartbeat imports | resuming | tracking vllm | launch | adapters doctor",
    "predict": "asking images reading windows | georeference job | features overlay scenes"
    " | results writing",
    "rewards": "encoder options reading scoring | audit boxes text | paper robust",
    "plan": "checksums descriptions needs sizes | data | leaks statistics trials | checks"
    " | build samples | commands environment memory slurm | text",
    "score": "bootstrap metrics published | coco paired protocols | against",
    "report": "facts figures rendering tables | outcomes | verdict | card_text cards | card curves"
    " | page | compare",
    "testing": "findings hostile | subject | data declarations prompts rewards | scores | kit"
    " | pytest_plugin",
    "engine": "failures speedups progress rows stopping tracking"
    " | generation models rewards stage | writers | evaluation training | programs | checks | work"
    " | served worker",
    "cli": "arguments configuration groups options output predict_options"
    " | datasets planning results | running tables describing | commands | __main__",
}
"""Room -> the same for its modules and folders: each part may import from the parts to its left."""

FACADES = ("boxes", "raster", "scenes", "files", "nano", "testing", "cli")
"""Rooms whose `__init__.py` holds more than a docstring."""

LIGHT = (
    "api",
    "hookspecs",
    "answers",
    "boxes",
    "errors",
    "plugins.families",
    "plugins.profiles",
    "data.mixture",
)
HEAVY = (
    "torch",
    "transformers",
    "trl",
    "datasets",
    "accelerate",
    "numpy",
    "scipy",
    "shapely",
    "rasterio",
    "PIL",
    "pydantic",
)


def ranks() -> dict[tuple[str, ...], int]:
    """Return the line of each room, and of each part inside a room."""
    found: dict[tuple[str, ...], int] = {}
    for line, names in enumerate(ROOMS.split("\n")):
        found.update({(name,): line for name in names.split()})
    for room, order in INSIDE.items():
        for line, names in enumerate(order.split("|")):
            found.update({(room, name): line for name in names.split()})
    return found


RANKS = ranks()


def faults(modules: Mapping[str, house.Module]) -> Iterator[str]:
    """Yield one line for each import that the order does not allow, and each unknown module."""
    for name, module in modules.items():
        here = tuple(name.split(".")[1:])
        if not name.startswith("geovlm.") or name == "geovlm":
            continue
        unknown = [part for part in (here[:1], here[:2]) if part[0] in INSIDE or len(part) == 1]
        unknown = [part for part in unknown if part not in RANKS]
        if unknown:
            yield f"{name} is in no line of the order"
            continue
        for use in house.uses(module, modules):
            there = tuple(use.module.split(".")[1:])
            taken = f"{name}:{use.line} imports {use.module}"
            if not use.module.startswith("geovlm"):
                yield f"{taken}, which stands above all rooms"
            elif not there:
                continue  # geovlm itself: the version and the hook marker
            elif here[0] != there[0]:
                yield from _fault(taken, here[:1], there[:1])
            elif here[:2] == there[:2] == ("cli", "commands"):
                yield f"{taken}: a command imports a command"
            elif len(here) > 1 and len(there) > 1 and here[1] != there[1]:
                yield from _fault(taken, here[:2], there[:2])


def _fault(taken: str, here: tuple[str, ...], there: tuple[str, ...]) -> Iterator[str]:
    own, other = RANKS.get(here), RANKS.get(there)
    if own is None or other is None or other < own:
        return  # a name that is in no line is a fault of its own
    yield f"{taken}, " + ("which stands above it" if other > own else "which is on its own line")


def tree_faults(modules: Mapping[str, house.Module], page: str) -> Iterator[str]:
    """Yield one line for each room whose docstring differs from the tree of CONTRIBUTING."""
    rows = re.findall(r"^ *(geovlm/\S+) {2,}(.+)$", page, re.M)
    there = {
        name.replace(".", "/"): (ast.get_docstring(each.tree) or "").partition("\n")[0]
        for name, each in modules.items()
        if name.startswith("geovlm.") and each.path.name == "__init__.py"
    }
    yield from (f"{room} is not in the tree" for room in there.keys() - dict(rows).keys())
    for room, sentence in rows:
        if there.get(room) != sentence:
            yield f"{room}: the tree has {sentence!r}, its docstring {there.get(room)!r}"
    lines = [RANKS[(room.split("/")[1],)] for room, _ in rows if room in there]
    if lines != sorted(lines):
        yield "the tree is not in the order of the rooms"


@pytest.fixture(scope="module")
def modules() -> dict[str, house.Module]:
    return house.read(ROOT)


def planted(tmp_path: Path, **files: str) -> list[str]:
    """Return the faults of a small house with these files; `__` in a name stands for a folder."""
    for name, source in files.items():
        path = tmp_path / "geovlm" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return list(faults(house.read(tmp_path)))


def test_every_import_follows_the_order(modules: dict[str, house.Module]) -> None:
    assert list(faults(modules)) == []


def test_an_upward_import_is_seen(tmp_path: Path) -> None:
    source = "def f():\n    from geovlm.rewards import scoring"
    assert planted(tmp_path, boxes__frames=source, rewards__scoring="") == [
        "geovlm.boxes.frames:2 imports geovlm.rewards.scoring, which stands above it"
    ]


def test_an_upward_import_for_typing_is_seen(tmp_path: Path) -> None:
    source = "if TYPE_CHECKING:\n    from geovlm.plan.build import Plan"
    assert planted(tmp_path, data__loading=source, plan__build="class Plan: ...") == [
        "geovlm.data.loading:2 imports geovlm.plan.build, which stands above it"
    ]


def test_an_import_between_two_names_of_one_line_is_seen(tmp_path: Path) -> None:
    assert planted(tmp_path, run__files="import geovlm.predict.job", predict__job="") == [
        "geovlm.run.files:1 imports geovlm.predict.job, which is on its own line"
    ]
    assert planted(tmp_path, run__files="import geovlm.run.stopping", run__stopping="") == [
        "geovlm.run.files:1 imports geovlm.run.stopping, which is on its own line"
    ]


def test_a_name_taken_through_another_module_is_seen(tmp_path: Path) -> None:
    found = planted(
        tmp_path,
        plan__build="class Plan: ...",
        plan__text="from geovlm.plan.build import Plan",
        data__loading="from geovlm.data import cache\ncache.Plan",
        data__cache="from geovlm.plan.text import Plan",
    )
    assert "geovlm.data.loading:2 imports geovlm.plan.build, which stands above it" in found


def test_an_unknown_module_is_seen(tmp_path: Path) -> None:
    assert planted(tmp_path, helpers="", boxes__helpers="") == [
        "geovlm.boxes.helpers is in no line of the order",
        "geovlm.helpers is in no line of the order",
    ]


def test_a_command_that_imports_a_command_is_seen(tmp_path: Path) -> None:
    source = "from geovlm.cli.commands import run"
    assert planted(tmp_path, cli__commands__plan=source, cli__commands__run="") == [
        "geovlm.cli.commands.plan:1 imports geovlm.cli.commands.run: a command imports a command"
    ]


def test_every_room_says_what_the_tree_of_contributing_says(
    modules: dict[str, house.Module],
) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert list(tree_faults(modules, page)) == []


def test_a_room_that_says_something_else_than_the_tree_is_seen(tmp_path: Path) -> None:
    for name, docstring in {"boxes": "Boxes.", "raster": "Rasters.", "score": "Scores."}.items():
        (tmp_path / "geovlm" / name).mkdir(parents=True)
        (tmp_path / "geovlm" / name / "__init__.py").write_text(f'"""{docstring}"""')
    page = "geovlm/score   Scores.\n  geovlm/boxes  Rectangles.\n"
    assert list(tree_faults(house.read(tmp_path), page)) == [
        "geovlm/raster is not in the tree",
        "geovlm/boxes: the tree has 'Rectangles.', its docstring 'Boxes.'",
        "the tree is not in the order of the rooms",
    ]


def test_an_import_from_below_is_allowed(tmp_path: Path) -> None:
    source = "from geovlm.boxes import frames\nfrom geovlm.api import Size"
    assert planted(tmp_path, data__prompts=source, boxes__frames="", api="class Size: ...") == []


def test_the_order_names_nothing_that_is_gone(modules: dict[str, house.Module]) -> None:
    there = {tuple(name.split(".")[1:depth]) for name in modules for depth in (2, 3)}
    assert [name for name in RANKS if name not in there] == []


def test_a_room_holds_no_import_of_its_own(modules: dict[str, house.Module]) -> None:
    rooms = {name: each for name, each in modules.items() if each.path.name == "__init__.py"}
    rooms = {name: each for name, each in rooms.items() if name.startswith("geovlm.")}
    plain = {n: each for n, each in rooms.items() if n.removeprefix("geovlm.") not in FACADES}
    importing = [
        name
        for name, each in plain.items()
        if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(each.tree))
    ]
    long = [
        name for name, each in plain.items() if (ast.get_docstring(each.tree) or "").count("\n") > 9
    ]
    assert (importing, long) == ([], [])


def test_no_files_import_each_other_in_a_circle(modules: dict[str, house.Module]) -> None:
    taken = {
        name: {use.module for use in house.uses(each, modules)} for name, each in modules.items()
    }
    assert house.circles(taken) == []


def test_no_folder_is_a_street(modules: dict[str, house.Module]) -> None:
    folders: dict[Path, int] = {}
    for name, each in modules.items():
        if name.startswith("geovlm.") and each.path.name != "__init__.py":
            folders[each.path.parent] = folders.get(each.path.parent, 0) + 1
    entries = [each for each in (ROOT / "geovlm").iterdir() if each.name != "__pycache__"]
    # commands are a list by nature: one module each
    folders.pop(ROOT / "geovlm" / "cli" / "commands")
    assert {str(folder): n for folder, n in folders.items() if n > 14} == {}
    assert len(entries) <= 23


def test_light_modules_load_nothing_heavy() -> None:
    code = (
        f"import sys, {', '.join(f'geovlm.{name}' for name in LIGHT)}\n"
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.split() == []
