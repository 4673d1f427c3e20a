"""The public surface: what counts as a break, who must declare it, who may import what."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

from tools.public_names import NAMES

pytest.importorskip("griffe", reason="the extra dev has griffe")

from tools import public_api

ROOT = Path(__file__).parents[1]
PLUGIN_FILES = [
    *sorted(ROOT.glob("plugins/*/geovlm_*/**/*.py")),
    *sorted(ROOT.glob("examples/*/geovlm_*/**/*.py")),
]
OLD = """\
# geovlm.api

Split: TypeAlias = Literal['train', 'test']

@dataclass(frozen=True, kw_only=True)
class Sample:
    id: str
    question: str = ''

# geovlm.boxes

class Box(NamedTuple):
    x0: float
    def __new__(cls, x0: float): ...

def iou(a: Box, b: Box, *, limit: int = 3) -> float: ...

# geovlm.hookspecs

def geovlm_callbacks(stage: StageInfo) -> None: ...

# command line
geovlm run
geovlm run --seed <int>
geovlm run --set K=V
"""


def changed(old: str, new: str) -> list[str]:
    """Paths of the breaks after one replacement."""
    assert old in OLD
    return [each.path for each in public_api.breaks(OLD, OLD.replace(old, new))]


def imports(source: str) -> set[tuple[str, str]]:
    """(module, name) of all that a file takes from geovlm; modules by their attributes."""
    tree = ast.parse(source)
    taken = [
        (node.module or "", alias.name, alias.asname or alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "geovlm"
        for alias in node.names
    ]
    modules = {local: f"geovlm.{name}" for module, name, local in taken if module == "geovlm"}
    uses = {
        (modules[node.value.id], node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
    }
    direct = {(m, name) for m, name, _ in taken if m != "geovlm" or name == "hookimpl"}
    return direct | uses


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_plugin_in_this_repository_imports_public_names_only(path: Path) -> None:
    public = {(module, name) for module, names in NAMES.items() for name in names}
    assert imports(path.read_text(encoding="utf-8")) <= public


def test_attributes_of_an_imported_module_are_seen() -> None:
    source = "from geovlm import boxes as b\nfrom geovlm.api import Sample\nb.iou(1, 2)\n"
    assert imports(source) == {("geovlm.boxes", "iou"), ("geovlm.api", "Sample")}


@pytest.mark.parametrize("module", NAMES)
def test_every_public_name_exists(module: str) -> None:
    assert set(NAMES[module]) <= set(dir(import_module(module)))


def test_the_surface_has_a_section_per_module() -> None:
    text = public_api.surface(ROOT, names={"geovlm.errors": ["DataError"]})
    assert text == "# geovlm.errors\n\nclass DataError(GeoVLMError):\n    ...\n"


def test_a_surface_does_not_break_itself() -> None:
    assert public_api.breaks(OLD, OLD) == []


def test_the_whole_surface_does_not_break_itself() -> None:
    text = public_api.RELEASED.read_text(encoding="utf-8")
    assert public_api.breaks(text, text) == []


def test_a_field_with_a_default_is_no_break() -> None:
    assert changed("    question: str = ''\n", "    question: str = ''\n    new: int = 0\n") == []


def test_a_field_without_a_default_is_a_break() -> None:
    assert changed("    id: str\n", "    id: str\n    new: int\n") == [
        "geovlm.api.Sample.__init__(new)"
    ]


def test_a_field_that_is_gone_is_a_break() -> None:
    assert "geovlm.api.Sample.question" in changed("    question: str = ''\n", "")


def test_a_field_of_another_type_is_a_break() -> None:
    assert changed("    id: str\n", "    id: int\n") == ["geovlm.api.Sample.id"]


def test_a_type_alias_of_another_type_is_a_break() -> None:
    assert changed("['train', 'test']", "['train']") == ["geovlm.api.Split"]


def test_a_default_that_changes_is_a_break() -> None:
    assert changed("limit: int = 3", "limit: int = 4") == ["geovlm.boxes.iou(limit)"]


def test_a_parameter_that_is_gone_is_a_break() -> None:
    assert changed(", *, limit: int = 3", "") == ["geovlm.boxes.iou(limit)"]


def test_a_result_of_another_type_is_a_break() -> None:
    assert changed("= 3) -> float", "= 3) -> int") == ["geovlm.boxes.iou"]


def test_a_field_more_in_a_named_tuple_is_a_break() -> None:
    new = "    x1: float\n    def __new__(cls, x0: float, x1: float): ..."
    old = "    def __new__(cls, x0: float): ..."
    assert changed(old, new) == ["geovlm.boxes.Box.__new__(x1)"]


def test_a_module_that_is_gone_is_a_break() -> None:
    old = "# geovlm.hookspecs\n\ndef geovlm_callbacks(stage: StageInfo) -> None: ...\n\n"
    assert changed(old, "") == ["geovlm.hookspecs"]


def test_an_argument_more_of_a_hook_is_no_break() -> None:
    assert changed("(stage: StageInfo)", "(run: Run, stage: StageInfo)") == []


def test_an_argument_less_of_a_hook_is_a_break() -> None:
    assert changed("(stage: StageInfo)", "()") == ["geovlm.hookspecs.geovlm_callbacks(stage)"]


def test_an_option_more_is_no_break() -> None:
    assert changed("geovlm run\n", "geovlm run\ngeovlm run --json\n") == []


def test_a_required_option_that_may_be_left_out_is_no_break() -> None:
    old = "geovlm run\ngeovlm run --task <str> (required)\n"
    assert list(public_api._command_breaks(old, old.replace(" (required)", ""))) == []
    assert list(public_api._command_breaks(old, "geovlm run\n")) != []


def test_a_required_option_more_is_a_break() -> None:
    new = "geovlm run\ngeovlm run --task <str> (required)\n"
    assert changed("geovlm run\n", new) == ["geovlm run --task <str>"]


def test_a_new_command_may_require_options() -> None:
    new = "geovlm run\ngeovlm go\ngeovlm go --task <str> (required)\n"
    assert changed("geovlm run\n", new) == []


def test_another_placeholder_for_the_value_is_no_break() -> None:
    assert changed("geovlm run --set K=V\n", "geovlm run --set KEY=VALUE\n") == []


def test_an_option_that_takes_a_value_no_more_is_a_break() -> None:
    assert changed("geovlm run --set K=V\n", "geovlm run --set\n") == ["geovlm run --set K=V"]


def test_an_option_that_is_gone_is_a_break() -> None:
    assert changed("geovlm run --seed <int>\n", "") == ["geovlm run --seed <int>"]


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("geovlm.api.Sample.id", "`Sample.id` is gone; use `Sample.key`"),
        ("geovlm.boxes.iou(limit)", "`iou` takes no `limit`"),
        ("geovlm run --seed <int>", "`geovlm run` has no `--seed`"),
    ],
)
def test_a_break_that_the_changelog_names_is_declared(path: str, entry: str) -> None:
    changelog = f"# Changelog\n\n## 0.2.0\n\n- **Breaking** {entry}.\n\n## 0.1.0\n"
    assert public_api.undeclared([public_api.Break(path, "")], changelog=changelog) == []


@pytest.mark.parametrize(
    "changelog",
    [
        "# Changelog\n\n## 0.2.0\n\n- `Sample.id` is gone.\n",
        "# Changelog\n\n## 0.2.0\n\n- **Breaking** `Sample.key` is gone.\n",
        "# Changelog\n\n## 0.2.0\n\n- Fine.\n\n## 0.1.0\n\n- **Breaking** `Sample.id` is gone.\n",
    ],
    ids=["not marked", "not named", "of an earlier version"],
)
def test_a_break_without_its_entry_is_undeclared(changelog: str) -> None:
    gone = public_api.Break("geovlm.api.Sample.id", "gone")
    assert public_api.undeclared([gone], changelog=changelog) == [gone]


def test_check_names_the_command_and_the_entry_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("current", "released"):
        (tmp_path / f"{name}.txt").write_text(OLD, encoding="utf-8")
        monkeypatch.setattr(public_api, name.upper(), tmp_path / f"{name}.txt")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 0.2.0\n\n- Fine.\n", encoding="utf-8")
    monkeypatch.setattr(public_api, "CHANGELOG", tmp_path / "CHANGELOG.md")
    monkeypatch.setattr(public_api, "ROOT", tmp_path)
    problems = public_api.check(OLD.replace("    id: str\n", "    id: int\n"))
    assert problems[:2] == ["-    id: str", "+    id: int"]
    assert problems[2].endswith("if this is intended: python -m tools.public_api update")
    assert problems[3].startswith("undeclared break: geovlm.api.Sample.id: type str became int;")
    assert "with **Breaking**, naming Sample, id and what to write instead" in problems[3]
