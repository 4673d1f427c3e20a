"""Measure how the code is divided: rooms, floors, arrows and circles, read from the imports.

    python -m tools.house [FOLDER]      default: this checkout

A room is a file or a folder directly in `geovlm/`, and each of `plugins`, `examples`, `benchmarks`
and `tools`. An arrow leads from a room to a room that it imports from, in functions and for typing
too. A room stands one floor above the highest room that it imports; rooms that import each other
share a floor. A circle is a set of files that import each other. Tests and an `__init__.py` that
defines nothing are left out. Only the standard library is needed, so that any version can be
measured with the same file.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
BESIDE = ("plugins", "examples", "benchmarks", "tools")
"""Folders next to the package that count as one room each."""


@dataclass(frozen=True)
class Use:
    """A name that a module takes from another module of the project."""

    line: int
    module: str
    """Module that defines the name, dotted: `geovlm.boxes.rectangle`."""
    name: str
    """The name, or "" if the module itself is imported."""


@dataclass(frozen=True, kw_only=True)
class Module:
    """One Python file of the project, read but not imported."""

    name: str
    path: Path
    tree: ast.Module
    defined: frozenset[str]
    """Names that the file binds at the top level, other than by imports."""
    imported: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name bound by an import anywhere in the file -> module, and name in it or ""."""

    @property
    def is_face(self) -> bool:
        """True for an `__init__.py` that defines nothing but hands names on."""
        return self.path.name == "__init__.py" and not self.defined - {"__all__"}


def read(root: Path) -> dict[str, Module]:
    """Return every module of the package and of the folders next to it, by dotted name.

    Args:
        root: folder of a checkout, with `geovlm/` in it.
    """
    files = [*sorted((root / "geovlm").rglob("*.py"))]
    for folder in BESIDE:
        files += sorted((root / folder).rglob("*.py"))
    found: dict[str, Module] = {}
    for path in files:
        parts = path.relative_to(root).with_suffix("").parts
        if "tests" in parts or "template" in parts or "templates" in parts:
            continue
        if parts[0] == "plugins" or (parts[0] == "examples" and len(parts) > 2):
            parts = (parts[0], *parts[2:])
        name = ".".join(part for part in parts if part != "__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found[name] = Module(name=name, path=path, tree=tree, defined=_defined(tree))
    known = frozenset(found)
    for name, module in found.items():
        found[name] = Module(
            name=name,
            path=module.path,
            tree=module.tree,
            defined=module.defined,
            imported=dict(_imported(module.tree, known=known)),
        )
    return found


def uses(module: Module, modules: Mapping[str, Module]) -> list[Use]:
    """Return every name of another module that a module imports or reads as an attribute.

    A name that a module only passes on counts for the module that defines it; those that a face
    hands on count for the face.
    """
    found: dict[Use, None] = {}

    def add(line: int, target: str, name: str) -> None:
        target, name = origin(target, name, modules)
        if target != module.name:
            found.setdefault(Use(line, target, name))

    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for _, (target, name) in _targets(node, known=frozenset(modules)):
                add(node.lineno, target, name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            target, name = module.imported.get(node.value.id, ("", ""))
            if target and not name and node.attr in modules[target].imported:
                add(node.lineno, target, node.attr)
    return list(found)


def origin(module: str, name: str, modules: Mapping[str, Module]) -> tuple[str, str]:
    """Return the module that defines a name, following modules that only pass it on."""
    while name and name in modules[module].imported and name not in modules[module].defined:
        if modules[module].is_face:
            break
        module, name = modules[module].imported[name]
    return module, name


def room(module: str) -> str:
    """Return the room of a module: `geovlm.boxes` of `geovlm.boxes.frames`, or `tools`."""
    parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] == "geovlm" else 1])


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the sets of nodes that reach each other, each sorted; Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for after in sorted(arrows.get(node, ())):
            if after not in index:
                visit(after)
                low[node] = min(low[node], low[after])
            elif after in stack:
                low[node] = min(low[node], index[after])
        if low[node] == index[node]:
            at = stack.index(node)
            found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return [group for group in found if len(group) > 1]


def floors(arrows: Mapping[str, set[str]]) -> dict[str, int]:
    """Return the floor of each room, 1 for a room that imports none."""
    together = {room: group[0] for group in circles(arrows) for room in group}
    merged: dict[str, set[str]] = {}
    for here, there in arrows.items():
        one = together.get(here, here)
        merged.setdefault(one, set()).update({together.get(each, each) for each in there} - {one})
    known: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in known:
            known[name] = 1 + max((floor(each) for each in merged.get(name, ())), default=0)
        return known[name]

    return {name: floor(together.get(name, name)) for name in arrows}


def measure(root: Path) -> Iterator[str]:
    """Yield the figures of a checkout, one line each."""
    modules = read(root)
    between: dict[str, set[str]] = {}
    files: dict[str, set[str]] = {}
    for name, module in modules.items():
        if module.is_face:
            continue
        here = between.setdefault(room(name), set())
        taken = files.setdefault(name, set())
        for use in uses(module, modules):
            if use.module == "geovlm":
                continue  # its version and its hook marker
            taken.add(use.module)
            if room(use.module) != room(name):
                here.add(room(use.module))
    loops = circles(files)
    package = root / "geovlm"
    entries = [path.name for path in package.iterdir() if path.name != "__pycache__"]
    inside = Counter(
        module.path.parent
        for name, module in modules.items()
        if name.startswith("geovlm.") and module.path.name != "__init__.py"
    )
    largest, most = inside.most_common(1)[0]
    lines = sum(
        module.path.read_text(encoding="utf-8").count("\n")
        for name, module in modules.items()
        if name.split(".")[0] == "geovlm"
    )
    yield f"rooms    {len(between)}"
    yield f"floors   {max(floors(between).values())}"
    yield f"arrows   {sum(map(len, between.values()))}"
    yield f"circles  {len(loops)}" + "".join(f"\n         {' '.join(each)}" for each in loops)
    yield f"entries  {len(entries)} in geovlm/"
    yield f"modules  {most} in {largest.relative_to(root)}, the most of any folder"
    yield f"lines    {lines} in geovlm/"


def _defined(tree: ast.Module) -> frozenset[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(
                each.id for one in targets for each in ast.walk(one) if isinstance(each, ast.Name)
            )
    return frozenset(names)


def _imported(tree: ast.Module, *, known: frozenset[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _targets(node, known=known)


def _targets(
    node: ast.Import | ast.ImportFrom, *, known: frozenset[str]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield what an import binds: the name here -> module of the project, name there or ""."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            name = _known(alias.name, known)
            if name:
                yield alias.asname or alias.name, (name, "")
        return
    if node.level or not node.module:
        return
    for alias in node.names:
        whole = _known(f"{node.module}.{alias.name}", known)
        module = _known(node.module, known)
        if whole:
            yield alias.asname or alias.name, (whole, "")
        elif module:
            yield alias.asname or alias.name, (module, alias.name)


def _known(name: str, known: frozenset[str]) -> str | None:
    """Return the module's name in the project; plugins are imported without their folder's name."""
    for each in (name, f"plugins.{name}", f"examples.{name}"):
        if each in known:
            return each
    return None


if __name__ == "__main__":
    print("\n".join(measure(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)))
