"""The records that a stage reads: those of the plan, and no more than it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from geovlm.api import Sample
from geovlm.cli import running
from geovlm.config import load as configuration
from geovlm.data import loading, snapshots
from geovlm.data.prompts import Prompt, Prompter
from geovlm.engine import work
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.stage import Stage, drawn, reached
from geovlm.plan import build
from geovlm.plan.build import Plan
from geovlm.plugins import registry
from geovlm.run.folder import RunDir

SETTINGS = ("device=cpu", "sample.records=24", "eval.base=false", "eval.blind=off")


def planned(folder: Path, *overrides: str) -> tuple[RunDir, Plan]:
    config = configuration.load(
        None, tasks=["xbd/count"], overrides=[*SETTINGS, *overrides], output=folder
    )
    plan = build.make(config, registry=registry.load(), output=folder)
    running.write(RunDir(folder), plan)
    return RunDir(folder), plan


def stage(run: RunDir, plan: Plan, *, index: int = 0) -> Stage:
    return Stage(
        run=run,
        config=plan.config,
        registry=registry.load(),
        index=index,
        task_names=("xbd/count",),
        data_roots={task.dataset: task.root for task in plan.tasks},
        cache=ImageCache(),
        rank=0,
        world_size=1,
    )


def sft(*limits: int | None) -> str:
    stages = ",".join(
        f"{{kind='sft',steps=1{'' if limit is None else f',limit={limit}'}}}" for limit in limits
    )
    return f"stages=[{stages}]"


def test_a_stage_reads_the_records_of_the_plan_and_not_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, plan = planned(tmp_path / "run", sft(4))
    expected = list(plan.records["xbd", "train"])
    with running.records(run, plan):
        assert plan.records == {}
        reader = stage(run, plan)
        monkeypatch.setattr(loading, "load_records", None)
        rows = reader.rows(reader.tasks[0], split="train", profile=plan.model.profile)
        kept = reader.records["xbd", "train"]
        assert isinstance(kept, snapshots.Snapshot)
        assert list(kept) == expected
        assert len(rows) == plan.tasks[0].samples["train"]
    assert not run.records("xbd", "train").parent.exists()


def test_records_of_other_data_are_never_read(tmp_path: Path) -> None:
    run, plan = planned(tmp_path / "run", sft(4))
    contents = plan.checksums["xbd"]["train"]["sha256"]
    others = plan.records["xbd", "train"][:1]
    with running.records(run, plan):
        snapshots.write(run.records("xbd", "train"), others, contents=f"not {contents}")
        reader = stage(run, plan)
        rows = reader.rows(reader.tasks[0], split="train", profile=plan.model.profile)
        assert len(rows) == plan.tasks[0].samples["train"] > 1


def test_before_training_the_rows_are_measured_that_a_stage_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, plan = planned(tmp_path / "run", sft(3, 5), "eval.limit=2")
    made: list[str] = []
    prompt = Prompter.prompt

    def counted(self: Prompter, sample: Sample) -> Prompt:
        made.append(sample.id)
        return prompt(self, sample)

    monkeypatch.setattr(Prompter, "prompt", counted)
    first = stage(run, plan)
    work.check(first)
    stages = [stage(run, plan, index=index) for index in (0, 1)]
    for each in stages:
        rows = each.train_rows(plan.model.profile)["xbd/count"]
        assert {sample.id for sample in rows.samples} <= set(made)
    whole = first.rows(first.tasks[0], split="train", profile=plan.model.profile).samples
    assert len({sample.id for sample in whole} & set(made)) < len(whole)


def test_rows_of_several_limits_are_those_of_each() -> None:
    items = [f"{n}" for n in range(50)]
    several = reached(items, [3, 7], seed=1)
    assert set(several) == {*drawn(items, 3, seed=1), *drawn(items, 7, seed=1)}
    assert several == sorted(several, key=int)
    assert reached(items, [3, None], seed=1) == items
    assert reached(items, [], seed=1) == []
