"""Trainers of later stages are built and take a step before the first stage begins."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from geovlm import nano
from geovlm.config import load
from geovlm.engine.programs import trainers
from geovlm.errors import ConfigError
from geovlm.plan.trials import process as trials
from geovlm.plan.trials import trainers as planned
from geovlm.run import files
from geovlm.run.folder import RunDir
from tests import inside

NANO = ("run", "--tasks", "xbd/count", "--set", "sample.records=8", "--set", "device=cpu")


def problems(*overrides: str, stages: tuple[int, ...], **given: Any) -> list[str]:
    """Return what is wrong with stages of the preset nano: SFT (0), probe, GRPO (2)."""
    config = load.load(None, tasks=["xbd/count"], overrides=["device=cpu", *overrides])
    dumped = config.model_dump(mode="json") | given.pop("config", {})
    request = trainers.Request(
        config=dumped,
        task_names=("xbd/count",),
        stages=stages,
        started_with={},
        **{"elsewhere": False, **given},
    )
    return list(trainers.problems(request))


def test_the_stages_of_the_preset_pass() -> None:
    assert problems(stages=(0, 2)) == []


def test_adapters_and_a_frozen_tower_pass() -> None:
    assert problems("lora.r=4", "stages.0.freeze_vision=true", stages=(0,)) == []


@pytest.mark.parametrize(
    ("stage", "setting", "reason"),
    [
        (0, "optim=lomo", "optim='lomo': You need to install `lomo_optim`"),
        (0, "lr_scheduler_kwargs={nope=1}", "kwargs={'nope': 1}: get_cosine_schedule_with_warmup"),
        (0, "lr_scheduler_type=cosine_with_min_lr", "One of min_lr or min_lr_rate should be set"),
        (0, "load_best_model_at_end=true", "requires the save and eval strategy to match"),
        (0, "per_device_train_batch_size=0", "per_device_train_batch_size: 0 is less than 1"),
        (0, "dataloader_multiprocessing_context=spawn", "stay in its process"),
        (0, "learning_rat=1", "unknown key 'learning_rat'"),
        (2, "loss_type=nonsense", "loss_type='nonsense': Unknown loss type: nonsense"),
        (2, "num_generations=1", "GRPO requires at least 2 generations"),
        (
            2,
            'model_init_kwargs={attn_implementation="flash_attention_2"}',
            "model_init_kwargs={'attn_implementation': 'flash_attention_2'}: FlashAttention2",
        ),
    ],
)
def test_the_key_that_fails_and_the_reason_are_named(stage: int, setting: str, reason: str) -> None:
    (found,) = problems(f"stages.{stage}.trainer.{setting}", stages=(stage,))
    assert found.startswith(f"stages.{stage}.trainer")
    assert reason in found


def test_adapters_without_a_layer_are_named() -> None:
    found = problems("lora.targets=nope", stages=(0,))
    assert found[0].startswith("lora.targets='nope' matches no module of Qwen2_5_VL")


def test_a_loss_of_routers_is_refused_for_a_model_without_routers() -> None:
    (found,) = problems("stages.0.trainer.router_aux_loss_coef=0.1", stages=(0,))
    assert "router_aux_loss_coef=0.1: the trainer cannot compute the loss of routers" in found


def test_the_problems_of_all_stages_are_collected() -> None:
    wrong = [f"stages.{stage}.trainer.optim=lomo" for stage in (0, 2)]
    found = problems(*wrong, stages=(0, 2))
    assert [each.partition(": ")[0] for each in found] == [
        f"stages.{stage}.trainer.optim='lomo'" for stage in (0, 2)
    ]


def test_the_processes_of_a_stage_share_its_groups() -> None:
    # 4 rows on each of 2 processes are one group of 8; 3 rows on each are no groups of 4
    sound = ("processes=2", "stages.2.trainer.per_device_train_batch_size=4")
    assert problems(*sound, stages=(2,)) == []
    wrong = ("processes=2", "stages.2.trainer.per_device_train_batch_size=3")
    (found,) = problems(*wrong, "stages.2.trainer.num_generations=4", stages=(2,))
    assert "generation_batch_size (6) must be divisible by num_generations (4)" in found


def test_precision_of_a_gpu_elsewhere_is_not_refused_here() -> None:
    wrong = ("stages.0.trainer.tf32=true", "stages.0.trainer.bf16=true")
    assert problems(*wrong, stages=(0,), config={"device": "cuda"}, elsewhere=True) == []


def test_what_only_the_run_s_model_can_take_is_not_tried_with_another(tmp_path: Path) -> None:
    other = str(shutil.copytree(nano.path(), tmp_path / "other"))
    setting = "stages.0.trainer.eos_token=<|of_another_family|>"
    assert problems(setting, f"model={other}", stages=(0,)) == []
    (found,) = problems(setting, stages=(0,))
    assert found.startswith("stages.0.trainer.eos_token='<|of_another_family|>'")


def test_compiling_is_not_tried() -> None:
    assert problems("stages.0.trainer.torch_compile_backend=inductor", stages=(0,)) == []


@pytest.mark.usefixtures("tried_trainers")
@pytest.mark.parametrize("mode", [("--dry-run",), ()], ids=["dry", "real"])
def test_a_package_that_only_grpo_needs_is_missed_before_anything_is_trained(
    mode: tuple[str, ...], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    setting = "stages.2.trainer.optim=lomo"
    ended = inside.geovlm(*NANO, "--output", output, "--set", setting, *mode)
    assert ended.returncode == 2
    assert "error: stages.2.trainer.optim='lomo': You need to install `lomo_optim`" in ended.stderr
    assert not list(output.glob("stages/*"))


@pytest.mark.usefixtures("tried_trainers")
def test_a_done_stage_is_not_tried_again(tmp_path: Path) -> None:
    config = load.load(
        None,
        tasks=["xbd/count"],
        overrides=["device=cpu", *(f"stages.{i}.trainer.optim=lomo" for i in (0, 2))],
    )
    run = RunDir(tmp_path)
    files.write_json(run.resolved, {"stage_folders": config.stage_folders(), "started_with": {}})
    for index in (0, 2):
        files.write_json(run.stage(index) / "done.json", {})
    assert planned.trial(config, task_names=["xbd/count"], elsewhere=False, begun=run) is None


@pytest.mark.usefixtures("tried_trainers")
def test_a_trial_that_went_well_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def start(program: str, *_: str, folder: Path, **__: object) -> None:
        started.append(program)
        files.write_json(folder / "found.json", {"trainers": []})

    monkeypatch.setattr(trials.launch, "start", start)
    for steps, installed in ((5, "a-1"), (5, "a-1"), (6, "a-1"), (6, "a-2")):
        config = load.load(None, tasks=["xbd"], overrides=[f"stages.0.steps={steps}"])
        monkeypatch.setattr(trials, "_installed", lambda name=installed: [name])
        trial = planned.trial(config, task_names=["xbd"], elsewhere=False, begun=None)
        assert trial is not None
        trials.check([trial], on_cpu=True)
    assert started == ["trials"] * 3


@pytest.mark.usefixtures("tried_trainers")
def test_all_problems_are_listed_and_only_what_went_well_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(*_: str, folder: Path, **__: object) -> None:
        files.write_json(folder / "found.json", {"sound": [], "preflight": ["one", "two"]})

    monkeypatch.setattr(trials.launch, "start", start)
    sound, wrong = (trials.Trial(name, {}, []) for name in ("sound", "preflight"))
    with pytest.raises(ConfigError) as caught:
        trials.check([sound, wrong], on_cpu=True)
    assert str(caught.value).split() == ["one", "two"]
    assert (sound.marker.is_file(), wrong.marker.is_file()) == (True, False)


def test_an_upload_without_an_account_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    config = load.load(None, tasks=["xbd"], overrides=["stages.2.trainer.push_to_hub=true"])
    with pytest.raises(ConfigError, match=r"stages\.2\.trainer\.push_to_hub needs an account"):
        planned.refuse_without_account(config, [0, 2])
