"""Compares the public surface with the released one, so that every break is announced.

    python -m tools.public_api check      run by `make lint`
    python -m tools.public_api update     write tools/api/current.txt: declares an addition
    python -m tools.public_api release    make the current surface the released one

The surface is the names of `tools.public_names`, read by griffe without importing them, and every
command with its options. `tools/api/current.txt` must match the code. Everything removed or changed
since `tools/api/released.txt` must be named in an entry of the top section of CHANGELOG.md that
begins with **Breaking**. The released surface is stored as stubs, not as a git tag: the check then
needs neither tags nor history, a reviewer reads its diff, and only public names are compared.
griffe finds the breaks but does not compare annotations (griffe 2.4); types are compared here.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import griffe

ROOT = Path(__file__).parents[1]
CURRENT = ROOT / "tools" / "api" / "current.txt"
RELEASED = ROOT / "tools" / "api" / "released.txt"
CHANGELOG = ROOT / "CHANGELOG.md"
COMMANDS = "command line"
"""Heading of the section that is not a module."""
UPDATE = "python -m tools.public_api update"

_HOOKS_MAY = {griffe.BreakageKind.PARAMETER_ADDED_REQUIRED, griffe.BreakageKind.PARAMETER_MOVED}
"""Implementations of a hook may take fewer arguments than its specification, by name."""
_IMPORTS = "from dataclasses import dataclass, field\nfrom typing import NamedTuple\n"
_WIDTH = 100
_INDENT = "    "


class Break(NamedTuple):
    """Something public that was removed or changed."""

    path: str
    """`geovlm.boxes.match(limit)`, `geovlm run --seed <int>`."""
    what: str

    @property
    def words(self) -> set[str]:
        """Words that a changelog entry has to name: class, function, parameter; command, option."""
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
        stubs = [_stub(holder[name]) for name in public]
        sections.append("\n\n".join([f"# {module}", *stubs]))
    return "\n\n\n".join(sections) + "\n"


def command_lines() -> str:
    """Return the other part of the surface: each command, and each of its parameters, on a line."""
    from tools.reference.commands import pages

    lines = [f"# {COMMANDS}"]
    for page in pages():
        lines.append(page.name)
        lines += [
            f"{page.name} {each.usage}{' (required)' if each.required else ''}"
            for each in page.parameters
        ]
    return "\n".join(lines) + "\n"


def breaks(old: str, new: str) -> list[Break]:
    """Return everything in one surface that is removed or changed in the other, both as text."""
    a, b = _sections(old), _sections(new)
    with _package(a) as before, _package(b) as after:
        found = [*_griffe_breaks(before, after), *_type_breaks(before, after)]
    found += _command_breaks(a.get(COMMANDS, ""), b.get(COMMANDS, ""))
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
    """Return all problems, one line each, with the fix."""
    current = CURRENT.read_text(encoding="utf-8")
    problems = []
    if code != current:
        changed = difflib.unified_diff(current.splitlines(), code.splitlines(), lineterm="", n=0)
        problems += [line for line in changed if line[0] in "+-" and line[:3] not in ("+++", "---")]
        problems.append(
            f"the public surface differs from {_short(CURRENT)}; if this is intended: {UPDATE}"
        )
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


def _stub(thing: griffe.Object | griffe.Alias, *, indent: str = "") -> str:
    """The declaration of a public object, as Python that griffe can read again."""
    if isinstance(thing, griffe.Alias):
        thing = thing.final_target
    if isinstance(thing, griffe.Function):
        return _function(thing, indent=indent)
    if isinstance(thing, griffe.Attribute):
        return indent + _attribute(thing)
    assert isinstance(thing, griffe.Class)
    decorators = [f"{indent}@{each.value}" for each in thing.decorators]
    bases = f"({', '.join(map(str, thing.bases))})" if thing.bases else ""
    members = _members(thing, indent + _INDENT)
    return "\n".join([*decorators, f"{indent}class {thing.name}{bases}:", *members])


def _members(thing: griffe.Class, indent: str) -> list[str]:
    public = [
        each
        for name, each in thing.members.items()
        if not name.startswith("_") or (name == "__init__" and "dataclass" not in thing.labels)
    ]
    stubs = [_stub(each, indent=indent) for each in public]
    if any(str(base) == "NamedTuple" for base in thing.bases):  # griffe does not make this up
        fields = [_attribute(each) for each in public if isinstance(each, griffe.Attribute)]
        stubs.append(f"{indent}def __new__(cls, {', '.join(fields)}): ...")
    return stubs or [f"{indent}..."]


def _attribute(thing: griffe.Attribute) -> str:
    annotation = f": {thing.annotation}" if thing.annotation is not None else ""
    value = "" if thing.value is None else f" = {thing.value}"
    # an instance attribute of __init__ has neither type nor a value of its own
    in_class = isinstance(thing.parent, griffe.Class)
    if not annotation and in_class and "class-attribute" not in thing.labels:
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


@contextmanager
def _package(sections: Mapping[str, str]) -> Iterator[griffe.Module]:
    """The Python sections of a surface as a package, read by griffe."""
    with griffe.temporary_pypackage("geovlm") as made:
        for module, body in sections.items():
            if module != COMMANDS:
                name = module.partition(".")[2] or "__init__"
                (made.path / f"{name}.py").write_text(_IMPORTS + body, encoding="utf-8")
        yield _load(made.tmpdir)


def _load(folder: Path) -> griffe.Module:
    """The package in a folder, and in no other: not in the working folder, by chance."""
    loaded = griffe.load(
        "geovlm", search_paths=[folder], allow_inspection=False, try_relative_path=False
    )
    assert isinstance(loaded, griffe.Module)
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


def _types(thing: griffe.Object) -> dict[str, str]:
    """Path -> annotation of every field, result and parameter; griffe does not compare these."""
    found: dict[str, str] = {}
    for each in thing.members.values():
        if isinstance(each, griffe.Function) and "dataclass" not in thing.labels:
            found[each.path] = str(each.returns)
            found |= {f"{each.path}({p.name})": str(p.annotation) for p in each.parameters}
        elif isinstance(each, griffe.Attribute):
            is_alias = str(each.annotation) == "TypeAlias"
            found[each.path] = str(each.value if is_alias else each.annotation)
        elif isinstance(each, griffe.Class | griffe.Module):
            found |= _types(each)
    return found


def _type_breaks(before: griffe.Module, after: griffe.Module) -> Iterator[Break]:
    now = _types(after)
    for path, old in _types(before).items():
        if path in now and now[path] != old:
            yield Break(path, f"type {old} became {now[path]}")


def _command_breaks(old: str, new: str) -> Iterator[Break]:
    before, after = old.split("\n"), new.split("\n")
    kept = set(map(_typed, after))
    for line in before:
        free = _typed(line.removesuffix(" (required)"))  # a parameter that one may now leave out
        if line and not {_typed(line), free} & kept:
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
