"""`geovlm config`: prints presets, files and the schema of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geovlm.cli import output
from geovlm.cli.groups import subcommands
from geovlm.cli.options import JsonOption
from geovlm.errors import ConfigError

app = subcommands("Show a preset, or the schema of the configuration.")


@app.command("show")
def show(
    name: Annotated[
        str, typer.Argument(help="Name of a preset, or a TOML file.", metavar="PRESET|FILE")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with defaults.")] = False,
) -> None:
    """Check and print a preset or a file."""
    from geovlm.config import load
    from geovlm.files.text import read_text

    is_file = name.endswith(".toml") or "/" in name
    config = load.load(Path(name)) if is_file else load.load(None, preset=name)
    if json:
        output.print_json(config.model_dump(mode="json"))
        return
    text = read_text(Path(name)) if is_file else load.preset_text(name)
    print(text, end="")


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of a configuration file, for editors."""
    from geovlm.config.schema import RunConfig

    output.print_json(RunConfig.model_json_schema())


@app.command("presets")
def presets(json: JsonOption = False) -> None:
    """List the presets with their summaries."""
    from geovlm.config import load

    names = load.presets()
    if not names:
        raise ConfigError("no presets are installed", hint="reinstall geovlm")
    rows = {name: load.preset_text(name).partition("\n")[0].lstrip("# ") for name in names}
    if json:
        output.print_json(rows)
    else:
        output.table(("preset", "summary"), rows.items())
