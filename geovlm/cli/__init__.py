"""The commands of `geovlm`: options in, one plan or result out.

Each command is imported when it is called. Results go to standard output; messages and progress go
to standard error. Exit code 0: done; 1: the work failed; 2: the request was impossible. Every other
exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache as cached
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geovlm import __version__
from geovlm.cli.groups import Entry, Group, build
from geovlm.errors import GeoVLMError, StoppedError
from geovlm.plugins.discover import DEBUG_VARIABLE, DISABLE_VARIABLE

if TYPE_CHECKING:
    Command = Any  # typer vendors click without public names for these two classes
    Context = Any

COMMANDS: dict[str, Entry] = {
    "run": Entry(
        "geovlm.cli.commands.run:run", "Train on tasks: SFT, probe, GRPO, evaluation and report."
    ),
    "watch": Entry(
        "geovlm.cli.commands.watch:watch",
        "Show how far a run is and whether it lives, from any terminal.",
    ),
    "plan": Entry(
        "geovlm.cli.commands.plan:plan",
        "Estimate tokens, steps and memory per GPU of a run, without starting it.",
    ),
    "eval": Entry(
        "geovlm.cli.commands.evaluate:evaluate", "Score a model on tasks, without training."
    ),
    "predict": Entry(
        "geovlm.cli.commands.predict:predict",
        "Run a model on images of any size and write features on a map.",
    ),
    "score": Entry(
        "geovlm.cli.commands.score:score",
        "Score stored predictions, by published and strict rules.",
    ),
    "report": Entry("geovlm.cli.commands.report:report", "Write the HTML report of a run."),
    "export": Entry(
        "geovlm.cli.commands.export:export",
        "Export a run's model as a standard Hugging Face folder.",
    ),
    "serve": Entry("geovlm.cli.commands.serve:serve", "Serve a model to other programs, by vLLM."),
    "tasks": Entry(
        "geovlm.cli.commands.tasks:app", "List tasks, show one in full, or draw its samples."
    ),
    "data": Entry(
        "geovlm.cli.commands.data:app", "Write a small sample of a data set, or check a copy of it."
    ),
    "rewards": Entry(
        "geovlm.cli.commands.rewards:app", "List rewards, or score one completion with one reward."
    ),
    "audit": Entry(
        "geovlm.cli.commands.audit:audit", "Measure how much reward image-blind answers earn."
    ),
    "plugins": Entry(
        "geovlm.cli.commands.plugins:app",
        "List installed plugins, diagnose or check one, or create a new one.",
    ),
    "doctor": Entry("geovlm.cli.commands.doctor:doctor", "Check if this machine can do a run."),
    "config": Entry(
        "geovlm.cli.commands.config:app", "Show a preset, or the schema of the configuration."
    ),
}
"""Name -> target and summary, in the order of `geovlm --help`."""


class Root(Group):
    """`geovlm` itself: core commands from a table, commands of plugins only when needed."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Return core commands in the order of the table, then those of plugins."""
        return [*COMMANDS, *_plugin_commands()]

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Return the command, importing its module; `None` if it does not exist."""
        if cmd_name in COMMANDS:
            return build(COMMANDS[cmd_name].target, name=cmd_name)
        return _plugin_commands().get(cmd_name)

    def format_commands(self, ctx: Context, formatter: Any) -> None:
        """Write the summaries without importing a core command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])
        added = _plugin_commands()
        if added:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(
                    [(name, command.get_short_help_str(70)) for name, command in added.items()]
                )


app = typer.Typer(
    cls=Root,
    add_completion=False,
    rich_markup_mode=None,
    help="Post-train vision-language models on Earth-observation tasks, one plugin per task.",
)


def _print_version(value: bool) -> None:
    if value:
        print(f"geovlm {__version__}")
        raise typer.Exit


@app.callback()
def global_options(
    no_plugin: Annotated[
        list[str] | None,
        typer.Option(help="Disable this plugin ('*' disables all). Repeatable.", metavar="NAME"),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Raise the first error of a plugin while it is loaded.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Post-train vision-language models on Earth-observation tasks, one plugin per task.

    The first two options become environment variables, because the stages of a run are separate
    processes and must load the same plugins.
    """
    if no_plugin:
        before = os.environ.get(DISABLE_VARIABLE)
        os.environ[DISABLE_VARIABLE] = ",".join([*([before] if before else []), *no_plugin])
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; the entry point of the script `geovlm`."""
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    _set_up_streams()
    try:
        with _few_collections():
            code = typer.main.get_group(app).main(
                args=arguments, prog_name="geovlm", standalone_mode=False
            )
        sys.stdout.flush()
    except StoppedError as stopped:
        sys.stdout.flush()
        print(f"stopped: {stopped}", file=sys.stderr)
        raise SystemExit(stopped.exit_code) from None
    except GeoVLMError as error:
        _fail(str(error), code=error.exit_code)
    except typer.TyperException as error:
        _fail(_usage(error), code=2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", code=130)
    except BrokenPipeError:  # the reader of the pipe has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        from geovlm.data import cache  # only here: they import json and sqlite3
        from geovlm.run import files

        if isinstance(error, FileNotFoundError) and not _working_folder_exists():
            _fail("the working folder was deleted (cd to a folder that exists)", code=2)
        if "No usable temporary directory" in str(error):
            _fail("no folder for temporary files can be written (name one in TMPDIR)", code=2)
        unusable = cache.explain(error)
        if unusable is not None:
            _fail(unusable, code=2)
        refused = files.refusal(error)
        if refused is None:
            raise
        _fail(f"cannot write: {refused} (nothing that was saved before is lost)", code=1)
    raise SystemExit(code if isinstance(code, int) else 0)


def _set_up_streams() -> None:
    """Let output be UTF-8 in files and pipes whatever the locale, and no character an error.

    JSON and GeoJSON have to be UTF-8 (RFC 8259, RFC 7946). A terminal keeps its encoding. What an
    encoding lacks is escaped, as are the bytes of a file name that is not UTF-8. A stream that is
    closed becomes one that drops what is written.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper) and not sys.stdin.isatty():
        sys.stdin.reconfigure(encoding="utf-8-sig")


@contextlib.contextmanager
def _few_collections() -> Iterator[None]:
    """Raise the threshold of garbage collection, and skip the collection at the end.

    This saves a sixth of the CPU of `geovlm tasks list`, which imports 240 modules.
    """
    atexit.register(gc.freeze)
    before = gc.get_threshold()
    if before[0]:  # 0: collection is off
        gc.set_threshold(max(before[0], 100_000), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _working_folder_exists() -> bool:
    try:
        os.getcwd()  # noqa: PTH109  # pathlib would be an import
    except FileNotFoundError:
        return False
    return True


def _fail(message: str, *, code: int) -> None:
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)


def _usage(error: Any) -> str:
    """Return one line about an argument that the parser refused."""
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    path = error.ctx.command_path if getattr(error, "ctx", None) else "geovlm"
    return f"{message[:1].lower()}{message[1:]} (see '{path} --help')"


@cached
def _plugin_commands() -> Mapping[str, Command]:
    """Return the commands of plugins by name; a plugin that fails causes a warning."""
    from geovlm.plugins import registry

    loaded = registry.load()
    added: dict[str, Command] = {}
    for plugin in loaded.active():
        own = typer.Typer(add_completion=False, rich_markup_mode=None)
        try:
            loaded.call(plugin, "geovlm_commands", app=own)
            found = typer.main.get_group(own).commands
        except (Exception, SystemExit) as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            problem = f"{type(error).__name__}: {error}"
            print(f"warning: commands of plugin {plugin!r} are missing: {problem}", file=sys.stderr)
            continue
        for name, command in found.items():
            if name in COMMANDS or name in added:
                print(
                    f"warning: plugin {plugin!r} may not replace the command {name!r}",
                    file=sys.stderr,
                )
            else:
                added[name] = command
    return added
