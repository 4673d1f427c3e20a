"""Writes docs/config.md from the schema of the configuration: python -m tools.reference.config."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

HEAD = """\
# Configuration

Settings come from four sources, each overriding the one before: preset, TOML file, command-line
options, `--set KEY=VALUE`. `geovlm config show PRESET` prints a preset, `geovlm config schema` the
JSON schema from which this page is made. Paths are relative to the working folder.

This page is written by `make docs`.
"""
_SIMPLE = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
}

Schema = Mapping[str, Any]


class Table(NamedTuple):
    """A table of the configuration and its place in a file."""

    heading: str
    """Such as `[eval]`, in backquotes; for a stage with its kind."""
    model: Schema


def markdown() -> str:
    """Return docs/config.md."""
    from geovlm.config.schema import RunConfig

    schema = RunConfig.model_json_schema()
    return "\n".join([HEAD, *(_section(table, schema) for table in tables(schema))])


def tables(schema: Schema) -> list[Table]:
    """Return the top level and all tables below it, in the order of their keys."""
    found = [Table("Top level", schema)]
    for key, field in schema["properties"].items():
        found += [Table(heading, model) for heading, model in _below(key, field, schema)]
    return found


def _below(key: str, field: Schema, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield heading and model of every table below a key of the top level."""
    for option in field.get("anyOf", [field]):
        if "$ref" in option:
            yield f"`[{key}]`", _model(option, schema)
        named = option.get("additionalProperties")
        if isinstance(named, Mapping) and "properties" in _model(named, schema):
            yield f"`[{key}.NAME]`", _model(named, schema)
        for each in option.get("items", {}).get("oneOf", []):
            model = _model(each, schema)
            kind = model["properties"]["kind"]["const"]
            yield f"`[[{key}]]` of kind {kind}", model
            for inner, below in model["properties"].items():
                if "$ref" in below:
                    yield f"`[{key}.{inner}]` of kind {kind}", _model(below, schema)


def _model(field: Schema, schema: Schema) -> Schema:
    """Return the definition that a `$ref` points to, or the field itself."""
    if "$ref" not in field:
        return field
    found: Schema = schema["$defs"][field["$ref"].rpartition("/")[2]]
    return found


def _section(table: Table, schema: Schema) -> str:
    required = table.model.get("required", [])
    items = [
        _item(key, field, schema, required=key in required)
        for key, field in table.model["properties"].items()
    ]
    return "\n".join([f"## {table.heading}", "", table.model["description"], "", *items, ""])


def _item(key: str, field: Schema, schema: Schema, *, required: bool) -> str:
    traits = [_type(field, schema)]
    default = field.get("default")
    if required:
        traits.append("required")
    elif default not in (None, {}, []) and not isinstance(default, dict):
        traits.append(f"default `{json.dumps(default, ensure_ascii=False)}`")
    meaning = " ".join(field.get("description", "").split())
    text = f": {meaning}" if meaning else ""
    return f"- `{key}` ({', '.join(traits)}){text}"


def _type(field: Schema, schema: Schema) -> str:
    """Return the type of a key in words, without `null`, which TOML does not have."""
    options = [each for each in field.get("anyOf", [field]) if each.get("type") != "null"]
    return " or ".join(_one_type(each, schema) for each in options)


def _one_type(field: Schema, schema: Schema) -> str:
    if "enum" in field:
        return " or ".join(f'`"{each}"`' for each in field["enum"])
    if "const" in field:
        return f'`"{field["const"]}"`'
    if "$ref" in field:
        return "table" if "properties" in _model(field, schema) else "any value"
    kind = field["type"]
    if kind == "array":
        of = field["items"]
        return "list of tables" if "oneOf" in of else f"list of {_one_type(of, schema)}"
    if kind == "object":
        named = field.get("additionalProperties")
        is_named = isinstance(named, Mapping) and "properties" in _model(named, schema)
        return "table of tables" if is_named else "table"
    word = "path" if field.get("format") == "path" else _SIMPLE[kind]
    return " ".join([word, *_bounds(field)])


def _bounds(field: Schema) -> list[str]:
    if "minimum" in field and "maximum" in field:
        return [f"from {field['minimum']:g} to {field['maximum']:g}"]
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most"}
    return [f"{word} {field[bound]:g}" for bound, word in words.items() if bound in field]


if __name__ == "__main__":
    print(markdown(), end="")
