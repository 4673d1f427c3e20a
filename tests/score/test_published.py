"""The published tables, read back. Values: GeoVLM-R1-Toolkit README.md, dbe450c."""

from __future__ import annotations

from pathlib import Path

from geovlm.api import LoadContext
from geovlm.plugins import registry
from geovlm.plugins.references import resolve
from geovlm.score import published


def one(task: str, *, model: str, benchmark: str, metric: str) -> published.PublishedRow:
    (row,) = [
        row
        for row in published.rows(task)
        if (row.model, row.benchmark, row.metric) == (model, benchmark, metric)
    ]
    return row


def test_percent_becomes_a_fraction() -> None:
    row = one(
        "geochat/refer", model="GeoVLM-R1", benchmark="GeoChat-Bench referring", metric="small"
    )
    assert row.value == 0.3602
    assert row.protocol == "earthdial/refer"
    assert "precision" in row.truth


def test_last_column_of_a_wide_table_is_where_it_belongs() -> None:
    rows = [r for r in published.rows() if r.benchmark == "SYSU" and r.metric == "meteor"]
    assert {r.model: r.value for r in rows}["GeoVLM-R1"] == 0.1545


def test_a_dash_is_no_row() -> None:
    models = {row.model for row in published.rows("geochat/refer")}
    assert models == {"InternVL2-4B", "InternVL2-8B", "GeoChat", "EarthDial", "GeoVLM-R1"}


def test_every_printed_number_is_a_row() -> None:
    # numbers per table of the README: 6x6 + 5x10 + 5x6 + 5x5 + 6x12 + 6x9 + 6x3 + 6x5
    # + (2 + 3 + 4 + 4 + 4) + 9x4 + 9x3
    assert len(published.rows()) == 36 + 50 + 30 + 25 + 72 + 54 + 18 + 30 + 17 + 36 + 27


def test_the_shifted_row_of_geochat_is_marked() -> None:
    rows = [r for r in published.rows() if r.table == "change captioning" and r.model == "GeoChat"]
    assert all("suspect" in row.note for row in rows)


def test_a_task_without_published_scores_has_no_rows() -> None:
    assert published.rows("captions/ucm") == []


def test_every_task_named_in_the_tables_is_installed() -> None:
    named = {task for row in published.rows() for task in row.tasks}
    assert named <= set(registry.load().tasks)


def test_every_benchmark_of_the_set_is_in_the_tables_and_installed() -> None:
    loaded, known = registry.load(), published.benchmarks()
    assert {each.task for each in known.values()} <= set(loaded.tasks)
    assert set(published._file()["benchmarks"]) == set(known)
    assert len(published.entries()) == len(known) == 27


def test_each_of_the_28_rows_is_a_task_with_the_rows_protocol() -> None:
    loaded, known = registry.load(), published.benchmarks()
    rows = {(row.table, row.benchmark): row.protocol for row in published.rows()}
    assert len(rows) == 28
    asked = {key: loaded.task(known[key[1]].task).protocol for key in rows}
    assert asked == rows


def test_a_benchmark_is_asked_by_one_of_the_tasks_of_its_columns() -> None:
    known = published.benchmarks()
    named = {(row.benchmark, task) for row in published.rows() for task in row.tasks}
    assert {(each.name, each.task) for each in known.values()} <= named


def test_the_number_of_samples_is_that_of_the_official_release() -> None:
    loaded, counted = registry.load(), {}
    for each in published.benchmarks().values():
        task = loaded.task(each.task)
        spec = loaded.dataset(task.dataset)
        if spec.official is not None and task.samples is None and each.ours:
            options = spec.options(**each.data_options) if spec.options else None
            context = LoadContext(root=Path(), split="test", options=options)
            counted[each.name] = resolve(spec.official)(context) or each.ours
    assert len(counted) >= 10
    ours = {name: published.benchmarks()[name].ours for name in counted}
    assert counted == ours


def test_scores_are_fractions() -> None:
    assert all(0 < row.value <= 1 for row in published.rows())
