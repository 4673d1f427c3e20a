"""Builds a `RunConfig` from a preset, a TOML file, command-line options and `--set KEY=VALUE`.

Each source overrides the one before: tables are merged, all other values are replaced, a list
(`stages`) as a whole. A preset is a TOML file in `geovlm/config/presets`.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm import nano
from geovlm.config.options import lookup, near
from geovlm.errors import ConfigError, DataError
from geovlm.files import records

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from geovlm.config.schema import RunConfig

DEFAULT_PRESET = "nano"
_LENGTHS = {"steps": "epochs", "epochs": "steps"}
_KEY_PART = re.compile(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|([^."\']+)')


def load(
    path: Path | None,
    *,
    preset: str | None = None,
    stored: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    **values: Any,
) -> RunConfig:
    """Return the configuration of a run.

    Args:
        path: a TOML file, or `None`.
        preset: a preset's name; default: the file's `preset`, else `nano`.
        stored: the configuration of a resumed run, in place of preset and file.
        overrides: `KEY=VALUE` each; the value is TOML, or else a string.
        values: fields of `RunConfig` from options; `None` for an option that is not given.

    Raises:
        ConfigError: all problems, each with the path of its key.
    """
    own = read_toml(path) if path is not None else {}
    if stored is not None:
        name, table = stored["preset"], dict(stored)
    else:
        name = preset or own.get("preset") or DEFAULT_PRESET
        table = merge(tomllib.loads(preset_text(name)), own)
    given = {key: value for key, value in values.items() if value is not None}
    tasks = given.pop("tasks", None)
    if "data_files" in given:
        given["data_files"] = [*table.get("data_files", []), *given["data_files"]]
    if tasks is not None:
        table["tasks"] = _select_tasks(table.get("tasks", {}), tasks)
    if "processes" in given and "gpus" not in given:
        table.pop("gpus", None)  # processes of the CPU, whatever the preset says
    table = merge(table, given)
    problems = [problem for one in overrides if (problem := _apply(table, one)) is not None]
    table["preset"] = name
    config, found = validate(table)
    problems += found
    if config is None or problems:
        where = f"{path}: " if path is not None else ""
        raise ConfigError(where + "; ".join(problems))
    return _absolute(config)


def _absolute(config: RunConfig) -> RunConfig:
    """Return the configuration with absolute paths where a text names a file or folder.

    A run may be resumed from another working folder.
    """
    options = dict(config.reward_options)
    if isinstance(options.get("encoder"), str):
        options["encoder"] = _located(str(options["encoder"]))
    served = config.served
    if served.cache is not None:
        folder = str(Path(served.cache).expanduser().absolute())
        served = served.model_copy(update={"cache": folder})
    changed = {
        "model": _located(config.model) if config.model != nano.NAME else nano.NAME,
        "served": served,
        "parallel": _located(config.parallel),
        "reward_options": options,
    }
    return config.model_copy(update=changed)


def _located(name: str) -> str:
    path = Path(name).expanduser()
    return str(path.absolute()) if path.exists() else name


def validate(table: Mapping[str, Any]) -> tuple[RunConfig | None, list[str]]:
    """Return the configuration in a table, or `None`, and all problems of the table."""
    from pydantic import ValidationError

    from geovlm.config.schema import RunConfig

    try:
        return RunConfig.model_validate(table), list(_not_json(table))
    except ValidationError as error:
        return None, _describe(error)


def _not_json(value: Any, path: str = "") -> Iterator[str]:
    """Yield a problem for each value of TOML that `resolved.json` cannot hold."""
    if isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, each in items:
            yield from _not_json(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{path} is {value}, a finite number is needed"
    elif isinstance(value, date | time):
        yield f"{path} is a date or time, write it as text: '{value}'"


def presets() -> list[str]:
    """Return the names of all presets."""
    folder = resources.files("geovlm.config") / "presets"
    names = [file.name for file in folder.iterdir()]
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def preset_text(name: str) -> str:
    """Return the text of a preset.

    Raises:
        ConfigError: there is no preset of this name.
    """
    known = presets()
    if name not in known:
        raise ConfigError(f"unknown preset {name!r}", hint=near(name, known) or _one_of(known))
    file = resources.files("geovlm.config") / "presets" / f"{name}.toml"
    return file.read_text(encoding="utf-8")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the table in a TOML file.

    Raises:
        ConfigError: the file does not exist or is not TOML; names file and line.
    """
    try:
        return records.read_toml(path)
    except DataError as error:
        raise ConfigError(str(error.args[0]), hint=error.hint) from error


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both tables in one; a value of `above` wins, except that tables are merged."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def split_key(key: str) -> list[str]:
    """Return the parts of a dotted key; a part in quotes may hold dots.

    Raises:
        ValueError: an empty part or an unclosed quote.
    """
    parts, at = [], 0
    while True:
        match = _KEY_PART.match(key, at)
        if match is None:
            raise ValueError(key)
        parts.append(next(group for group in match.groups() if group is not None).strip())
        at = match.end()
        if at == len(key):
            return parts
        if key[at] != ".":
            raise ValueError(key)
        at += 1


def parse_value(text: str) -> Any:
    """Return the TOML value that a text stands for, or else the text."""
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return table["value"] if table.keys() == {"value"} else text


def _apply(table: dict[str, Any], override: str) -> str | None:
    """Set one `KEY=VALUE` in the table; return its problem, or `None`."""
    key, sign, text = override.partition("=")
    try:
        parts = split_key(key.strip())
    except ValueError:
        parts = []
    if not sign or not parts:
        return f"--set {override!r} is not KEY=VALUE"
    value = parse_value(text.strip())
    here: Any = table
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        path = ".".join(parts[: i + 1])
        if isinstance(here, list):
            if not (part.isdigit() and int(part) < len(here)):
                return f"--set {path}: there are {len(here)} entries, numbered from 0"
            index: Any = int(part)
        elif isinstance(here, dict):
            index = part
        else:
            return f"--set {path}: {'.'.join(parts[:i])} is a value, not a table"
        if last:
            if parts[0] == "stages" and isinstance(here, dict) and part in _LENGTHS:
                here.pop(_LENGTHS[part], None)  # the new one replaces the other
            here[index] = value
        else:
            below = {} if isinstance(here, dict) and index not in here else here[index]
            # a copy, so that lists and tables of the preset are never shared
            here[index] = below.copy() if isinstance(below, dict | list) else below
            here = here[index]
    return None


def _select_tasks(known: Any, chosen: Sequence[str]) -> dict[str, Any]:
    """Return the chosen tasks with the table of each, or of its prefix."""
    table = {name: {} for name in known} if isinstance(known, list) else known
    return {name: lookup(table, name) or {} for name in chosen}


def _describe(error: ValidationError) -> list[str]:
    """Return one sentence per problem: path of the key, problem, suggestion."""
    problems = []
    for each in error.errors():
        parts = list(each["loc"])
        table = _table_at(parts)
        if parts[:1] == ["stages"] and len(parts) > 2:
            del parts[2]  # pydantic names the kind between the position and the field
        path = ".".join(map(str, parts)) or "configuration"
        if each["type"] == "extra_forbidden":
            known = sorted(table.model_fields) if table is not None else []
            hint = near(str(parts[-1]), known) or _one_of(known)
            problems.append(f"unknown key {path!r}, {hint}")
        else:
            message = each["msg"].removeprefix("Value error, ")
            given = "" if each["type"] == "value_error" else f", not {_short(each['input'])}"
            problems.append(f"{path}: {message[:1].lower()}{message[1:]}{given}")
    return problems


def _table_at(loc: Sequence[int | str]) -> type[BaseModel] | None:
    """Return the class of the table that holds a key."""
    from geovlm.config import schema, stages
    from geovlm.config.health import HealthConfig
    from geovlm.config.served import ServedConfig

    tables: dict[str, type[BaseModel]] = {
        "tasks": schema.TaskConfig,
        "data": schema.DataConfig,
        "sample": schema.SampleConfig,
        "eval": schema.EvalConfig,
        "health": HealthConfig,
        "lora": schema.LoraConfig,
        "served": ServedConfig,
        "sft": stages.SftStage,
        "probe": stages.ProbeStage,
        "grpo": stages.GrpoStage,
    }
    if loc[:1] == ["stages"]:
        if len(loc) > 4 and loc[3] == "vllm":
            return stages.VllmConfig
        return tables.get(str(loc[2])) if len(loc) > 2 else None
    return schema.RunConfig if len(loc) == 1 else tables.get(str(loc[0])) if loc else None


def _one_of(known: Sequence[str]) -> str:
    return f"one of {', '.join(known)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
