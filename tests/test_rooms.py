"""Light modules stay light, and no module imports from a layer above its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "geovlm"
LIGHT = ("api", "hookspecs", "answers", "boxes", "profiles", "mixture", "errors")
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

# Lowest first; `name` stands for `name_*` as well. A module that no layer names is control, the
# highest layer beside the engine: whoever needs it further down has to list it here.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"api", "hookspecs", "errors", "hookimpl", "__version__"}),
    frozenset(
        {"answers", "boxes", "rectangles", "rewards", "metrics", "mixture", "profiles", "raster"}
        | {"scenes", "painting", "encoder", "bootstrap", "protocols", "geojson"}
    ),
    frozenset(
        {"plugins", "registry", "loading", "builtin", "testing", "audit"} | {"scoring", "shown"}
    ),
    frozenset({"config", "presets", "rundir", "launch", "process", "report", "cli", "nano"}),
    frozenset({"engine"}),
)
CONTROL = 3
ENGINE = 4


def rank(name: str) -> int:
    """The layer of `geovlm.<name>...`; `geovlm` itself counts as the contract."""
    parts = name.split(".")
    if len(parts) == 1:
        return 0
    stem = parts[1]
    if stem == "nano" and len(parts) > 2:  # the package itself only says where the weights lie
        return ENGINE
    ranks = [number for number, layer in enumerate(LAYERS) if stem in layer]
    if not ranks:
        ranks = [
            number
            for number, layer in enumerate(LAYERS)
            if any(stem.startswith(f"{known}_") for known in layer)
        ]
    return ranks[0] if ranks else CONTROL


def imported(source: str) -> list[tuple[int, str]]:
    """(line, dotted name) of every import of geovlm, in functions too; not those for types only."""
    tree = ast.parse(source)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module == "geovlm":
            found += [(node.lineno, f"geovlm.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append((node.lineno, node.module or ""))
    return [(line, name) for line, name in found if name.split(".")[0] == "geovlm"]


def modules() -> list[tuple[str, Path]]:
    paths = sorted(path for path in PACKAGE.rglob("*.py") if "templates" not in path.parts)
    dotted = (path.relative_to(PACKAGE.parent).with_suffix("") for path in paths)
    names = (".".join(path.parts).removesuffix(".__init__") for path in dotted)
    return list(zip(names, paths, strict=True))


def upward(name: str, source: str) -> list[str]:
    own = rank(name)
    return [
        f"{name}:{line} imports {other}" for line, other in imported(source) if rank(other) > own
    ]


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: str(value))
def test_no_module_imports_from_a_higher_layer(name: str, path: Path) -> None:
    assert upward(name, path.read_text(encoding="utf-8")) == []


def test_an_import_from_above_is_seen() -> None:
    assert upward("geovlm.boxes", "from geovlm import registry") == [
        "geovlm.boxes:1 imports geovlm.plugins.registry"
    ]
    assert upward("geovlm.cli.commands.run", "def f():\n    import geovlm.engine.worker") == [
        "geovlm.cli.commands.run:2 imports geovlm.engine.worker"
    ]


def test_imports_from_below_and_for_types_are_allowed() -> None:
    source = "from geovlm.api import Size\nif TYPE_CHECKING:\n    from geovlm.engine import worker"
    assert upward("geovlm.boxes", source) == []


def test_light_modules_load_nothing_heavy() -> None:
    code = (
        f"import sys, {', '.join(f'geovlm.{name}' for name in LIGHT)}\n"
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.split() == []
