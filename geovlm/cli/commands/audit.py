"""`geovlm audit`: measures how much reward image-blind answers earn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from geovlm.api import Split, TaskSpec
from geovlm.cli import datasets, output
from geovlm.cli.options import DataOption, JsonOption, LimitOption, SetOption, TasksArgument
from geovlm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from geovlm.plan.data import Reader
    from geovlm.rewards.audit.audit import Audit, RewardAudit

SETS = ("paper", "robust")
_RECORDS = "sample.records=64"  # per split: enough for a verdict, written in seconds


def audit(
    tasks: TasksArgument,
    rewards: Annotated[
        str | None, typer.Option(help="Set of rewards: paper or robust; default: both.")
    ] = None,
    data: DataOption = None,
    split: Annotated[str, typer.Option(help="Split that is audited: test, val or train.")] = "test",
    learn: Annotated[str, typer.Option(help="Split that policies learn from.")] = "train",
    limit: LimitOption = 256,
    max_gap: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Exit with 1 if a policy earns more than this share of the correct answer.",
        ),
    ] = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how much reward image-blind policies earn, compared with the correct answer.

    A reward passes if the best image-blind policy earns at most half of what the correct answer
    earns, and appending all other answers to the correct one ("correct answer, padded") lowers it.
    For closed answers, the limit is the rate of the most frequent one: the floor that a model must
    beat.
    """
    from geovlm.config.tasks import configured
    from geovlm.rewards import options
    from geovlm.rewards.audit import audit as library

    if rewards is not None and rewards not in SETS:
        raise ConfigError(f"--rewards {rewards!r} is not a set of rewards", hint="paper or robust")
    held_out, taught = _split("--split", split), _split("--learn", learn)
    reader, chosen = datasets.reader(
        tasks, data=data, overrides=[_RECORDS, *(set_ or [])], rewards=rewards
    )
    config = reader.config
    options.validate(config.reward_options)
    results: list[dict[str, Any]] = []
    beyond: list[str] = []
    for declared, explicit in output.progress(chosen, label="tasks", total=len(chosen)):
        task = configured(declared, config)
        root, generated = reader.root(reader.registry.dataset(task.dataset))
        samples = _samples(task, reader, split=held_out, limit=limit)
        if not samples and not explicit:
            output.say(f"omitted: {task.name} has no samples in split {held_out!r} of {root}")
            continue
        found = library.audit(
            task,
            registry=reader.registry,
            samples=samples,
            train=_samples(task, reader, split=taught, limit=limit),
            options=config.reward_options,
            task_options=config.task_options(task),
            sets=(rewards,) if rewards else (),
        )
        where = f"generated, seed {config.sample.seed}" if generated else str(root)
        about = {
            "task": task.name,
            "version": task.version,
            "split": held_out,
            "n": found.n,
            "learned_from": taught,
            "data": where,
        }
        beyond += _beyond(found, max_gap=max_gap)
        results.append(about | {"rewards": _as_json(found)})
        if not json:
            print(
                f"{task.name} version {task.version}: {found.n} samples of {held_out}, learned "
                f"from {taught}, data: {where}"
            )
            _print(found)
    if not results:
        raise DataError(f"no task of {tasks!r} has samples in split {split!r}", hint="see --split")
    if json:
        output.print_json(results)
    if beyond:
        output.say(f"above --max-gap {max_gap:g}: {'; '.join(beyond)}")
        raise typer.Exit(1)


def _split(option: str, name: str) -> Split:
    if name not in get_args(Split):
        raise ConfigError(f"{option} {name!r} is not a split", hint="test, val or train")
    return cast(Split, name)


def _samples(task: TaskSpec, reader: Reader, *, split: Split, limit: int) -> Sequence[Any]:
    from geovlm.data.loading import task_samples
    from geovlm.plan.checksums import spread

    spec = reader.registry.dataset(task.dataset)
    root, _ = reader.root(spec)
    return spread(task_samples(task, reader.load(spec, root=root, split=split).records), limit)


def _columns(found: Audit) -> Iterator[tuple[str, RewardAudit]]:
    """Yield (`set/reward`, result); a set of one reward has no total."""
    from geovlm.rewards.audit.audit import TOTAL

    for name, rewards in found.rewards.items():
        for reward, result in rewards.items():
            if reward != TOTAL or len(rewards) > 2:
                yield f"{name}/{reward}", result


def _print(found: Audit) -> None:
    columns = list(_columns(found))
    results = [result for _, result in columns]

    def line(name: str, values: Sequence[float | None]) -> tuple[str, ...]:
        return (name, *("-" if value is None else f"{value:.3f}" for value in values))

    rows = [line("correct answer", [r.gold for r in results])]
    rows += [line(policy, [r.policies[policy] for r in results]) for policy in results[0].policies]
    rows += [
        line("correct answer, padded", [r.padded for r in results]),
        line("hack gap", [r.gap for r in results]),
        ("best policy", *(r.best for r in results)),
        line("floor", [r.floor for r in results]),
        ("verdict", *("passes" if r.passes else "can be gamed" for r in results)),
    ]
    output.table(("policy", *(name for name, _ in columns)), rows)


def _as_json(found: Audit) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the results as JSON values; an infinite gap is `null`."""
    return {
        name: {
            reward: asdict(result) | {"gap": result.gap if math.isfinite(result.gap) else None}
            for reward, result in rewards.items()
        }
        for name, rewards in found.rewards.items()
    }


def _beyond(found: Audit, *, max_gap: float | None) -> list[str]:
    if max_gap is None:
        return []
    return [
        f"{found.task} {name}: {result.best} earns {result.gap:.3f} of the correct answer's reward"
        for name, result in _columns(found)
        if result.gap > max_gap + 1e-9
    ]
