"""`geovlm rewards`: lists rewards with their formulas, and scores one completion."""

from __future__ import annotations

import json as json_text
import re
import sys
from typing import Annotated, Any

import typer

from geovlm import answers, boxes
from geovlm.api import ModelProfile, Sample, Size, Turn
from geovlm.cli import output
from geovlm.cli.arguments import pair
from geovlm.cli.groups import subcommands
from geovlm.cli.options import JsonOption
from geovlm.data.prompts import Prompt, reward_context
from geovlm.errors import ConfigError, UnknownNameError
from geovlm.plugins import profiles, registry
from geovlm.plugins.registry import Registry
from geovlm.rewards import reading, scoring

app = subcommands("List rewards, or score one completion with one reward.")

_KEYS = (
    "name",
    "summary",
    "formula",
    "low",
    "high",
    "gold_is_max",
    "batched",
    "source",
    "version",
)
_SIZE = re.compile(r"([1-9][0-9]{0,5})[xX]([1-9][0-9]{0,5})")


@app.command("list")
def list_rewards(json: JsonOption = False) -> None:
    """List every reward with its formula and source."""
    rows = [
        {field: getattr(spec, field) for field in _KEYS}
        for spec in registry.load().rewards.values()
    ]
    if json:
        output.print_json(rows)
        return
    output.table(
        ("reward", "range", "formula", "source", "summary"),
        (
            (r["name"], f"{r['low']:g}..{r['high']:g}", r["formula"], r["source"], r["summary"])
            for r in rows
        ),
    )


@app.command("try")
def try_reward(
    name: Annotated[str, typer.Argument(help="Name of the reward.")],
    target: Annotated[str, typer.Option(help="Target, a JSON object such as '{\"labels\": […]}'.")],
    completion: Annotated[
        str | None, typer.Option(help="Completion, with tags; default: standard input.")
    ] = None,
    image_size: Annotated[
        str, typer.Option(help="Stored size of the image, WIDTHxHEIGHT in pixels.")
    ] = "280x280",
    profile: Annotated[
        str, typer.Option(help="Model family: name of a profile, or model type.")
    ] = profiles.QWEN2_5_VL.name,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Entry of [reward_options], K=V. Repeatable.", metavar="K=V"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Score one completion against one target, and show the parsed parts."""
    loaded = registry.load()
    spec = loaded.reward(name)
    family = _profile(profile, loaded=loaded)
    gold = _object(target)
    stored = _size(image_size)
    seen = boxes.input_size(stored, profile=family)
    text = _from_stdin() if completion is None else completion
    prompt = Prompt(
        task="rewards-try",
        sample=Sample(id="rewards-try", images=(), target=gold),
        turn=Turn(question="", answer=str(gold.get("answer", "")), reasoning=""),
        image_sizes=(stored,),
        input_sizes=(seen,),
    )
    context = reward_context(prompt, profile=family, options=dict(map(pair, option or ())))
    if not answers.has_answer(text):
        output.say("note: the completion has no well-formed <answer>…</answer> at its end")
    (value,) = scoring.score(spec, [text], [context])
    parts = reading.explain(text, context)
    if json:
        output.print_json({"reward": name, "value": value, "parts": parts})
        return
    rows: list[tuple[str, object]] = [("reward", name), ("value", value)]
    rows += [("formula", spec.formula)] if spec.formula else []
    rows += [("image", f"stored {_by(stored)}, seen by {family.name} at {_by(seen)}")]
    rows += [
        (part, found if isinstance(found, str) else json_text.dumps(found, ensure_ascii=False))
        for part, found in parts.items()
    ]
    output.fields(rows)


def _profile(name: str, *, loaded: Registry) -> ModelProfile:
    for known in profiles.BUILTIN:
        if known.name == name:
            return known
    try:
        return loaded.profile(name)
    except UnknownNameError as error:
        names = ", ".join(known.name for known in profiles.BUILTIN)
        raise UnknownNameError(
            f"unknown profile {name!r}",
            hint=f"known: {names}; or the model type of a family that a plugin knows",
        ) from error


def _from_stdin() -> str:
    try:
        return sys.stdin.read()
    except AttributeError:  # Python has no such stream if the descriptor is closed
        raise ConfigError(
            "the completion is missing: standard input is closed", hint="give --completion"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"standard input is not UTF-8: {error.reason} at byte {error.start}",
            hint="iconv -f latin1 -t utf-8 converts it",
        ) from error


def _object(text: str) -> dict[str, Any]:
    try:
        value = json_text.loads(text)
    except json_text.JSONDecodeError as error:
        raise ConfigError(
            f"--target is not JSON: {error}", hint="""such as --target '{"labels": ["water"]}'"""
        ) from error
    if not isinstance(value, dict):
        raise ConfigError(
            f"--target is a JSON {type(value).__name__}, not an object",
            hint="""such as --target '{"labels": ["water"]}'""",
        )
    return value


def _size(text: str) -> Size:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"--image-size {text!r} is not a size", hint="WIDTHxHEIGHT in pixels, such as 1024x1024"
        )
    return int(match[1]), int(match[2])


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
