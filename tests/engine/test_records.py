"""The records that a stage reads: those of the plan, and no more than it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geovlm.api import Sample
from geovlm.cli import running
from geovlm.config import load as configuration
from geovlm.config.model import source
from geovlm.data import loading, snapshots
from geovlm.data.prompts import Prompt, Prompter
from geovlm.engine import checks, training
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Selected
from geovlm.engine.stage import Stage, drawn, numbers
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


STAGES = {
    "two of sft": sft(3, 5),
    "steps": "stages=[{kind='sft',steps=2,trainer={per_device_train_batch_size=2}}]",
    "whole": "stages=[{kind='sft',epochs=2.5,trainer={per_device_train_batch_size=2}}]",
    "grpo": "stages=[{kind='grpo',steps=2,"
    "trainer={per_device_train_batch_size=4,num_generations=4}}]",
    "probe": "stages=[{kind='probe',prompts=3},{kind='grpo',steps=5,limit=9,"
    "trainer={per_device_train_batch_size=4,num_generations=4}}]",
}


@pytest.mark.parametrize("stages", STAGES)
def test_before_training_the_rows_are_measured_that_a_stage_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: str
) -> None:
    run, plan = planned(tmp_path / "run", STAGES[stages], "eval.limit=2")
    made: set[str] = set()
    prompt = Prompter.prompt

    def counted(self: Prompter, sample: Sample) -> Prompt:
        made.add(sample.id)
        return prompt(self, sample)

    monkeypatch.setattr(Prompter, "prompt", counted)
    first = stage(run, plan)
    checks.check(first)
    whole = first.rows(first.tasks[0], split="train", profile=plan.model.profile)
    measured, read = set(made), set()
    for index in range(len(plan.config.stages)):
        read |= trained_on(stage(run, plan, index=index), monkeypatch)
    assert read
    assert measured - {each.id for each in plan_of_evaluation(first, plan)} == read
    assert len(read) < len(whole) or stages == "whole"


def plan_of_evaluation(stage: Stage, plan: Plan) -> list[Sample]:
    rows = stage.rows(stage.tasks[0], split="test", profile=plan.model.profile, limit=2)
    return list(rows.samples)


def trained_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The ids of the rows that a stage trains on or probes; GRPO without its probe's."""

    class Enough(Exception):
        pass

    found: set[str] = set()

    def end(rows: Any) -> Any:
        found.update(row.sample_id for row in rows)
        raise Enough

    kind = stage.settings.kind
    path = source(stage.config.model)
    with pytest.raises(Enough):
        if kind == "sft":
            monkeypatch.setattr(training.sft, "dataset", lambda rows, **_: end(rows))
            training.sft.train(stage, start=path, resume=False)
        elif kind == "probe":
            monkeypatch.setattr(training.probe, "_rollouts", lambda stage, writer, rows: end(rows))
            training.probe.run(stage, start=path)
        elif any(each.kind == "probe" for each in stage.config.stages):
            raise Enough  # a part of those of the probe
        else:
            monkeypatch.setattr(training.grpo, "dataset", lambda rows, **_: end(rows))
            training.grpo.train(stage, start=path, resume=False)
    return found


def test_the_numbers_of_drawn_items_are_theirs() -> None:
    items = [f"{n}" for n in range(50)]
    assert [items[n] for n in numbers(50, 7, seed=1)] == drawn(items, 7, seed=1)
    assert numbers(50, None, seed=1) == numbers(50, 50, seed=1) == range(50)
    assert list(Selected(items, [2, 5])) == ["2", "5"]
    assert Selected(items, [2, 5, 9])[1:] == ["5", "9"]
