"""Checks if a folder can start or resume a run, and carries values over from its start."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from geovlm.config import load
from geovlm.errors import ConfigError, DataError
from geovlm.run import changes
from geovlm.run.changes import Change
from geovlm.run.files import read_json
from geovlm.run.folder import LOCK, MACHINES, RunDir

_NAMED = 5
"""Largest number of differing files that an error names."""
_OTHERWISE = "or start another run with --output"
_ABSENT = object()
"""Stands for the value of a setting that a table does not state."""


def line(folder: Path, *more: str) -> str:
    """Return the command line that resumes a run, quoted for a shell."""
    return shlex.join(["geovlm", "run", "--resume", "--output", str(folder), *more])


def refuse_taken(folder: Path) -> None:
    """Refuse a folder that holds another run, or anything else.

    A run that stopped without progress may be started again.

    Raises:
        ConfigError: the folder holds something.
    """
    run = RunDir(folder)
    if run.is_run and not run.has_progress:
        return
    if run.is_run:
        raise ConfigError(
            f"{folder} holds a run already", hint="--resume continues it; or give another --output"
        )
    known = (LOCK, MACHINES, run.samples.name)
    strange = folder.is_dir() and any(each.name not in known for each in folder.iterdir())
    if folder.is_file() or strange:
        raise ConfigError(f"{folder} is not an empty folder", hint="give another --output")


def refuse_absent(directory: RunDir) -> None:
    """Refuse to resume a run that was never started."""
    if not directory.is_run:
        raise ConfigError(
            f"nothing to resume: {directory.path} holds no run",
            hint="leave out --resume to start one",
        )


def refuse_another(directory: RunDir, config: Mapping[str, Any]) -> None:
    """Refuse settings that contradict what the run has done; `geovlm.run.changes` has the rule.

    Raises:
        ConfigError: the folder holds no run, or a changed setting has been used; names the keys,
            both values, and the work that used them.
    """
    refuse_absent(directory)
    before = directory.read_resolved()["config"]
    work = changes.begun(directory, before)
    complete = all(map(directory.is_done, range(len(before["stages"])) or [-1]))
    problems = []
    for change in _changed(before, config):
        used = changes.obstacle(change, work, complete=complete)
        if used is not None:
            where = "which is done" if used.done else "which has begun"
            problems.append(
                f"{change.path} is {_short(change.before)} and cannot become "
                f"{_short(change.after)}: {used.name}, {where}, used it"
            )
    if problems:
        raise ConfigError(
            f"{directory.path}: {'; '.join(problems)}", hint=f"leave it as it was, {_OTHERWISE}"
        )


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """Yield the settings that differ; one that the run's version did not know had its default."""
    filled, _ = load.validate(before)
    known = {} if filled is None else filled.model_dump(mode="json")
    for change in changes.differences(before, after):
        stated, default = _at(before, change.key), _at(known, change.key)
        if stated is not _ABSENT or default != change.after:
            yield change


def _at(table: Any, key: tuple[str, ...]) -> Any:
    """Return the value at the path of a setting, or `_ABSENT`."""
    for name in key:
        if isinstance(table, list) and int(name) < len(table):
            table = table[int(name)]
        elif isinstance(table, Mapping) and name in table:
            table = table[name]
        else:
            return _ABSENT
    return table


def refuse_other_contents(directory: RunDir, now: Mapping[str, Any]) -> None:
    """Refuse tasks, data or a model whose contents differ from those of the run's start.

    `now` is what `environment.json` would hold. Where the files lie makes no difference.

    Raises:
        ConfigError: tasks or the model differ.
        DataError: data differ; names some of the files and records.
    """
    if not (directory.has_progress and directory.environment.is_file()):
        return
    before = read_json(directory.environment)
    _refuse_other_tasks(before["tasks"], now["tasks"], left_out=now["left_out"])
    _refuse_another_of_tasks("version", before["tasks"], now["tasks"])
    for name, old in before["data"].items():
        new = now["data"][name]
        found = list(_other_data(old, new))
        if found:
            there = "" if old["root"] == new["root"] else f" of {old['root']}"
            raise DataError(
                f"data set {name!r} in {new['root']} does not hold the data{there} that the run "
                f"was started with: {'; '.join(found)}",
                hint=f"restore them, give their folder with --data {name}=DIR, {_OTHERWISE}",
            )
    _refuse_another_of_tasks("prompt", before["tasks"], now["tasks"], key="prompt_sha256")
    old, new = before["model"], now["model"]
    files = old.get("files") or {}
    differ = _differing(files, new["files"]) if files and new["files"] else []
    if differ or (old["name"] != new["name"] and not (files and new["files"])):
        why = f": {_some(differ)} differ" if differ else ", and its files were not on this machine"
        raise ConfigError(
            f"model {new['name']!r} is not {old['name']!r}, with which the run was started{why}",
            hint=f"give the folder of that model with --model, {_OTHERWISE}",
        )


def _refuse_other_tasks(
    before: Mapping[str, Any], now: Mapping[str, Any], *, left_out: Mapping[str, str]
) -> None:
    for name in before:
        if name not in now:
            why = left_out.get(name, "it is not among the tasks of today's plugins")
            raise ConfigError(
                f"the run was started with task {name!r}, which is missing: {why}",
                hint=f"restore its data or its plugin, {_OTHERWISE}",
            )
    added = sorted(now.keys() - before.keys())
    if added:
        raise ConfigError(
            f"the run was started without task {added[0]!r}",
            hint=f"name the tasks with --tasks {','.join(before)}, {_OTHERWISE}",
        )


def _refuse_another_of_tasks(
    what: str, before: Mapping[str, Any], now: Mapping[str, Any], *, key: str = "version"
) -> None:
    for name, task in before.items():
        old, new = task[key], now[name][key]
        if old and new and old != new:
            raise ConfigError(
                f"task {name!r} has another {what} than at the run's start: {str(old)[:12]}, then "
                f"{str(new)[:12]}",
                hint=f"install the plugin that the run was started with, {_OTHERWISE}",
            )


def _other_data(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences between a data set and itself at the start, split by split."""
    if old["version"] != new["version"]:
        yield f"its loader has version {new['version']}, not {old['version']}"
    for split, before in old["splits"].items():
        now = new["splits"].get(split)
        if now is None:
            continue  # it is not evaluated any more
        if now["records"] != before["records"]:
            yield f"split {split!r} has {now['records']} records, not {before['records']}"
            continue
        checked, others = before.get("checked", {}), now["checked"]
        names = [
            file
            for key, each in checked.items()
            if key in others
            for file in _differing(each["images"], others[key]["images"])
        ]
        names += [
            f"record {key!r}"
            for key, each in checked.items()
            if key not in others or each["record"] != others[key]["record"]
        ]
        if names:
            yield f"split {split!r} differs in {_some(list(dict.fromkeys(names)))}"
        elif now["sha256"] != before["sha256"]:
            yield f"split {split!r} differs in a question, a target or the name of an image"


def _differing(before: Mapping[str, str | None], now: Mapping[str, str | None]) -> list[str]:
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def other_versions(directory: RunDir, now: Mapping[str, Any]) -> list[Change]:
    """Return the packages and plugins whose version is not that of the run's latest start."""
    if not (directory.has_progress and directory.environment.is_file()):
        return []
    before = read_json(directory.environment)

    def versions(described: Mapping[str, Any]) -> dict[str, Any]:
        plugins = {each["name"]: each["version"] for each in described["plugins"]}
        own = {"geovlm": described["geovlm"], "python": described["python"]}
        return {"packages": {**own, **described["packages"]}, "plugins": plugins}

    return list(changes.differences(versions(before), versions(now)))


def beginning(directory: RunDir) -> dict[str, Any]:
    """Return time and command of the first start of a run, from `environment.json`.

    Empty if this is the first start.
    """
    if not (directory.has_progress and directory.environment.is_file()):
        return {}
    before = read_json(directory.environment)
    return {key: before[key] for key in ("started", "command") if key in before}


def take_over(
    directory: RunDir, resolved: Mapping[str, Any], *, versions: list[Change] | None = None
) -> dict[str, Any]:
    """Return the new content of `resolved.json`: this plan, with the ranks of the run's start.

    `changes` in it lists every setting and version that differs from before, with the time and the
    stage at which the run resumes.

    Raises:
        DataError: the number of samples of a task has changed since the start.
    """
    if not (directory.is_run and directory.has_progress):
        return {**resolved, "started_with": resolved["world_sizes"], "changes": []}
    before = directory.read_resolved()
    for task, splits in resolved["samples"].items():
        for split, n in splits.items():
            check_samples(task, split, n, before=before)
    found = [*_changed(before["config"], resolved["config"]), *(versions or [])]
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    stages = range(len(before["config"]["stages"])) or [-1]
    stage = next((directory.stage(i).name for i in stages if not directory.is_done(i)), None)
    history = [
        {"at": at, "stage": stage, "key": each.path, "from": each.before, "to": each.after}
        for each in found
    ]
    return {
        **resolved,
        # the data are the same, wherever they lie
        "generated": before.get("generated", resolved.get("generated")),
        "started_with": {**resolved["world_sizes"], **before["started_with"]},
        "changes": [*before.get("changes", []), *history],
    }


def check_samples(task: str, split: str, n: int, *, before: Mapping[str, Any]) -> None:
    """Refuse a split of another size than `before`: rows would be trained on twice or never.

    Raises:
        DataError: the number of samples has changed since the start.
    """
    expected = before.get("samples", {}).get(task, {}).get(split)
    if expected is not None and expected != n:
        root = ", ".join(before["data_roots"].values())
        raise DataError(
            f"task {task!r} has {n} samples in split {split!r}, the run was started with "
            f"{expected}",
            hint=f"restore the files under {root}, or start another run",
        )
