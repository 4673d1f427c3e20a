from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from geovlm.api import (
    DatasetSpec,
    LoadContext,
    Sample,
    SetEntry,
    TaskSetSpec,
    TaskSpec,
    Turn,
    options,
)
from geovlm.config import load as config_load
from geovlm.config.model import ModelFacts
from geovlm.config.schema import RunConfig
from geovlm.errors import ConfigError, DataError, DatasetNotFoundError, UnknownNameError
from geovlm.plan import build
from geovlm.plan import text as plan_text
from geovlm.plugins import registry
from geovlm.plugins.registry import Registry


@options
class TileOptions:
    smallest: int = 0


def load(ctx: LoadContext) -> list[Sample]:
    folder = ctx.root / ctx.split
    if not folder.is_dir():
        raise DatasetNotFoundError("tiles", folder)
    ctx.skip("too small", "a")
    return [
        Sample(id=f"{ctx.split}/{path.stem}", images=(path,), target={"answer": "yes"})
        for path in sorted(folder.glob("*.png"))
    ]


def make_sample(root: Path, n: int, seed: int) -> None:
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", (56, 28), (seed, i, 0)).save(root / split / f"{i}.png")


def prompt(sample, ctx) -> Turn:
    return Turn(question="Is it?", answer="yes", reasoning="It looks so.")


def dataset(name: str) -> DatasetSpec:
    return DatasetSpec(
        name=name,
        summary="",
        splits=("train", "test"),
        load=load,
        make_sample=make_sample,
        folders=(name.replace("/", "_"),),
        licence="",
        homepage="",
        citation="",
    )


def task(name: str, *, data: str, **fields) -> TaskSpec:
    return TaskSpec(
        name=name,
        summary="",
        dataset=data,
        prompt=prompt,
        rewards={"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}},
        metrics=("accuracy",),
        primary_metric="accuracy",
        **fields,
    )


@pytest.fixture
def known() -> Registry:
    tasks = [
        task("tiles/one", data="tiles/a", options=TileOptions),
        task("tiles/two", data="tiles/b"),
        task("tiles/none", data="tiles/a", samples=lambda sample: []),
    ]
    return dataclasses.replace(
        registry.load(disabled=["*"]),
        datasets={name: dataset(name) for name in ("tiles/a", "tiles/b")},
        tasks={each.name: each for each in tasks},
        unusable={},
    )


def config(*overrides: str, tasks: str = "tiles/one", **values) -> RunConfig:
    fixed = ("device=cpu", "sample.records=4")
    return config_load.load(None, tasks=tasks.split(","), overrides=[*fixed, *overrides], **values)


def test_without_data_everything_is_generated_and_said(known, tmp_path):
    made = build.make(config(), registry=known, output=tmp_path)
    (one,) = made.tasks
    assert (one.generated, one.samples, one.evaluated) == (True, {"train": 4, "test": 4}, 4)
    text = "\n".join(plan_text.lines(made))
    assert "nano, the built-in model" in text
    assert "generated sample data, 4 records per split" in text
    assert "tiles/a train: 1 record, too small, first " in text
    assert one.skipped == {"too small": 2}  # one of each split


def test_what_is_assumed_about_images_is_told_once_when_a_run_starts(known, tmp_path, capsys):
    make_sample(tmp_path / "tiles_a", 3, 0)
    (tmp_path / "tiles_a" / "train" / "1.png.msk").touch()
    build.make(config(data_root=tmp_path), registry=known, output=tmp_path / "run")
    (note,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert f"{tmp_path}/tiles_a/train/1.png: 1.png.msk is not applied" in note
    assert "(in 1 of 3 images)" in note


def test_an_evaluation_reads_no_training_data(known, tmp_path):
    made = build.make(config(stages=[]), registry=known, output=tmp_path)
    assert made.tasks[0].samples == {"test": 4}
    assert made.resolved()["world_sizes"] == {"eval": 1}


def test_the_resolved_run_holds_what_the_worker_reads(known, tmp_path):
    resolved = build.make(config(), registry=known, output=tmp_path).resolved()
    assert resolved["task_names"] == ["tiles/one"]
    assert resolved["stage_folders"] == ["0-sft", "1-probe", "2-grpo"]
    assert resolved["world_sizes"] == {"0": 1, "1": 1, "2": 1}
    assert list(resolved["data_roots"]) == ["tiles/a"]
    assert RunConfig.model_validate(resolved["config"]).device == "cpu"


def test_a_prefix_takes_the_children_that_have_data_and_names_the_others(known, tmp_path):
    make_sample(tmp_path / "tiles_a", 3, 0)
    made = build.make(
        config(tasks="tiles", data_root=tmp_path), registry=known, output=tmp_path / "run"
    )
    assert made.task_names == ["tiles/one"]
    assert set(made.left_out) == {"tiles/two", "tiles/none"}
    assert "has no samples in split 'train'" in made.left_out["tiles/none"]
    assert "tiles_b does not exist" in made.left_out["tiles/two"]


def test_a_task_named_in_full_without_data_is_an_error(known, tmp_path):
    make_sample(tmp_path / "tiles_a", 3, 0)
    with pytest.raises(DatasetNotFoundError, match="tiles_b does not exist"):
        build.make(
            config(tasks="tiles,tiles/two", data_root=tmp_path), registry=known, output=tmp_path
        )


def test_a_task_named_in_full_with_an_empty_split_is_an_error(known, tmp_path):
    with pytest.raises(DataError, match="task 'tiles/none' has no samples in split 'train'"):
        build.make(config(tasks="tiles/none"), registry=known, output=tmp_path)


def with_a_set(known: Registry) -> Registry:
    entries = [
        SetEntry(benchmark="One", task="tiles/one"),
        SetEntry(benchmark="Two", task="tiles/two"),
        SetEntry(benchmark="Fog", task="fog"),
    ]
    spec = TaskSetSpec(name="exam", summary="", entries=lambda: entries)
    return dataclasses.replace(known, task_sets={"exam": spec})


def test_a_set_takes_the_tasks_that_have_data_and_names_the_others(known, tmp_path):
    make_sample(tmp_path / "tiles_a", 3, 0)
    made = build.make(
        config(tasks="exam", data_root=tmp_path), registry=with_a_set(known), output=tmp_path
    )
    assert made.task_names == ["tiles/one"]
    assert made.left_out["fog"] == "Fog: no plugin provides it"
    assert "looked for tiles_b" in made.left_out["tiles/two"]
    assert "left out  fog: Fog: no plugin provides it" in plan_text.lines(made)


def test_a_set_without_any_data_is_an_error(known, tmp_path):
    with pytest.raises(DataError, match=r"no task of 'exam' has data: .*looked for tiles_a"):
        build.make(
            config(tasks="exam", data_root=tmp_path), registry=with_a_set(known), output=tmp_path
        )


def test_a_prefix_without_any_data_is_an_error(known, tmp_path):
    with pytest.raises(DataError, match="no task of 'tiles' has data"):
        build.make(config(tasks="tiles", data_root=tmp_path), registry=known, output=tmp_path)


def test_the_folder_of_a_prefix_may_hold_its_data_sets(known, tmp_path):
    make_sample(tmp_path / "tiles_b", 3, 0)
    made = build.make(
        config(tasks="tiles/two", data={"tiles": {"root": str(tmp_path)}}),
        registry=known,
        output=tmp_path,
    )
    assert made.tasks[0].root == tmp_path / "tiles_b"


def test_data_of_one_set_is_never_mixed_with_generated_data(known, tmp_path):
    make_sample(tmp_path, 3, 0)
    with pytest.raises(DatasetNotFoundError, match="tiles/b"):
        build.make(
            config(tasks="tiles/one,tiles/two", data={"tiles/a": {"root": str(tmp_path)}}),
            registry=known,
            output=tmp_path,
        )


def test_an_unknown_data_set_gets_a_suggestion(known, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.tile: no data set .*did you mean 'tiles'"):
        build.make(config(data={"tile": {"root": "/x"}}), registry=known, output=tmp_path)


def test_an_unreadable_image_is_named(known, tmp_path):
    make_sample(tmp_path, 3, 0)
    (tmp_path / "train" / "1.png").write_text("no image")
    with pytest.raises(DataError, match=r"1\.png"):
        build.make(
            config(data={"tiles/a": {"root": str(tmp_path)}}), registry=known, output=tmp_path
        )


def test_unknown_tasks_and_no_tasks_are_errors(known, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown task 'tilse'"):
        build.make(config(tasks="tilse"), registry=known, output=tmp_path)
    with pytest.raises(ConfigError, match="no tasks are given"):
        build.make(config_load.load(None), registry=known, output=tmp_path)


def test_options_are_checked_with_the_path_of_the_key(known, tmp_path):
    wrong = config("tasks.tiles/one.options.smalest=1")
    with pytest.raises(ConfigError, match=r"tasks\.tiles/one\.options\.smalest: .*'smallest'"):
        build.make(wrong, registry=known, output=tmp_path)
    none = config("tasks.tiles/two.options.x=1", tasks="tiles/two")
    with pytest.raises(ConfigError, match="there are none to set"):
        build.make(none, registry=known, output=tmp_path)


@pytest.mark.parametrize(
    "setting", ["scale_rewards=batch", "multi_objective_aggregation=normalize_then_sum"]
)
def test_scaling_over_a_batch_is_refused_for_several_tasks_only(known, tmp_path, setting):
    override = f"stages.2.trainer.{setting}"
    with pytest.raises(ConfigError, match="mixes the rewards of different tasks"):
        build.make(config(override, tasks="tiles/one,tiles/two"), registry=known, output=tmp_path)
    assert build.make(config(override), registry=known, output=tmp_path).stages


def test_grpo_trains_no_task_that_its_probe_leaves_out(known, tmp_path: Path) -> None:
    some = config('stages.1.tasks=["tiles/one"]', tasks="tiles/one,tiles/two")
    with pytest.raises(
        ConfigError, match=r"stages\.2 trains 'tiles/two'.*stages\.1, leaves it out"
    ):
        build.make(some, registry=known, output=tmp_path)
    both = [f'stages.{i}.tasks=["tiles/one"]' for i in (1, 2)]
    chosen = config(*both, tasks="tiles/one,tiles/two")
    assert build.make(chosen, registry=known, output=tmp_path).stages[2].tasks == ("tiles/one",)


def test_a_stage_must_name_tasks_of_the_run(known, tmp_path):
    wrong = config('stages.0.tasks=["tiles/on"]')
    with pytest.raises(ConfigError, match=r"stages\.0\.tasks names 'tiles/on'.*'tiles/one'"):
        build.make(wrong, registry=known, output=tmp_path)


def test_a_task_that_no_stage_trains_needs_no_training_split(known, tmp_path):
    stages = [{"kind": "sft", "steps": 1, "weights": {"tiles/one": 1, "gone": 5}}]
    made = build.make(
        config(tasks="tiles/one,tiles/two", stages=stages), registry=known, output=tmp_path
    )
    assert [task.samples for task in made.tasks] == [{"train": 4, "test": 4}, {"test": 4}]
    assert made.stages[0].tasks == ("tiles/one",)


def test_a_stage_whose_tasks_have_no_data_says_why(known, tmp_path):
    make_sample(tmp_path / "tiles_b", 3, 0)
    stages = [{"kind": "sft", "steps": 1, "weights": {"tiles/one": 1}}]
    with pytest.raises(DataError, match=r"no task of stages.0 has data: .*looked for tiles_a"):
        build.make(
            config(tasks="exam", data_root=tmp_path, stages=stages),
            registry=with_a_set(known),
            output=tmp_path,
        )


def test_a_stage_that_weighs_no_task_of_the_run_is_refused(known, tmp_path):
    stages = [{"kind": "sft", "steps": 1, "weights": {"gone": 1}}]
    with pytest.raises(ConfigError, match=r"stages.0.weights names none of the run's tasks"):
        build.make(config(stages=stages), registry=known, output=tmp_path)


def test_epochs_are_shown_as_steps(known, tmp_path):
    # 4 rows x 3 epochs / (2 rows x 2 processes per step) = 3 steps
    chosen = config(
        "stages.0.epochs=3", "stages.0.trainer.per_device_train_batch_size=2", "processes=2"
    )
    made = build.make(chosen, registry=known, output=tmp_path)
    assert made.stages[0].length == "3 epochs of 4 rows, 3 steps"
    assert made.stages[0].processes == 2


def test_a_limit_per_task_bounds_every_stage(known, tmp_path):
    limits = [f"stages.{index}.limit=3" for index in range(3)]
    chosen = config(*limits, "stages.0.epochs=1", "stages.2.epochs=2", tasks="tiles/one,tiles/two")
    lengths = [s.length for s in build.make(chosen, registry=known, output=tmp_path).stages]
    assert "of 6 rows" in lengths[0]
    assert lengths[1].startswith("6 prompts")
    assert lengths[2] == "2 epochs of what the probe keeps"


def test_tokens_of_the_built_in_model_are_counted(known, tmp_path):
    # nano wants 7056 px at least: 56 x 28 px grows by sqrt(4.5) to 118.8 x 59.4, up to 126 x 70,
    # which is 9 x 5 squares of 14 px
    made = build.make(config(), registry=known, output=tmp_path)
    assert made.tasks[0].visual_tokens == 45
    assert made.tasks[0].text_tokens > 10


def test_the_checksum_follows_the_data(known, tmp_path):
    first = build.make(config(), registry=known, output=tmp_path).checksums["tiles/a"]["train"]
    again = build.make(config(), registry=known, output=tmp_path).checksums["tiles/a"]["train"]
    other = config("sample.records=5")
    more = build.make(other, registry=known, output=tmp_path).checksums["tiles/a"]["train"]
    assert first == again
    assert (more["records"], more["sha256"] != first["sha256"]) == (5, True)


def test_planning_does_not_import_torch():
    code = (
        "import sys, geovlm.plan.build, geovlm.plan.text, geovlm.plan.environment;"
        "import geovlm.cli.commands.run, geovlm.cli.planning, geovlm.cli.running;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'trl', 'accelerate')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_prompts_that_cannot_be_shared_are_noted(known, tmp_path):
    made = build.make(config(), registry=known, output=tmp_path / "run")
    text = {"layer_types": ["linear_attention"] * 3 + ["full_attention"]}
    (tmp_path / "config.json").write_text(json.dumps({"text_config": text}))
    other = dataclasses.replace(made, model=ModelFacts(name="m", folder=tmp_path))
    assert (
        "note    share_prompt is not used: 3 of its 4 layers do not see all tokens before "
        "(linear_attention)"
    ) in plan_text.lines(other)
    assert not [line for line in plan_text.lines(made) if "share_prompt" in line]
