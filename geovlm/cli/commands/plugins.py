"""`geovlm plugins`: lists, diagnoses, checks and creates plugins."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated

import typer

from geovlm import __version__
from geovlm.cli import output
from geovlm.cli.groups import subcommands
from geovlm.cli.options import JsonOption, PluginArgument
from geovlm.plugins import registry
from geovlm.plugins.discover import DISABLE_VARIABLE, PluginRecord
from geovlm.plugins.installed import version

app = subcommands("List installed plugins, diagnose or check one, or create a new one.")


@app.command("list")
def list_plugins(json: JsonOption = False) -> None:
    """List every installed plugin with its status."""
    found = registry.load().plugins
    if json:
        output.print_json([_as_json(plugin) for plugin in found])
        return
    output.table(
        ("plugin", "distribution", "version", "status", "import ms", "remarks"),
        (
            (
                plugin.name,
                plugin.distribution,
                plugin.version,
                plugin.status,
                f"{1000 * plugin.seconds:.1f}",
                "; ".join(filter(None, (plugin.reason, *plugin.notes))),
            )
            for plugin in found
        ),
    )


@app.command()
def doctor(name: PluginArgument, json: JsonOption = False) -> None:
    """Diagnose a plugin: requirements, traceback, what to do."""
    loaded = registry.load()
    plugin = loaded.plugin(name)
    unusable = {
        task: why for task, why in loaded.unusable.items() if task.partition("/")[0] == name
    }
    needs = [_requirement(line) for line in plugin.requires]
    advice = _advice(plugin, unmet=[f"{need} (found {have})" for need, have, ok in needs if not ok])
    if json:
        output.print_json(
            _as_json(plugin)
            | {
                "traceback": plugin.traceback,
                "requires": [
                    {"requirement": need, "installed": have, "met": ok} for need, have, ok in needs
                ],
                "unusable_tasks": unusable,
                "advice": advice,
            }
        )
        return
    rows: list[tuple[str, object]] = [
        ("plugin", plugin.name),
        ("distribution", f"{plugin.distribution} {plugin.version}"),
        ("module", plugin.module),
        ("status", plugin.status),
    ]
    rows += [("reason", plugin.reason)] if plugin.reason else []
    rows += [("remark", note) for note in plugin.notes]
    rows += [("hooks", ", ".join(plugin.hooks))] if plugin.hooks else []
    rows += [
        ("requires", f"{need}, installed: {have}{'' if ok else ' (not met)'}")
        for need, have, ok in needs
    ]
    rows += [("unusable task", f"{task}: {why}") for task, why in unusable.items()]
    rows += [("traceback", plugin.traceback.rstrip())] if plugin.traceback else []
    rows += [("what to do", advice)]
    output.fields(rows)


@app.command()
def check(
    name: PluginArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of real data, of which at most 8 records are read, for data sets that the "
            "plugin cannot generate.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run the conformance kit on a plugin; exit code 1 if it breaks a rule.

    Each rule is one line: ok, FAIL with the reason and the file to change, or skip with the rule
    that has to hold first. The plugin generates the data; no model is needed.
    """
    from geovlm.testing.kit import RULES, Kit

    kit = Kit(name, data=data)
    plugin = kit.subject.record
    rules = output.progress(RULES, label=f"checking {name}", total=len(RULES))
    outcomes = [kit.outcome(rule) for rule in rules]
    failed = [outcome.rule for outcome in outcomes if outcome.result == "FAIL"]
    if json:
        output.print_json(
            {
                "plugin": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "ok": not failed,
                "rules": [outcome.as_json() for outcome in outcomes],
            }
        )
    else:
        output.table(
            ("result", "rule", "what was found"),
            ((outcome.result, outcome.rule, outcome.line()) for outcome in outcomes),
        )
    if failed:
        output.say(f"plugin {name!r} breaks {len(failed)} of {len(RULES)} rules, see above")
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the plugin, such as floods.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to create; default: geovlm-NAME.", metavar="DIR")
    ] = None,
) -> None:
    """Create a complete plugin package to start from: data, prompt, reward, tests, CI.

    Nothing is overwritten: the folder must be new or empty.
    """
    from geovlm.plugins import scaffold

    loaded = registry.load()
    taken = {each.partition("/")[0]: "metric" for each in loaded.metrics}
    taken |= {each.partition("/")[0]: "reward" for each in loaded.rewards}
    taken |= {plugin.name: "plugin" for plugin in loaded.plugins}
    scaffold.check_name(name, taken=taken)
    folder = out or Path(f"geovlm-{name.replace('_', '-')}")
    files = scaffold.write(name, out=folder, version=__version__)
    print(folder)
    output.say(f"{len(files)} files. Next:")
    output.say(f"  cd {shlex.quote(str(folder))} && pip install -e '.[test]'")
    output.say("  pytest")
    output.say(f"  geovlm run --tasks {name} --dry-run")


def _as_json(plugin: PluginRecord) -> dict[str, object]:
    row = dataclasses.asdict(plugin)
    del row["traceback"]
    return row


def _requirement(line: str) -> tuple[str, str, bool]:
    """Return (requirement, installed version or `nothing`, True if it is met)."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line)
    except InvalidRequirement as error:
        return line, f"unreadable: {' '.join(str(error).split())}", False
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return line, "not needed here", True
    installed = version(requirement.name)
    if installed is None:
        return line, "nothing", False
    return line, installed, requirement.specifier.contains(installed, prereleases=True)


def _advice(plugin: PluginRecord, *, unmet: list[str]) -> str:
    """Return the advice for a plugin in this state."""
    top = plugin.module.partition(":")[0].partition(".")[0]
    if plugin.status == "disabled":
        return f"remove {plugin.name} from --no-plugin and {DISABLE_VARIABLE}"
    if unmet:
        return f"pip install --upgrade {plugin.distribution}; not met: {', '.join(unmet)}"
    if plugin.reason.startswith(f"ModuleNotFoundError: No module named '{top}'"):
        return (
            f"its code is missing, only its metadata are there: pip install --force-reinstall "
            f"{plugin.distribution}, or pip uninstall {plugin.distribution}"
        )
    if plugin.status == "broken":
        return (
            f"the fault is in the plugin: upgrade {plugin.distribution}, or send the traceback to "
            f"its authors; 'geovlm --no-plugin {plugin.name} …' disables it"
        )
    return "nothing, it works"
