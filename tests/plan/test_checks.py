"""Every command that plans a run goes through one list of checks, and each of them refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from geovlm import cli
from geovlm.config import extras, load, trackers
from geovlm.errors import ConfigError
from geovlm.plan import checks
from geovlm.plan.checks import Check, Context
from geovlm.plan.trials import process as trials
from geovlm.plugins import registry
from geovlm.run import imports
from geovlm.run.vllm import server

BOTH = "rsvqa/lr,rsvqa/hr"
CASES: dict[str, tuple[str, list[str], str]] = {
    "tasks": ("rsvqa/rl", [], "unknown task 'rsvqa/rl'"),
    "served model": (
        "rsvqa/lr",
        ["served.base_url=http://127.0.0.1:1/v1"],
        "an endpoint is given, and model 'nano' is not served",
    ),
    "parallel": ("rsvqa/lr", ["parallel=fsdp2"], "parallel 'fsdp2' needs GPUs"),
    "vllm": ("rsvqa/lr", ["stages.2.generation=vllm-colocate"], "'vllm-colocate' needs GPUs"),
    "answering": (
        "rsvqa/lr",
        ["answering.generation=vllm", "processes=2"],
        "generation 'vllm' answers in one process, not in 2",
    ),
    "data names": ("rsvqa/lr", ["data.rsvqq.root=/x"], "data.rsvqq: no data set of this name"),
    "bitsandbytes": ("rsvqa/lr", ["lora.quantize=nf4"], "'nf4' needs bitsandbytes"),
    "track": ("rsvqa/lr", ["track=wandb"], "track: wandb is not installed"),
    "torchvision": ("rsvqa/lr", [], "torchvision 0.29.1 does not fit torch 2.13.0"),
    "reward options": ("rsvqa/lr", ["reward_options.hbb=x"], "reward_options.hbb is 'x'"),
    "functions": ("rsvqa/lr", [], "reward 'jaccard' of task 'rsvqa/lr': reference 'gone:jaccard'"),
    "encoder": (
        "geochat/caption",
        ["reward_options.encoder=/none"],
        "the sentence encoder '/none' is neither a model folder nor in the local",
    ),
    "model": ("rsvqa/lr", ["model=./none"], "model './none' does not exist"),
    "space": ("rsvqa/lr", [], "0.00 GB free, models and checkpoints of this run take at least 0.0"),
    "data": ("rsvqa/lr", ["data.rsvqa.root=/none"], "/none does not exist"),
    "prefixes": ("rsvqa", ["data.rsvqa.root=/none"], "no task of 'rsvqa' has data"),
    "stage tasks": ("rsvqa/lr", ['stages.0.tasks=["xbd"]'], "stages.0.tasks names 'xbd'"),
    "mixed rewards": (BOTH, ["stages.2.trainer.scale_rewards=batch"], "mixes the rewards"),
    "unprobed tasks": (BOTH, ['stages.1.tasks=["rsvqa/lr"]'], "stages.2 trains 'rsvqa/hr'"),
    "trials": (
        "rsvqa/lr",
        ["stages.2.trainer.num_generations=7"],
        "stages.2.trainer.num_generations=7: generation_batch_size (256) must be divisible",
    ),
    "vllm servers": (
        "rsvqa/lr",
        ["stages.2.generation=vllm-server", "stages.2.vllm.url=http://127.0.0.1:1"],
        "no vLLM server answers at http://127.0.0.1:1/health",
    ),
    "endpoint": (
        "rsvqa/lr",
        [
            "model=openai:x",
            "stages=[]",
            "served.retries=0",
            "served.base_url=http://127.0.0.1:1/v1",
        ],
        "no server answers at http://127.0.0.1:1/v1/chat/completions",
    ),
}


def failure(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that fails; return its error."""
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert left.value.code != 0
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("error")]
    return line


def test_the_checks_run_in_this_order() -> None:
    assert [check.name for check in checks.CHECKS] == list(CASES)


@pytest.mark.parametrize("mode", [["--dry-run"], []], ids=["dry", "real"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("engine_here", "tried_trainers")
def test_a_dry_run_and_a_real_run_refuse_the_same(
    name: str,
    mode: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tasks, settings, message = CASES[name]
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    if name == "track":
        monkeypatch.setattr(trackers, "_installed", lambda package: None)
    if name == "torchvision":
        fault = "torchvision 0.29.1 does not fit torch 2.13.0"
        monkeypatch.setattr(imports, "torchvision_fault", lambda: fault)
    if name == "functions":
        broken = dataclasses.replace(registry.load().rewards["jaccard"], score="gone:jaccard")
        monkeypatch.setitem(registry.load().rewards, "jaccard", broken)  # type: ignore[arg-type]
    if name == "space":
        full = shutil.disk_usage("/")._replace(free=0)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    if name == "vllm servers":  # the checks of the installation come before it
        monkeypatch.setattr(server, "check", lambda config: None)
        monkeypatch.setattr(trials, "check", lambda *_, **__: None)
    given = ["device=cpu", "sample.records=8", *settings]
    options = [word for each in given for word in ("--set", each)]
    command = ["run", "--tasks", tasks, *options, "--output", str(tmp_path / "run"), *mode]
    assert message in failure(command, capsys)
    assert not (tmp_path / "run").exists()


def refuse(context: Context) -> None:
    raise ConfigError("the list was reached")


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--output", "new"],
        ["run", "--output", "new", "--dry-run"],
        ["run", "--output", "old", "--resume"],
        ["eval", "--model", "nano", "--output", "new"],
        ["eval", "--model", "nano", "--output", "new", "--dry-run"],
        ["plan"],
    ],
    ids=" ".join,
)
def test_every_command_that_plans_goes_through_the_list(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks, "CHECKS", (Check("all", refuse, "All runs."),))
    config = load.load(None, tasks=["rsvqa/lr"])
    old = {"config": config.model_dump(mode="json"), "stage_folders": config.stage_folders()}
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "resolved.json").write_text(json.dumps(old))
    assert "the list was reached" in failure([*command, "--tasks", "rsvqa/lr"], capsys)


def test_a_plan_for_another_machine_does_not_ask_its_servers() -> None:
    settings = ["stages.2.generation=vllm-server", "stages.2.vllm.url=http://127.0.0.1:1"]
    (check,) = [each for each in checks.CHECKS if each.name == "vllm servers"]
    config = load.load(None, overrides=settings)
    check.run(Context(config=config, registry=None, elsewhere=True))  # type: ignore[arg-type]
