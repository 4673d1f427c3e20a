"""`geovlm score`: scores stored predictions by a published protocol and by a strict one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geovlm.cli import output
from geovlm.cli.options import JsonOption
from geovlm.errors import ConfigError

if TYPE_CHECKING:
    from geovlm.score.protocols.contract import Protocol, Score
    from geovlm.score.protocols.records import PredictionFile


def score(
    file: Annotated[
        Path | None, typer.Argument(help="Predictions, one JSON object per line.", metavar="FILE")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="Name of the protocol; default: that of the task in the file."),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=100, help="Number of resamples for the 95 % intervals.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    protocols: Annotated[
        bool, typer.Option("--protocols", help="List the protocols with their fields, and exit.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Score stored predictions by a published protocol and by a strict one."""
    if protocols:
        _print_protocols(json=json)
        return
    if file is None:
        raise ConfigError("no prediction file", hint="give its path, or --protocols for a list")
    from geovlm.plan import descriptions
    from geovlm.score.protocols import catalogue, records, scoring

    # an unknown protocol is refused before the file is read
    chosen = catalogue.find(protocol) if protocol is not None else None
    read = records.read(file)
    descriptions.adopt_around(file)
    made = scoring.score(read, chosen or _of_task(read), resamples=resamples, seed=seed)
    if json:
        output.print_json(scoring.as_json(made))
    else:
        _print(made)


def _of_task(read: PredictionFile) -> Protocol:
    """Return the protocol of the task in the file, or refuse it and say what would fit."""
    from geovlm.plugins import registry
    from geovlm.score.protocols import catalogue, records

    task = records.task(read)
    named = registry.load().task(task).protocol if task is not None else ""
    if named:
        return catalogue.find(named)
    fitting = catalogue.fitting(read.records[0].fields, own=task is not None)
    subject = f"task {task!r}" if task is not None else repr(str(read.path))
    raise ConfigError(
        f"{subject} names no protocol",
        hint=f"choose one with --protocol; its fields fit {', '.join(fitting) or 'none'}",
    )


def _print(made: Score) -> None:
    if made.headline():
        output.say(f"{made.protocol.name}: {made.headline()}")
    for note in made.notes:
        output.say(f"{made.protocol.name}: {note}")
    share = _number(made.skipped_share)
    rows: list[tuple[object, ...]] = [
        (
            name,
            _number(made.published.get(name)),
            _bounds(made.ci95["published"].get(name)),
            _number(made.strict.get(name)),
            _bounds(made.ci95["strict"].get(name)),
            made.counts.get(name, ""),
        )
        for name in dict.fromkeys((*made.published, *made.strict))
    ]
    if made.skipped:
        rows.insert(0, ("(lines skipped)", share, "", share, "", made.lines))
    output.table(("score", "published", "95 %", "strict", "95 %", "of"), rows)
    output.say(f"{made.protocol.name}: {made.n} records, intervals resample each {made.resampled}.")
    output.say(f"published: {made.protocol.published_rule} ({made.protocol.source}).")
    output.say(f"strict: {made.protocol.strict_rule}.")
    for reason, number in made.skipped.items():
        output.say(f"skipped {number}: {reason}")
    for reason, number in made.unreadable.items():
        output.say(f"counted as wrong {number}: {reason}")
    reasons: dict[str, list[str]] = {}
    for name, reason in made.left_out.items():
        reasons.setdefault(reason, []).append(name)
    for reason, left in reasons.items():
        verb = "is omitted: it" if len(left) == 1 else "are omitted: each"
        output.say(f"{', '.join(left)} {verb} {reason}")


def _print_protocols(*, json: bool) -> None:
    from geovlm.score.protocols.catalogue import PROTOCOLS

    rows = [
        {
            "name": each.name,
            "summary": each.summary,
            "fields": [" or ".join(names) for names in each.needs],
            "published": each.published_rule,
            "strict": each.strict_rule,
            "source": each.source,
        }
        for each in PROTOCOLS.values()
    ]
    if json:
        output.print_json(rows)
        return
    output.table(
        ("protocol", "summary", "fields", "published"),
        ((r["name"], r["summary"], ", ".join(r["fields"]), r["published"]) for r in rows),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _bounds(value: tuple[float, float] | None) -> str:
    return "" if value is None else f"{value[0]:.4f}..{value[1]:.4f}"
