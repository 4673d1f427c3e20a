"""Every hook is called and heard: at least one test is named after each (docs/test_names.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from geovlm.api import Prediction, StageInfo
from geovlm.errors import PluginUnavailableError
from geovlm.plugins import registry
from geovlm.plugins.discover import discover
from tests.fake_plugins import CALLBACKS, REWARD, TOY, geovlm, install

METRIC = """
from geovlm import hookimpl
from geovlm.api import MetricSpec

def count(predictions):
    return {"count": float(len(predictions))}

@hookimpl
def geovlm_metrics():
    return [MetricSpec(name="counting", summary="How many.", compute=count)]
"""
TASK_SET = """
from geovlm import hookimpl
from geovlm.api import SetEntry, TaskSetSpec

def entries():
    yield SetEntry(benchmark="Tiles", task="toy/find", data_options={"shout": True})
    yield SetEntry(benchmark="Floods", task="floods/depth")

@hookimpl
def geovlm_task_sets():
    return [TaskSetSpec(name="exam", summary="Two benchmarks.", entries="exam_plugin:entries")]
"""
PROFILE = """
from geovlm import hookimpl
from geovlm.api import ModelProfile

@hookimpl
def geovlm_model_profile(model_type):
    {body}
"""
CALLBACK = (
    "from transformers import TrainerCallback\n"
    "    class Announce(TrainerCallback): pass\n"
    "    yield Announce()"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._load.cache_clear()
    yield tmp_path
    registry._load.cache_clear()


def stage(*tasks: str) -> StageInfo:
    return StageInfo(index=0, kind="sft", tasks=tasks, output=Path("out"), is_main_process=True)


def test_geovlm_datasets_declares_a_data_set(folder: Path) -> None:
    install(folder, "toy", TOY)
    assert discover().datasets["toy"].folders == ("Toy_v1", "toy")


def test_geovlm_tasks_declares_tasks(folder: Path) -> None:
    install(folder, "toy", TOY)
    assert [name for name in discover().tasks if name.startswith("toy")] == ["toy/name", "toy/find"]


def test_geovlm_rewards_declares_a_reward(folder: Path) -> None:
    install(folder, "one", REWARD.format(name="one/always"))
    assert discover().rewards["one/always"].score("", None) == 1.0


def test_geovlm_metrics_declares_a_metric(folder: Path, prediction: type[Prediction]) -> None:
    install(folder, "counting", METRIC)
    metric = discover().metrics["counting"]
    assert metric.compute([prediction("a"), prediction("b")]) == {"count": 2.0}


def test_geovlm_task_sets_chooses_the_tasks_that_are_there(folder: Path) -> None:
    install(folder, "toy", TOY)
    install(folder, "exam", TASK_SET)
    loaded = registry.load()
    assert [one.spec.name for one in loaded.select("exam")] == ["toy/find"]
    assert loaded.absent(["exam"]) == {"floods/depth": "Floods: no plugin provides it"}


def test_geovlm_model_profile_that_raises_is_passed_over_with_one_warning(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(folder, "fails", PROFILE.format(body="1 / 0"))
    loaded = registry.load()
    names = [loaded.profile("qwen2_5_vl").name for _ in range(2)]
    assert names == ["qwen2.5-vl", "qwen2.5-vl"]
    assert capsys.readouterr().err == (
        "warning: the model profiles of plugin 'fails' (geovlm-fails 0.1.0) are left out: "
        "geovlm_model_profile failed: ZeroDivisionError: division by zero\n"
    )


def test_geovlm_model_profile_of_a_wrong_type_is_passed_over(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(folder, "fails", PROFILE.format(body="return 'qwen'"))
    assert registry.load().profile("qwen2_5_vl").name == "qwen2.5-vl"
    assert "ModelProfile objects are wanted, got 'qwen'" in capsys.readouterr().err


def test_geovlm_commands_adds_a_command(tmp_path: Path) -> None:
    code = """
from geovlm import hookimpl

@hookimpl
def geovlm_commands(app):
    print("talk of the hook")

    @app.command("toy-hello")
    def hello():
        print("hello")
"""
    install(tmp_path, "cmd", code)
    done = geovlm("toy-hello", folder=tmp_path)
    assert (done.stdout, done.stderr) == ("hello\n", "talk of the hook\n")


def test_geovlm_commands_that_exits_does_not_end_the_help(tmp_path: Path) -> None:
    install(
        tmp_path,
        "cmd",
        "from geovlm import hookimpl\n@hookimpl\ndef geovlm_commands(app): raise SystemExit(0)\n",
    )
    done = geovlm("--help", folder=tmp_path)
    assert "Commands:" in done.stdout
    assert "warning: commands of plugin 'cmd' are missing: SystemExit: 0" in done.stderr


def test_geovlm_callbacks_yields_callbacks_for_a_stage(folder: Path) -> None:
    install(folder, "tells", CALLBACKS.format(body=CALLBACK))
    (callback,) = registry.load().callbacks(stage("xbd/detect"))
    assert type(callback).__name__ == "Announce"


def test_geovlm_callbacks_that_raises_half_way_costs_all_of_its_callbacks_and_a_warning(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(folder, "fails", CALLBACKS.format(body=CALLBACK + "\n    1 / 0"))
    assert registry.load().callbacks(stage("xbd/detect")) == []
    assert capsys.readouterr().err == (
        "warning: the callbacks of plugin 'fails' (geovlm-fails 0.1.0) are left out: "
        "geovlm_callbacks failed: ZeroDivisionError: division by zero\n"
    )


def test_geovlm_callbacks_that_raises_stops_a_stage_with_a_task_of_the_plugin(folder: Path) -> None:
    install(folder, "toy", TOY + CALLBACKS.format(body="1 / 0"))
    with pytest.raises(PluginUnavailableError, match=r"plugin 'toy' \(geovlm-toy 0\.1\.0\): geo"):
        registry.load().callbacks(stage("toy/name"))


def test_geovlm_callbacks_of_a_wrong_type_are_not_used(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(folder, "fails", CALLBACKS.format(body="return [print]"))
    assert registry.load().callbacks(stage("xbd/detect")) == []
    assert "TrainerCallback objects are wanted" in capsys.readouterr().err
