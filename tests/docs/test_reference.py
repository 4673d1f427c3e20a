"""The references in docs/ are those of the code, and say something about everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from geovlm.cli import COMMANDS
from geovlm.config.schema import RunConfig
from geovlm.plugins.profiles import BUILTIN
from tools.reference import benchmarks, checks, commands, config, models

DOCS = Path(__file__).parents[2] / "docs"
PAGES = commands.pages()
TABLES = config.tables(RunConfig.model_json_schema())
PARAMETERS = [
    pytest.param(each, id=f"{page.name} {each.usage}") for page in PAGES for each in page.parameters
]
KEYS = [
    pytest.param(field, id=f"{table.heading} {key}")
    for table in TABLES
    for key, field in table.model["properties"].items()
    if "const" not in field
]


def test_the_reference_of_the_command_line_is_up_to_date() -> None:
    written = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert written == commands.markdown(), "docs/cli.md is stale: make docs"


def test_the_reference_of_the_configuration_is_up_to_date() -> None:
    written = (DOCS / "config.md").read_text(encoding="utf-8")
    assert written == config.markdown(), "docs/config.md is stale: make docs"


def test_the_page_of_checks_is_up_to_date() -> None:
    written = (DOCS / "checks.md").read_text(encoding="utf-8")
    assert written == checks.markdown(), "docs/checks.md is stale: make docs"


def test_the_page_of_models_is_up_to_date() -> None:
    written = (DOCS / "models.md").read_text(encoding="utf-8")
    assert written == models.markdown(), "docs/models.md is stale: make docs"


def test_the_page_of_the_papers_benchmarks_is_up_to_date() -> None:
    written = (DOCS / "paper-benchmarks.md").read_text(encoding="utf-8")
    assert written == benchmarks.markdown(), "docs/paper-benchmarks.md is stale: make docs"


def test_the_page_of_the_papers_benchmarks_has_its_28_rows() -> None:
    rows = benchmarks.rows()
    assert len(rows) == 28
    assert len({row.benchmark for row in rows}) == 27  # xBD's first set is in two tables


def test_the_page_of_models_shows_every_built_in_profile_once() -> None:
    shown = [each.profile.name for each in models.FAMILIES]
    assert sorted(set(shown)) == sorted(shown)
    assert {profile.name for profile in BUILTIN} <= set(shown)


def test_the_page_of_models_tells_of_every_tried_checkpoint() -> None:
    told = {name for family in models.FAMILIES for name in family.tried}
    refused = {n for n, keys in models.expected().items() if "plan" in keys.get("refused", {})}
    assert told | refused == set(models.expected())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_page(command: str) -> None:
    assert f"## geovlm {command}\n" in commands.markdown()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_says_what_it_does(page: commands.Page) -> None:
    assert page.help


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_every_parameter_says_what_it_does(parameter: commands.Parameter) -> None:
    assert parameter.help


def test_a_default_and_a_requirement_are_shown() -> None:
    text = commands.markdown()
    assert "- `-n <int range>` (default `16`): Records per split.\n" in text
    assert "- `--out <path>` (required): Folder to write to; must be new or empty.\n" in text


@pytest.mark.parametrize("field", KEYS)
def test_every_key_of_the_configuration_is_described(field: dict[str, object]) -> None:
    assert field.get("description")


@pytest.mark.parametrize(
    "line",
    [
        '- `model` (text, default `"nano"`): `nano`, a folder with `config.json`, a name on the '
        "Hugging Face hub, or, to be evaluated, `openai:NAME` of an endpoint, see docs/served.md.",
        "- `generations` (whole number at least 2, default `4`): Completions per prompt.",
        "- `min_format_rate` (number from 0 to 1, default `0.5`): Smallest share of completions "
        "with the right tags; a task below it fails the probe.",
        '- `eval_split` (`"train"` or `"val"` or `"test"`): Split on which this task is evaluated; '
        "default: `eval.split`.",
    ],
    ids=["text", "least", "range", "choice"],
)
def test_a_key_is_shown_with_type_bounds_and_default(line: str) -> None:
    assert line in config.markdown().splitlines()


def test_every_table_of_the_configuration_has_a_section() -> None:
    definitions = RunConfig.model_json_schema()["$defs"].values()
    models = [each["title"] for each in definitions if "properties" in each]
    assert sorted(table.model["title"] for table in TABLES[1:]) == sorted(models)


def test_a_heading_says_where_a_table_stands() -> None:
    headings = {table.heading for table in TABLES}
    assert {"`[tasks.NAME]`", "`[lora]`", "`[[stages]]` of kind grpo"} <= headings
