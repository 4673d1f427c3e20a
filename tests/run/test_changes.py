"""Which settings of a begun run may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geovlm.config.load import load
from geovlm.errors import ConfigError
from geovlm.run import changes, files, resuming
from geovlm.run.folder import RunDir

MODEL, CHECKPOINT = "model/config.json", "checkpoints/checkpoint-4/manifest.json"


def config(*overrides: str) -> dict[str, Any]:
    """Return a run of SFT, probe and GRPO on one task."""
    return load(None, tasks=["xbd/count"], overrides=overrides).model_dump(mode="json")


def run_with(folder: Path, *written: str, evaluated: str = "") -> RunDir:
    """Return a run that has written these files below `stages`."""
    run = RunDir(folder)
    started = {"config": config(), "stage_folders": ["0-sft", "1-probe", "2-grpo"]}
    files.write_json(run.resolved, started)
    for name in written:
        files.write_json(run.path / "stages" / name, {})
    if evaluated:
        run.write_metrics("xbd/count", evaluated, primary="f1", entry={})
    return run


@pytest.fixture
def in_sft(tmp_path: Path) -> RunDir:
    """A run in the middle of SFT."""
    return run_with(tmp_path, f"0-sft/{CHECKPOINT}", evaluated="base")


@pytest.fixture
def in_grpo(tmp_path: Path) -> RunDir:
    """A run whose GRPO ended before its first checkpoint."""
    done = ("0-sft/done.json", "1-probe/done.json", "2-grpo/log.jsonl")
    return run_with(tmp_path, *done, evaluated="sft")


def refusal(run: RunDir, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        resuming.refuse_another(run, config(*overrides))
    return str(caught.value).removeprefix(f"{run.path}: ")


@pytest.mark.parametrize(
    "setting",
    [
        "track=trackio",
        "stages.2.steps=1",
        "stages.2.trainer.learning_rate=1",
        "stages.2.tasks=['xbd/count']",
        "stages.0.trainer.save_steps=3",
        "stages.0.trainer.logging_steps=1",
        "stages.0.trainer.dataloader_num_workers=2",
        "stages.0.trainer.gradient_checkpointing=true",
        "stages.1.on_fail=warn",
        "stages.1.prompts=7",
        "eval.batch_size=2",
        "eval.blind=off",
        "health.repetition=off",
        "data.xbd.root=/elsewhere",
        "data_root=/elsewhere",
        "model=elsewhere",
        "eval.base=false",
        "timeout_s=9",
        "gpus=2",
    ],
)
def test_settings_that_no_finished_work_has_used_may_change(in_sft: RunDir, setting: str) -> None:
    resuming.refuse_another(in_sft, config(setting))


@pytest.mark.parametrize(
    ("setting", "used"),
    [
        ("seed=3", "seed is 0 and cannot become 3: stage 0-sft, which has begun, used it"),
        ("stages.0.steps=9", "stages.0.steps is 150 and cannot become 9: stage 0-sft"),
        ("stages.0.trainer.learning_rate=1", "learning_rate is 0.0015 and cannot become 1: stage"),
        ("stages.0.trainer.warmup_steps=1", "stage 0-sft, which has begun, used it"),
        ("eval.limit=4", "eval.limit is 32 and cannot become 4: the evaluation 'base', which is"),
        ("rewards=paper", "rewards is 'robust' and cannot become 'paper': the evaluation 'base'"),
        ("sample.records=3", "sample.records is 256 and cannot become 3: stage 0-sft"),
        ("lora.r=3", "lora is None and cannot become"),
        ("tasks.xbd/count.weight=2", "used it"),
        ("data.xbd.options.size=2", "data.xbd.options is None and cannot become {'size': 2}"),
        ("instruction=x", "used it"),
    ],
)
def test_settings_that_work_has_used_may_not_change(
    in_sft: RunDir, setting: str, used: str
) -> None:
    assert used in refusal(in_sft, setting)


def test_a_stage_that_saved_nothing_may_change_and_the_probe_before_it_may_not(
    in_grpo: RunDir,
) -> None:
    resuming.refuse_another(in_grpo, config("stages.2.trainer.learning_rate=2", "stages.2.steps=2"))
    assert refusal(in_grpo, "stages.1.prompts=7") == (
        "stages.1.prompts is 96 and cannot become 7: stage 1-probe, which is done, used it (leave "
        "it as it was, or start another run with --output)"
    )


def test_a_probe_that_stopped_the_run_may_go_on_with_a_warning(tmp_path: Path) -> None:
    run = run_with(tmp_path, "0-sft/done.json", "1-probe/answers/generation-0.0.jsonl")
    resuming.refuse_another(run, config("stages.1.on_fail=warn", "stages.1.min_format_rate=0.1"))
    assert "stage 1-probe, which has begun" in refusal(run, "stages.1.temperature=0.5")


def test_all_problems_are_in_one_message(in_sft: RunDir) -> None:
    message = refusal(in_sft, "seed=3", "stages.0.steps=9")
    assert "seed is 0" in message
    assert "stages.0.steps is 150" in message


def test_a_stage_may_be_added_or_removed_after_those_that_have_begun(in_grpo: RunDir) -> None:
    given = config()
    resuming.refuse_another(in_grpo, given | {"stages": [*given["stages"], given["stages"][0]]})
    resuming.refuse_another(in_grpo, given | {"stages": given["stages"][:2]})
    with pytest.raises(ConfigError, match=r"stages\.1 is .* cannot become None: stage 1-probe"):
        resuming.refuse_another(in_grpo, given | {"stages": given["stages"][:1]})
    with pytest.raises(ConfigError, match=r"stages\.0\.kind is 'sft' and cannot become 'probe'"):
        resuming.refuse_another(in_grpo, given | {"stages": given["stages"][1:]})


def test_a_setting_of_evaluations_is_not_ignored_when_none_is_left(tmp_path: Path) -> None:
    done = [f"{name}/done.json" for name in ("0-sft", "1-probe", "2-grpo")]
    run = run_with(tmp_path, *done, evaluated="grpo")
    assert "eval.blind is 'last' and cannot become 'all'" in refusal(run, "eval.blind=all")


def test_the_base_evaluation_cannot_be_asked_for_when_training_is_over(in_grpo: RunDir) -> None:
    assert "eval.base is True and cannot become False: stage 0-sft" in refusal(
        in_grpo, "eval.base=false"
    )


def test_differences_are_the_paths_of_keys() -> None:
    before = {"seed": 1, "stages": [{"steps": 1}], "tasks": {"a": {}}, "list": [1, 2]}
    after = {"seed": 1, "stages": [{"steps": 2}], "tasks": {"b": {}}, "list": [1, 3]}
    found = [each.path for each in changes.differences(before, after)]
    assert found == ["stages.0.steps", "tasks.a", "tasks.b", "list"]
