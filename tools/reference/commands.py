"""Writes docs/cli.md from the commands themselves: python -m tools.reference.commands."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from geovlm.cli import COMMANDS, app
from geovlm.cli.groups import build

if TYPE_CHECKING:
    Command = Any  # typer vendors click and gives these classes no public name
    Context = Any

HEAD = """\
# Command line

Results go to standard output; messages and progress go to standard error. Exit code 0: success; 1:
the work failed; 2: the request was impossible, and a one-line message states how to fix it. Every
command also has `--help`. Plugins may add commands; `geovlm --help` lists them.

`make docs` writes this page.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One argument or option of a command."""

    usage: str
    """As one types it: `CONFIG`, `--seed <int>`, `--json`."""
    help: str
    required: bool
    default: str
    """Empty if there is none worth telling."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One command, or one group of commands."""

    name: str
    """All its words: `geovlm tasks show`."""
    help: str
    usage: str
    """Text after the name: `[OPTIONS] {RUN}`."""
    parameters: tuple[Parameter, ...]
    children: tuple[str, ...]
    """Names of the commands of a group."""


def pages() -> list[Page]:
    """Return every core command in the order of `geovlm --help`, a group before its commands."""
    root = typer.main.get_group(app)
    context = typer.Context(root, info_name="geovlm")
    found = [_page(root, context, children=list(COMMANDS))]
    for name, entry in COMMANDS.items():
        found += _walk(build(entry.target, name=name), name=name, parent=context)
    return found


def markdown() -> str:
    """Return docs/cli.md."""
    return "\n".join([HEAD, *(_section(page) for page in pages())])


def _walk(command: Command, *, name: str, parent: Context) -> Iterator[Page]:
    context = typer.Context(command, info_name=name, parent=parent)
    children = command.commands if isinstance(command, TyperGroup) else {}
    yield _page(command, context, children=list(children))
    for child_name, child in children.items():
        yield from _walk(child, name=child_name, parent=context)


def _page(command: Command, context: Context, *, children: list[str]) -> Page:
    shown = [
        parameter
        for parameter in command.get_params(context)
        if "--help" not in parameter.opts and not vars(parameter).get("hidden", False)
    ]
    return Page(
        name=context.command_path,
        help=inspect.cleandoc(command.help or ""),
        usage=" ".join(command.collect_usage_pieces(context)),
        parameters=tuple(_parameter(each, context) for each in shown),
        children=tuple(children),
    )


def _parameter(parameter: Any, context: Context) -> Parameter:
    metavar = parameter.make_metavar(context)
    if parameter.param_type_name == "argument":
        usage = metavar.strip("[]{}")
    else:
        names = ", ".join([*parameter.opts, *parameter.secondary_opts])
        usage = names if parameter.is_flag else f"{names} {metavar}"
    default = parameter.get_default(context, call=False)
    return Parameter(
        usage=usage,
        help=" ".join((parameter.help or "").split()),
        required=parameter.required,
        default="" if default in (None, False, [], ()) else str(default),
    )


def _section(page: Page) -> str:
    lines = [
        f"## {page.name}",
        "",
        page.help,
        "",
        "```text",
        f"{page.name} {page.usage}",
        "```",
        "",
    ]
    lines += [_item(parameter) for parameter in page.parameters]
    lines += [""] if page.parameters else []
    if page.children:
        lines += [f"Commands: {', '.join(f'`{page.name} {child}`' for child in page.children)}", ""]
    return "\n".join(lines)


def _item(parameter: Parameter) -> str:
    traits = ["required"] if parameter.required else []
    traits += [f"default `{parameter.default}`"] if parameter.default else []
    said = f" ({', '.join(traits)})" if traits else ""
    return f"- `{parameter.usage}`{said}: {parameter.help}"


if __name__ == "__main__":
    print(markdown(), end="")
