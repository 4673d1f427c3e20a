from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from geovlm.config import load
from geovlm.config.schema import RunConfig
from geovlm.errors import ConfigError
from geovlm.plugins import registry
from geovlm.score import published


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


def test_nano_is_the_default_preset():
    config = load.load(None)
    assert (config.preset, config.model) == ("nano", "nano")
    assert [stage.kind for stage in config.stages] == ["sft", "probe", "grpo"]


def test_the_papers_preset_has_the_published_values():
    config = load.load(None, preset="geovlm-r1")
    sft, grpo = config.stages
    assert config.model == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert (config.min_pixels, config.max_pixels) == (448 * 448, 448 * 448)
    assert (sft.epochs, sft.trainer["learning_rate"], config.world_size(0)) == (2, 1e-5, 8)
    assert (grpo.epochs, grpo.trainer["learning_rate"], config.world_size(1)) == (2, 1e-6, 4)
    assert (grpo.trainer["temperature"], grpo.trainer["beta"]) == (0.9, 0.04)
    assert config.reward_options == {"hbb": "enclosing"}


def test_fewer_gpus_than_a_stage_names_are_enough():
    config = load.load(None, preset="geovlm-r1", gpus=2)
    assert [config.world_size(0), config.world_size(1)] == [2, 2]


def test_the_full_preset_is_the_papers_with_all_tasks():
    full, paper = (load.load(None, preset=name) for name in ("geovlm-r1-full", "geovlm-r1"))
    same = ("model", "rewards", "gpus", "min_pixels", "max_pixels", "reward_options")
    assert all(getattr(full, key) == getattr(paper, key) for key in same)
    without = [stage.model_copy(update={"weights": {}}) for stage in full.stages]
    assert without == paper.stages


def test_the_full_preset_trains_no_zero_shot_task_and_every_other_of_the_paper():
    full, loaded = load.load(None, preset="geovlm-r1-full"), registry.load()
    names = [one.spec.name for one in loaded.select(list(full.tasks))]
    zero_shot = {row.benchmark for row in published.rows() if "zero-shot" in row.split}
    expected = {e.task for e in loaded.entries("paper") if e.benchmark not in zero_shot}
    sft, grpo = (set(full.tasks_of(index, names)) for index in range(2))
    assert sft >= expected
    assert grpo < sft
    assert not {e.task for e in loaded.entries("paper") if e.benchmark in zero_shot} & sft


def test_processes_on_the_command_line_replace_the_gpus_of_the_preset():
    assert load.load(None, preset="geovlm-r1", processes=2).gpus is None


def test_a_file_replaces_the_presets_stages_and_keeps_the_rest(tmp_path):
    path = write(tmp_path, 'seed = 7\n[[stages]]\nkind = "sft"\nepochs = 1\n')
    config = load.load(path)
    assert (config.seed, len(config.stages), config.stages[0].epochs) == (7, 1, 1.0)
    assert config.eval.limit == load.load(None).eval.limit


def test_the_command_line_wins_over_the_file_and_set_over_both(tmp_path):
    path = write(tmp_path, "seed = 7\n")
    assert load.load(path, seed=8).seed == 8
    assert load.load(path, seed=8, overrides=["seed=9"]).seed == 9


def test_tasks_may_be_a_list_and_data_a_folder(tmp_path):
    path = write(tmp_path, 'tasks = ["a", "b/c"]\n[data]\na = "/data/a"\n')
    config = load.load(path)
    assert list(config.tasks) == ["a", "b/c"]
    assert config.data["a"].root == Path("/data/a")


def test_tasks_of_the_command_line_keep_what_the_file_says_of_their_prefix(tmp_path):
    path = write(tmp_path, "[tasks.xbd]\nweight = 2\n[tasks.other]\n")
    config = load.load(path, tasks=["xbd/detect"])
    assert {name: task.weight for name, task in config.tasks.items()} == {"xbd/detect": 2.0}


@pytest.mark.parametrize("key", ["tasks.xbd/detect.weight", 'tasks."xbd/detect".weight'])
def test_set_reaches_names_with_a_slash_quoted_or_not(key):
    config = load.load(None, tasks=["xbd/detect"], overrides=[f"{key}=2"])
    assert config.tasks["xbd/detect"].weight == 2.0


def test_set_reaches_into_lists_and_makes_tables():
    config = load.load(
        None, overrides=["stages.2.trainer.learning_rate=1e-6", "lora.r=4", "model=a/b"]
    )
    assert config.stages[2].trainer["learning_rate"] == 1e-6
    assert config.lora is not None and config.lora.r == 4
    assert config.model == "a/b"


def test_steps_given_by_set_replace_the_epochs_of_the_preset():
    config = load.load(None, preset="geovlm-r1", overrides=["stages.0.steps=5"])
    assert (config.stages[0].steps, config.stages[0].epochs) == (5, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ('"x"', "x"),
        ("a b", "a b"),
        ("1\nb = 2", "1\nb = 2"),
    ],
)
def test_a_value_is_toml_or_else_a_string(text, value):
    assert load.parse_value(text) == value


def test_all_problems_are_reported_together_with_their_paths():
    wrong = ["stages.0.stepz=5", "modle=3", "seed=abc", "eval.limt=2", "stages.9.steps=1", "foo"]
    with pytest.raises(ConfigError) as caught:
        load.load(None, overrides=wrong)
    message = str(caught.value)
    assert "unknown key 'stages.0.stepz', did you mean 'steps'?" in message
    assert "unknown key 'modle', did you mean 'model'?" in message
    assert "unknown key 'eval.limt', did you mean 'limit'?" in message
    assert "seed: input should be a valid integer" in message
    assert "--set stages.9: there are 3 entries" in message
    assert "--set 'foo' is not KEY=VALUE" in message


@pytest.mark.parametrize(
    "key", ["output_dir", "seed", "max_steps", "max_length", "reward_weights", "use_cpu"]
)
def test_trainer_keys_of_the_engine_are_refused(key):
    with pytest.raises(ConfigError, match=rf"stages\.0\.trainer: '{key}' cannot be set here"):
        load.load(None, overrides=[f"stages.0.trainer.{key}=1"])


def test_other_trainer_keys_pass_through_untouched():
    config = load.load(None, overrides=["stages.0.trainer.not_of_ours=[1, 2]"])
    assert config.stages[0].trainer["not_of_ours"] == [1, 2]


def test_a_stage_needs_a_length_of_one_kind(tmp_path):
    path = write(tmp_path, '[[stages]]\nkind = "sft"\n')
    with pytest.raises(ConfigError, match=r"stages\.0: needs either 'steps' or 'epochs'"):
        load.load(path)


def test_a_file_that_is_no_toml_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"run\.toml is not TOML"):
        load.load(write(tmp_path, "seed = = 1"))


def test_an_unknown_preset_gets_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean 'nano'"):
        load.load(None, preset="nanoo")


def test_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load.load(None, data_root=Path("eo")).data_root == tmp_path / "eo"


def test_a_configuration_survives_json():
    config = load.load(None, tasks=["a/b"], preset="geovlm-r1")
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_every_field_of_the_schema_of_a_run_is_explained():
    properties = RunConfig.model_json_schema()["properties"]
    without = {name for name, entry in properties.items() if "description" not in entry}
    assert without <= {"seed", "sample", "eval", "device"}


def test_the_configuration_is_importable_without_torch():
    code = (
        "import sys, geovlm.config.schema, geovlm.config.load, geovlm.run.folder;"
        "import geovlm.run.launch;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'trl', 'accelerate')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("max_grad_norm=inf", "max_grad_norm is inf, a finite number is needed"),
        ("warmup_ratio=nan", "warmup_ratio is nan, a finite number is needed"),
        (
            "hub_model_id=2026-11-30",
            "hub_model_id is a date or time, write it as text: '2026-11-30'",
        ),
    ],
)
def test_a_value_that_json_lacks_is_refused(override: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"stages.0.trainer.{problem}")):
        load.load(None, overrides=[f"stages.0.trainer.{override}"])


@pytest.mark.parametrize(
    ("text", "why"), [("a \udcff", "half of a surrogate pair"), ("a\0", "a control character")]
)
def test_an_instruction_that_no_model_takes_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"instruction: it holds {why}"):
        load.load(None, tasks=["rsvqa/lr"], overrides=[f"instruction={text}"])
