# ruff: noqa
"""Move modules to rooms: `git mv` and a rewrite of every import and every dotted name.

    python move.py MOVES.json        run in the root of a clean checkout

MOVES.json maps old paths to new ones, for files and folders. Imports are rewritten from the
syntax tree; a module that is bound by another last name keeps the old one (`import x as old`)
only where the new one already means something else in that file.
"""

from __future__ import annotations

import ast
import builtins
import json
import keyword
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path.cwd()
MOVES: dict[str, str] = json.loads(Path(sys.argv[1]).read_text())
# module -> (facade, the names it hands on, where everything else is)
FACADES = {
    "geovlm.boxes": "geovlm.boxes.reading",
    "geovlm.raster": "geovlm.raster.images",
    "geovlm.scenes": "geovlm.scenes.composing",
}
PUBLIC = {
    "geovlm.boxes": {
        "Box",
        "HasSizes",
        "corners",
        "drop_angle",
        "enclosing",
        "from_frame",
        "geochat_box",
        "input_size",
        "iou",
        "match",
        "overlap",
        "parse",
        "rotated_iou",
        "strip",
        "target_boxes",
        "to_frame",
        "write",
    },
    "geovlm.raster": {"image_size", "open_image"},
    "geovlm.scenes": {
        "COVERS",
        "DAMAGES",
        "DISASTERS",
        "Item",
        "KINDS",
        "ROOFS",
        "Scene",
        "compose",
        "cover_map",
        "render",
    },
}
# of the facade's names, those that are rectangle's own
RECTANGLE = {"Box", "corners", "drop_angle", "enclosing", "iou", "match", "overlap", "rotated_iou"}


def dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {dotted(a): dotted(b) for a, b in MOVES.items() if a.endswith(".py")}
if "geovlm/boxes.py" not in MOVES:
    FACADES.clear()
for old, new in FACADES.items():
    MODULES[old] = new
ALL_OLD = {
    dotted(p)
    for p in subprocess.run(
        ["git", "ls-files", "*.py"], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    if p
}
CHANGED = {a: b for a, b in MODULES.items() if a != b}


def is_module(name: str) -> bool:
    return name in ALL_OLD


class File:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.source = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.source)
        self.name = dotted(str(path.relative_to(ROOT)))
        lines = self.source.encode().splitlines(keepends=True)
        self.offsets = [0]
        for line in lines:
            self.offsets.append(self.offsets[-1] + len(line))
        self.data = self.source.encode()
        self.edits: list[tuple[int, int, bytes]] = []
        self.identifiers = {n.id for n in ast.walk(self.tree) if isinstance(n, ast.Name)}
        self.args = {n.arg for n in ast.walk(self.tree) if isinstance(n, ast.arg)}
        self.defs = {
            n.name for n in ast.walk(self.tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))
        }
        self.bound = {
            a.asname or a.name.split(".")[0]
            for n in ast.walk(self.tree)
            if isinstance(n, (ast.Import, ast.ImportFrom))
            for a in n.names
        }
        self.stored = {
            n.id
            for n in ast.walk(self.tree)
            if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
        }
        self.aliases = 0
        self.split: dict[str, tuple[set[str], str]] = {}
        self.renamed: dict[str, str] = {}
        self.kept: dict[str, bool] = {}

    def at(self, line: int, col: int) -> int:
        return self.offsets[line - 1] + col

    def span(self, node: ast.AST) -> tuple[int, int]:
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno, node.end_col_offset)

    def taken(self, name: str) -> bool:
        return (
            name in self.identifiers | self.args | self.defs | self.bound
            or hasattr(builtins, name)
            or keyword.iskeyword(name)
        )

    def attributes(self, name: str) -> set[str]:
        return {
            n.attr
            for n in ast.walk(self.tree)
            if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == name
        }


def module_import(file: File, old: str, asname: str | None, wanted: dict[str, list[str]]) -> None:
    """An import that binds a module."""
    short = old.rpartition(".")[2]
    bound = asname or short
    new = MODULES.get(old, old)
    if old in FACADES:
        used = file.attributes(bound)
        own = MODULES.get(file.name, file.name)
        inside = own.startswith(old + ".")
        private = used - PUBLIC[old]
        if not inside:
            if private:
                last = new.rpartition(".")[2]
                name = last if not file.taken(last) else f"{short}_{last}"
                wanted[old].append(last if name == last else f"{last} as {name}")
                file.split[bound] = (private, name)
            if not used or used & PUBLIC[old]:
                new = old
            else:
                return
    package, _, last = new.rpartition(".")
    if last == bound:
        wanted[package].append(last)
        return
    if asname is None and bound in file.renamed:
        wanted[package].append(f"{last}" if file.renamed[bound] == last else f"{last} as {bound}")
        return
    clash = (
        file.taken(last)
        or bound in file.stored | file.args | file.defs
        or last in file.renamed.values()
    )
    if asname is None and not clash and not file.kept.get(bound):
        file.renamed[bound] = last
        wanted[package].append(last)
    else:
        if asname is None:
            file.kept[bound] = True
        file.aliases += 1
        wanted[package].append(f"{last} as {bound}")


def rewrite(file: File) -> None:
    # whether a module bound anywhere in the file must keep its name, before anything is rewritten
    nodes = [n for n in ast.walk(file.tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
    for node in nodes:
        if isinstance(node, ast.Import):
            names = []
            touched = False
            for alias in node.names:
                if alias.name in CHANGED and alias.name not in FACADES:
                    if alias.asname is None:
                        # `import geovlm.x` -> uses written `geovlm.x.` are rewritten as text below
                        names.append(CHANGED[alias.name])
                    else:
                        names.append(f"{CHANGED[alias.name]} as {alias.asname}")
                    touched = True
                else:
                    names.append(alias.name + (f" as {alias.asname}" if alias.asname else ""))
            if touched:
                file.edits.append((*file.span(node), ("import " + ", ".join(names)).encode()))
            continue
        if node.level or not node.module or node.module.split(".")[0] != "geovlm":
            continue
        wanted: dict[str, list[str]] = defaultdict(list)
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            if is_module(whole):
                module_import(file, whole, alias.asname, wanted)
                continue
            text = alias.name + (f" as {alias.asname}" if alias.asname else "")
            if node.module in FACADES:
                own = MODULES.get(file.name, file.name)
                inside = own.startswith(node.module + ".")
                if alias.name in PUBLIC[node.module] and not inside:
                    wanted[node.module].append(text)
                elif node.module == "geovlm.boxes" and alias.name in RECTANGLE:
                    wanted["geovlm.boxes.rectangle"].append(text)
                else:
                    wanted[FACADES[node.module]].append(text)
            else:
                wanted[MODULES.get(node.module, node.module)].append(text)
        before = {
            node.module: [a.name + (f" as {a.asname}" if a.asname else "") for a in node.names]
        }
        if dict(wanted) == before:
            continue
        indent = " " * node.col_offset
        lines = []
        for module, names in wanted.items():
            flat = f"from {module} import {', '.join(names)}"
            if len(indent) + len(flat) > 100:
                inner = "".join(f"\n{indent}    {name}," for name in names)
                flat = f"from {module} import ({inner}\n{indent})"
            lines.append(flat)
        comment = ""
        file.edits.append((*file.span(node), f"\n{indent}".join(lines).encode()))
    for node in ast.walk(file.tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in file.split
            and node.attr in file.split[node.value.id][0]
        ):
            file.edits.append((*file.span(node.value), file.split[node.value.id][1].encode()))
    for node in ast.walk(file.tree):
        if (
            isinstance(node, ast.Name)
            and node.id in file.renamed
            and isinstance(node.ctx, ast.Load)
        ):
            file.edits.append((*file.span(node), file.renamed[node.id].encode()))


# names of modules in other text: strings, docstrings, comments, documents
OLD_TEXT = sorted((name for name in CHANGED if name not in FACADES), key=len, reverse=True)
TEXT = re.compile(r"(?<![\w.])(" + "|".join(map(re.escape, OLD_TEXT)) + r")(?![\w])")
PATHS = {a: b for a, b in MOVES.items() if a != b}
PATH = re.compile(
    r"(?<![\w/])(" + "|".join(map(re.escape, sorted(PATHS, key=len, reverse=True))) + r")(?![\w])"
)


def retext(text: str, *, python: bool) -> str:
    lines = []
    for line in text.split("\n"):
        if python and re.match(r"\s*(from|import)\s+geovlm", line):
            lines.append(line)
            continue
        line = TEXT.sub(lambda m: CHANGED[m.group(1)], line)
        line = PATH.sub(lambda m: PATHS[m.group(1)], line)
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    files = [ROOT / name for name in listed if name]
    aliases = renamed = touched = statements = 0
    for path in files:
        if path.suffix == ".py":
            file = File(path)
            rewrite(file)
            # two passes over `renamed`: a module kept by one import of the file is kept by all
            if set(file.kept) & set(file.renamed):
                raise SystemExit(f"{path}: {set(file.kept) & set(file.renamed)} kept and renamed")
            data = file.data
            for start, end, new in sorted(file.edits, reverse=True):
                data = data[:start] + new + data[end:]
            text = retext(data.decode(), python=True)
            aliases += file.aliases
            renamed += len(file.renamed)
            statements += len(file.edits)
            if text != file.source:
                touched += 1
                path.write_text(text, encoding="utf-8")
        elif path.suffix in {".md", ".toml", ".yml", ".jinja", ".txt", ".j2"} or path.name in {
            "Makefile",
            "run",
        }:
            if "released.txt" in path.name or "current.txt" in path.name:
                continue
            text = path.read_text(encoding="utf-8")
            new = retext(text, python=False)
            if new != text:
                touched += 1
                path.write_text(new, encoding="utf-8")
    moved = 0
    for old, new in MOVES.items():
        if old == new:
            continue
        target = ROOT / new
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "mv", old, new], check=True)
        moved += 1
    print(
        f"{moved} moved, {touched} files touched, {statements} edits, {renamed} modules renamed in a file, {aliases} aliases"
    )


main()
