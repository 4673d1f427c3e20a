"""Reads what trackers have written, from their files alone: step and name -> value."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

Values = dict[tuple[int, str], float]


class Row(NamedTuple):
    """Values of one step, in the order in which they were written."""

    step: int
    values: dict[str, Any]


def numbers(rows: list[Row]) -> Values:
    """Return every number of some rows."""
    return {
        (row.step, name): value
        for row in rows
        for name, value in row.values.items()
        if isinstance(value, int | float)
    }


def trackio(folder: Path, project: str) -> tuple[list[Row], list[dict[str, Any]]]:
    """Return the rows of all runs in a project's database, and the configuration of each run."""
    with sqlite3.connect(folder / f"{project}.db") as database:
        found = database.execute("select step, metrics from metrics order by id").fetchall()
        configs = database.execute("select run_name, config from configs order by id").fetchall()
    rows = [Row(step, json.loads(metrics)) for step, metrics in found]
    return rows, [{"name": name, **json.loads(config)} for name, config in configs]


def wandb(file: Path) -> tuple[list[Row], dict[str, Any]]:
    """Return the rows of an offline run, and its name, group and configuration."""
    rows: list[Row] = []
    about: dict[str, Any] = {}
    for record in _wandb_records(file.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            about |= {"id": record.run.run_id, "project": record.run.project}
            about |= {"name": record.run.display_name, "group": record.run.run_group}
            about |= {each.key: json.loads(each.value_json) for each in record.run.config.update}
        elif kind == "history":
            items = record.history.item
            values = {"/".join(each.nested_key) or each.key: each.value_json for each in items}
            read = {name: json.loads(text) for name, text in values.items()}
            shown = {name: read[name] for name in read if not name.startswith("_")}
            rows.append(Row(int(shown.pop("step")), shown))
    return rows, about


def _wandb_records(data: bytes) -> Iterator[Any]:
    """Yield the records of a .wandb file, a log in LevelDB's format behind seven bytes."""
    from wandb.proto import wandb_internal_pb2

    at, text = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        text += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(text)
            text = b""
            yield record


def tensorboard(folder: Path) -> tuple[Values, list[str], dict[str, str]]:
    """Return scalars, names of images and texts of the event files in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    scalars = {(e.step, name): e.value for name in tags["scalars"] for e in events.Scalars(name)}
    texts = {
        name.removesuffix("/text_summary"): events.Tensors(name)[0].tensor_proto.string_val[0]
        for name in tags["tensors"]
    }
    return scalars, tags["images"], {name: text.decode() for name, text in texts.items()}


def mlflow(uri: str, project: str) -> tuple[Values, list[Any], list[str]]:
    """Return the metrics of all runs of an experiment, the runs, and the files of the first one."""
    from mlflow import MlflowClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(project)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    values = {
        (each.step, name): each.value
        for run in runs
        for name in run.data.metrics
        for each in client.get_metric_history(run.info.run_id, name)
    }
    files = [each.path for each in client.list_artifacts(runs[0].info.run_id, "samples")]
    return values, list(runs), files
