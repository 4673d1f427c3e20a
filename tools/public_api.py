"""Compare the public surface with the released one, so that no break goes unannounced.

    python -m tools.public_api check      what `make lint` runs
    python -m tools.public_api update     write tools/api/current.txt: declares an addition
    python -m tools.public_api release    make the current surface the released one

The surface is what `tools.public_names` names, read by griffe without importing it, and every
command with its options. `tools/api/current.txt` must be that of the code. What has gone or changed
since `tools/api/released.txt` must be named in an entry of the top section of CHANGELOG.md that
begins with **Breaking**.
"""

from __future__ import annotations

import difflib
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import griffe

ROOT = Path(__file__).parents[1]
CURRENT = ROOT / "tools" / "api" / "current.txt"
RELEASED = ROOT / "tools" / "api" / "released.txt"
CHANGELOG = ROOT / "CHANGELOG.md"
COMMANDS = "command line"
"""Heading of the section that is no module."""
UPDATE = "python -m tools.public_api update"

_HOOKS_MAY = {griffe.BreakageKind.PARAMETER_ADDED_REQUIRED, griffe.BreakageKind.PARAMETER_MOVED}
"""Implementations of a hook may take fewer arguments than its specification, by name."""
_WIDTH = 100
_INDENT = "    "


class Break(NamedTuple):
    """Something public that has gone or changed."""

    path: str
    """`geovlm.boxes.match(limit)`, `geovlm run --seed <int>`."""
    what: str

    @property
    def words(self) -> set[str]:
        """What a changelog entry has to name: class, function, parameter; command, option."""
        if self.path.startswith("geovlm "):
            return {word for word in self.path.split() if word[0] not in "<[{" and word != "geovlm"}
        names = re.findall(r"\w+", self.path.partition(".")[2].partition(".")[2] or self.path)
        return {name for name in names if name not in ("__init__", "__new__")}


def surface(folder: Path, *, names: Mapping[str, Iterable[str]]) -> str:
    """Return the Python part of the surface as text: a section per module, a stub of each name.

    Args:
        folder: where the package is.
        names: module -> its public names.

    Raises:
        KeyError: a name that the module does not have.
    """
    package = _load(folder)
    sections = []
    for module, public in names.items():
        holder = package if module == "geovlm" else package[module.removeprefix("geovlm.")]
        stubs = [_stub(_target(holder[name])) for name in public]
        sections.append("\n\n".join([f"# {module}", *stubs]))
    return "\n\n\n".join(sections) + "\n"


def command_lines() -> str:
    """Return the other part of the surface: each command, and each of its parameters, on a line."""
    from geovlm.cli.reference import pages

    lines = [f"# {COMMANDS}"]
    for page in pages():
        lines.append(page.name)
        lines += [
            f"{page.name} {each.usage}{' (required)' if each.required else ''}"
            for each in page.parameters
        ]
    return "\n".join(lines) + "\n"


def breaks(old: str, new: str) -> list[Break]:
    """Return what code written for one surface can trip over on another, both as text."""
    with tempfile.TemporaryDirectory() as folder:
        before = _package(old, Path(folder) / "old")
        after = _package(new, Path(folder) / "new")
        found = [*_griffe_breaks(before, after), *_annotation_breaks(before, after)]
    found += _command_breaks(_sections(old).get(COMMANDS, ""), _sections(new).get(COMMANDS, ""))
    return list(dict.fromkeys(found))


def undeclared(found: Iterable[Break], *, changelog: str) -> list[Break]:
    """Return the breaks that no entry **Breaking** of the top section names."""
    top = re.split(r"^## ", changelog, maxsplit=2, flags=re.M)[1]
    entries = [
        entry for entry in re.split(r"^- ", top, flags=re.M) if entry.startswith("**Breaking**")
    ]
    named = [set(re.findall(r"--?[a-z][\w-]*|\w+", entry)) for entry in entries]
    return [each for each in found if not any(each.words <= words for words in named)]


def check(code: str) -> list[str]:
    """Return all that is wrong, one line each, with what to do."""
    current = CURRENT.read_text(encoding="utf-8")
    problems = []
    if code != current:
        changed = difflib.unified_diff(current.splitlines(), code.splitlines(), lineterm="", n=0)
        problems += [line for line in changed if line[0] in "+-" and line[:3] not in ("+++", "---")]
        problems.append(f"the public surface differs from {_short(CURRENT)}; if so meant: {UPDATE}")
    found = breaks(RELEASED.read_text(encoding="utf-8"), code)
    for each in undeclared(found, changelog=CHANGELOG.read_text(encoding="utf-8")):
        problems.append(
            f"undeclared break: {each.path}: {each.what}; put it back, or begin an entry in the "
            "top section of CHANGELOG.md with **Breaking**, naming "
            f"{', '.join(sorted(each.words))} and what to write instead"
        )
    return problems


def main(argv: list[str]) -> int:
    """Run one command; returns the exit code."""
    from tools.public_names import NAMES

    if argv not in (["check"], ["update"], ["release"]):
        print(__doc__, file=sys.stderr)
        return 2
    code = f"{surface(ROOT, names=NAMES)}\n\n{command_lines()}"
    if argv == ["check"]:
        problems = check(code)
        print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
        return 1 if problems else 0
    target = CURRENT if argv == ["update"] else RELEASED
    target.write_text(code, encoding="utf-8")
    print(_short(target))
    return 0


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _target(thing: griffe.Object | griffe.Alias) -> griffe.Object:
    return thing.final_target if thing.is_alias else thing


def _stub(thing: griffe.Object, *, indent: str = "") -> str:
    """The declaration of a public object, as Python that griffe can read again."""
    if thing.is_function:
        return _function(thing, indent=indent)
    if thing.is_attribute:
        return indent + _attribute(thing)
    decorators = [f"{indent}@{each.value}" for each in thing.decorators]
    bases = f"({', '.join(map(str, thing.bases))})" if thing.bases else ""
    return "\n".join([*decorators, f"{indent}class {thing.name}{bases}:", *_members(thing, indent)])


def _members(thing: griffe.Class, indent: str) -> Iterator[str]:
    inner = indent + _INDENT
    members = [
        each
        for name, each in thing.members.items()
        if not name.startswith("_") or (name == "__init__" and "dataclass" not in thing.labels)
    ]
    yield from (
        (_stub(_target(each), indent=inner) for each in members) if members else [f"{inner}..."]
    )
    if any(str(base) == "NamedTuple" for base in thing.bases):  # griffe does not make this up
        fields = [_attribute(each) for each in members if each.is_attribute]
        yield f"{inner}def __new__(cls, {', '.join(fields)}): ..."


def _attribute(thing: griffe.Attribute) -> str:
    annotation = f": {thing.annotation}" if thing.annotation is not None else ""
    # an instance attribute of __init__ has neither type nor a value of its own
    value = "" if thing.value is None else f" = {thing.value}"
    if not annotation and "class-attribute" not in thing.labels and thing.parent.is_class:
        value = " = ..."
    return f"{thing.name}{annotation}{value}"


def _function(thing: griffe.Function, *, indent: str) -> str:
    returns = f" -> {thing.returns}" if thing.returns is not None else ""
    line = f"{indent}def {thing.signature()}".removesuffix(returns) + f"{returns}: ..."
    if len(line) <= _WIDTH:
        return line
    inside = ",\n".join(indent + _INDENT + each for each in _parameters(thing.parameters))
    return f"{indent}def {thing.name}(\n{inside},\n{indent}){returns}: ..."


def _parameters(parameters: griffe.Parameters) -> Iterator[str]:
    star = False
    for each in parameters:
        if each.kind is griffe.ParameterKind.keyword_only and not star:
            star = True
            yield "*"
        star = star or each.kind is griffe.ParameterKind.var_positional
        annotation = f": {each.annotation}" if each.annotation is not None else ""
        default = f" = {each.default}" if each.default is not None else ""
        sign = {"variadic positional": "*", "variadic keyword": "**"}.get(each.kind.value, "")
        yield f"{sign}{each.name}{annotation}{default if not sign else ''}"


def _sections(text: str) -> dict[str, str]:
    """Heading -> body."""
    parts = re.split(r"^# (.+)\n", text, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _package(text: str, folder: Path) -> griffe.Module:
    """The surface as a package of its own, read by griffe."""
    root = folder / "geovlm"
    root.mkdir(parents=True)
    (root / "__init__.py").touch()
    for module, body in _sections(text).items():
        if module != COMMANDS:
            file = root / f"{module.partition('.')[2] or '__init__'}.py"
            imports = "from dataclasses import dataclass, field\nfrom typing import NamedTuple\n"
            file.write_text(imports + body, encoding="utf-8")
    return _load(folder)


def _load(folder: Path) -> griffe.Module:
    """The package in a folder, and in no other: not in the one we are in, by chance."""
    loaded = griffe.load(
        "geovlm", search_paths=[folder], allow_inspection=False, try_relative_path=False
    )
    assert isinstance(loaded, griffe.Module)
    assert loaded.filepath.is_relative_to(folder)
    return loaded


def _griffe_breaks(before: griffe.Module, after: griffe.Module) -> Iterator[Break]:
    for each in griffe.find_breaking_changes(before, after):
        path = each.obj.path
        if path.startswith("geovlm.hookspecs.") and each.kind in _HOOKS_MAY:
            continue
        parameter = each.old_value if each.old_value is not None else each.new_value
        if isinstance(parameter, griffe.Parameter):
            path = f"{path}({parameter.name})"
        yield Break(path, each.kind.value.lower())


def _annotation_breaks(before: griffe.Object, after: griffe.Object) -> Iterator[Break]:
    """Types that differ, which griffe does not compare."""
    for name, old in before.members.items():
        new = after.members.get(name)
        if old.is_alias or new is None or new.is_alias or old.kind is not new.kind:
            continue
        if old.is_function:
            yield from _signature_breaks(old, new)
        elif old.is_attribute:
            before_type, after_type = _type(old), _type(new)
            if before_type != after_type:
                yield Break(old.path, f"type {before_type} became {after_type}")
        else:
            yield from _annotation_breaks(old, new)


def _type(thing: griffe.Attribute) -> str:
    is_alias = str(thing.annotation) == "TypeAlias"
    return str(thing.value if is_alias else thing.annotation)


def _signature_breaks(old: griffe.Function, new: griffe.Function) -> Iterator[Break]:
    if "dataclass" in old.parent.labels:
        return  # its fields are compared
    if str(old.returns) != str(new.returns):
        yield Break(old.path, f"result {old.returns} became {new.returns}")
    kept = {each.name: each for each in new.parameters}
    for each in old.parameters:
        now = kept.get(each.name, each)
        if str(each.annotation) != str(now.annotation):
            yield Break(
                f"{old.path}({each.name})", f"type {each.annotation} became {now.annotation}"
            )


def _command_breaks(old: str, new: str) -> Iterator[Break]:
    before, after = old.split("\n"), new.split("\n")
    kept = set(map(_typed, after))
    for line in before:
        if line and _typed(line) not in kept:
            yield Break(line.removesuffix(" (required)"), "gone or changed")
    for line in after:
        command = line.partition(" -")[0]
        if line.endswith(" (required)") and line not in before and command in before:
            yield Break(line.removesuffix(" (required)"), "added as required")


def _typed(line: str) -> str:
    """A line without the placeholder in capitals that stands for the value of an option."""
    return re.sub(r"( --?[\w-]+) [A-Z][^<>()]*?(?= \(required\)$|$)", r"\1 VALUE", line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
