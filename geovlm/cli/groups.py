"""Command groups with plain help, lazy imports, and suggestions for unknown names."""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from typer.core import TyperGroup

from geovlm.errors import UnknownNameError

if TYPE_CHECKING:
    Command = Any  # typer vendors click without public names for these two classes
    Context = Any


class Entry(NamedTuple):
    """A command that is imported when it is called."""

    target: str
    """`module:attribute`: a `typer.Typer` (a group) or a function (one command)."""
    summary: str
    """The line that `geovlm --help` prints."""


class Group(TyperGroup):
    """A group that suggests the nearest names for an unknown command."""

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, Command | None, list[str]]:
        """Return (name, command, remaining arguments)."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            near = get_close_matches(name, known, n=1)
            guess = f"did you mean {near[0]!r}? " if near else ""
            raise UnknownNameError(
                f"unknown command {f'{ctx.command_path} {name}'!r}",
                hint=f"{guess}Commands: {', '.join(known)}",
            )
        return super().resolve_command(ctx, args)


def subcommands(summary: str) -> typer.Typer:
    """Return an empty group for `@app.command` functions, with plain help."""
    return typer.Typer(
        cls=Group, help=summary, add_completion=False, rich_markup_mode=None, no_args_is_help=False
    )


def build(target: str, *, name: str) -> Command:
    """Import `module:attribute` and return it as the command `name`."""
    module, _, attribute = target.partition(":")
    made = getattr(importlib.import_module(module), attribute)
    if isinstance(made, typer.Typer):
        command: Command = typer.main.get_group(made)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name)(made)
        command = typer.main.get_command(single)
    command.name = name
    return command
