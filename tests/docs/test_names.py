"""The documents match the code: hooks, declarations, rules of the kit and TOML blocks."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
from pathlib import Path

import pytest

from geovlm import api, hookspecs
from geovlm.config import load, options
from geovlm.plugins import registry
from geovlm.testing.kit import RULES

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("plugins/*/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
]
REFERENCE = (ROOT / "docs" / "plugins" / "reference.md").read_text(encoding="utf-8")
SPECS = [
    api.DatasetSpec,
    api.TaskSpec,
    api.TaskSetSpec,
    api.RewardSpec,
    api.MetricSpec,
    api.ModelProfile,
]
CONTEXTS = [
    api.Sample,
    api.Turn,
    api.LoadContext,
    api.PromptContext,
    api.RewardContext,
    api.Prediction,
    api.StageInfo,
]
TABLE_ROW = re.compile(r"^\|(.*?)\|", re.M)
"""The first cell of a row."""
HOOKS = [
    (name, f"### {name}({', '.join(inspect.signature(hook).parameters)})")
    for name, hook in inspect.getmembers(hookspecs, inspect.isfunction)
    if name.startswith("geovlm_")
]
BLOCKS = [
    block
    for path in DOCUMENTS
    for block in re.findall(r"^```toml\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    if "[project]" not in block  # the metadata of a package, not of a run
]
FILES = [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("examples/*.toml"))]


def unknown_options(text: str) -> list[str]:
    """Return data sets and tasks of a configuration that do not exist; check options of the others.

    Raises:
        ConfigError: an option that its data set or task does not have.
    """
    config, problems = load.validate(tomllib.loads(text))
    assert config is not None, problems
    loaded = registry.load()
    unknown = []
    for known, given in ((loaded.datasets, config.data), (loaded.tasks, config.tasks)):
        for name, own in given.items():
            specs = [spec for spec in known.values() if f"{spec.name}/".startswith(f"{name}/")]
            unknown += [] if specs else [name]
            for spec in specs:
                options.parse(spec.options, own.options, path=name, exact=spec.name == name)
    return unknown


@pytest.mark.parametrize(("hook", "heading"), HOOKS)
def test_every_hook_has_a_heading_with_its_arguments(hook: str, heading: str) -> None:
    assert heading in REFERENCE.splitlines()


@pytest.mark.parametrize("spec", SPECS)
def test_every_field_of_a_declaration_is_in_its_table(spec: type) -> None:
    section = REFERENCE.partition(f"### {spec.__name__}\n")[2].partition("\n#")[0]
    named = {name for row in TABLE_ROW.findall(section) for name in re.findall(r"`(\w+)`", row)}
    assert {field.name for field in dataclasses.fields(spec)} - named == set()


@pytest.mark.parametrize("kind", CONTEXTS)
def test_every_field_of_a_context_is_in_its_row(kind: type) -> None:
    (row,) = re.findall(rf"^\| `{kind.__name__}` \|(.*)", REFERENCE, re.M)
    assert {field.name for field in dataclasses.fields(kind)} - set(
        re.findall(r"`(\w+)`", row)
    ) == set()


def test_the_rules_of_the_conformance_kit_are_listed_in_order() -> None:
    section = REFERENCE.partition("## The conformance kit")[2]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == [rule.name for rule in RULES]


@pytest.mark.parametrize(("hook", "heading"), HOOKS)
def test_every_hook_has_a_test_named_after_it(hook: str, heading: str) -> None:
    assert f"def test_{hook}_" in (ROOT / "tests" / "test_hooks.py").read_text(encoding="utf-8")


def test_there_are_blocks_and_files() -> None:
    assert len(BLOCKS) >= 3
    assert len(FILES) >= 2


@pytest.mark.parametrize("text", [*BLOCKS, *FILES])
def test_every_toml_is_the_configuration_of_a_run(text: str) -> None:
    assert load.validate(tomllib.loads(text))[1] == []


@pytest.mark.parametrize("text", [*BLOCKS, *FILES])
def test_every_toml_names_data_sets_tasks_and_options_that_there_are(text: str) -> None:
    assert unknown_options(text) == []


def test_an_unknown_data_set_is_found() -> None:
    assert unknown_options('[data.xdb]\nroot = "/data"\n') == ["xdb"]
