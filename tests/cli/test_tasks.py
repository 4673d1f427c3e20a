from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest

from geovlm import cli
from geovlm.plugins import registry
from tests.fake_plugins import REWARD, TASK, TOY, geovlm, install

HEAVY = ("torch", "transformers", "trl", "datasets", "numpy", "PIL", "pydantic", "rich")


def test_tasks_list_prints_a_header_and_one_tab_separated_line_per_task(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    lines = geovlm("tasks", "list", folder=tmp_path).stdout.splitlines()
    assert lines[0].split("\t")[:3] == ["task", "version", "dataset"]
    assert "toy/name\t1\ttoy\tno\trecall\ttoy\tName the tile." in lines


def test_tasks_list_says_whether_the_data_is_there(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    (tmp_path / "eo" / "Toy_v1").mkdir(parents=True)
    done = geovlm("tasks", "list", "--data", str(tmp_path / "eo"), folder=tmp_path)
    assert "toy/name\t1\ttoy\tyes" in done.stdout


def test_tasks_list_as_json_holds_both_sets_of_rewards(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    rows = json.loads(geovlm("tasks", "list", "--json", folder=tmp_path).stdout)
    (row,) = [row for row in rows if row["name"] == "toy/name"]
    assert row["rewards"] == {"paper": {"recall": 1.0}, "robust": {"toy/one": 1.0}}
    assert row["usable"] is True


def test_tasks_list_of_a_set_has_a_line_per_benchmark(tmp_path: Path) -> None:
    lines = geovlm("tasks", "list", "--set", "paper", folder=tmp_path).stdout.splitlines()
    assert lines[0] == "benchmark\ttask\tdata\tdata options\tsummary"
    assert lines[2].startswith("UC Merced\tscenes/ucm\tno\tsplit_by=none\t")


def test_tasks_list_of_an_unknown_set_gets_a_suggestion(tmp_path: Path) -> None:
    done = geovlm("tasks", "list", "--set", "papr", folder=tmp_path)
    assert done.returncode == 2
    assert "unknown set of tasks 'papr'. Did you mean 'paper'?" in done.stderr


def test_tasks_list_marks_an_unusable_task(tmp_path: Path) -> None:
    install(tmp_path, "lost", TASK.format(name="lost", dataset="nowhere"))
    done = geovlm("tasks", "list", folder=tmp_path)
    assert "UNUSABLE: it needs data set 'nowhere': no plugin provides it" in done.stdout


def test_tasks_list_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.argv = ['geovlm', 'tasks', 'list']\n"
        "from geovlm.cli import main\n"
        "try:\n    main()\n"
        f"finally:\n    print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("threshold", "meanwhile"), [(700, 100_000), (200_000, 200_000), (0, 0)])
def test_a_command_collects_seldom_and_leaves_collection_as_it_was(
    threshold: int, meanwhile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(registry, "load", lambda: seen.append(gc.get_threshold()) or 1 / 0)
    before = gc.get_threshold()
    gc.set_threshold(threshold, 10, 10)
    try:
        with pytest.raises(ZeroDivisionError):
            cli.main(["tasks", "list"])
        assert gc.get_threshold() == (threshold, 10, 10)
    finally:
        gc.set_threshold(*before)
    assert seen == [(meanwhile, 10, 10)]


def test_tasks_show_prints_example_formulas_licence_and_option_docstrings(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    done = geovlm("tasks", "show", "toy/name", folder=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert "example question: What is it?" in lines
    assert "example reasoning: It is blue." in lines
    assert "rewards, robust: 1 x toy/one = 1" in lines
    assert "licence: CC0-1.0" in lines
    assert "task option: shout = False: Whether labels are in capitals." in lines
    assert any(line.startswith("rewards, paper: 1 x recall = TP / (TP + FN) [") for line in lines)


def test_tasks_show_as_json_can_be_parsed(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    full = json.loads(geovlm("tasks", "show", "toy/name", "--json", folder=tmp_path).stdout)
    assert full["example"]["answer"] == "water"
    assert full["dataset"]["citation"] == "Nobody 2026"


def test_an_unknown_task_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    done = geovlm("tasks", "show", "toy/nme", folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: unknown task 'toy/nme'. Did you mean 'toy/name'?")
    assert len(done.stderr.splitlines()) == 1


def test_a_prefix_where_one_task_is_needed_lists_its_tasks(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    done = geovlm("tasks", "show", "toy", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: 'toy' is a prefix of tasks; choose one of toy/find, toy/name.\n"


def test_tasks_preview_draws_one_picture_per_sample(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    out = tmp_path / "out"
    done = geovlm("tasks", "preview", "toy/name", "--out", str(out), "-n", "2", folder=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [str(out / f"toy__name-00{i}.png") for i in range(2)]
    assert "generated data" in done.stderr


def test_tasks_preview_tells_what_is_assumed_about_images(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    data = tmp_path / "data"
    geovlm("data", "sample", "toy", "--out", str(data), "-n", "2", folder=tmp_path)
    picture = data / "train" / "0.png"
    picture.with_name(f"{picture.name}.msk").touch()
    flags = ["--data", str(data), "--out", str(tmp_path / "out"), "-n", "2"]
    done = geovlm("tasks", "preview", "toy/name", *flags, folder=tmp_path)
    assert done.returncode == 0
    assert done.stderr.count(f"note: {picture}: {picture.name}.msk is not applied") == 1


def test_tasks_preview_shows_the_pixels_that_nano_sees(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    flags = ["--out", str(tmp_path / "out"), "-n", "1", "--model-pixels", "nano", "--json"]
    (row,) = json.loads(geovlm("tasks", "preview", "toy/name", *flags, folder=tmp_path).stdout)
    assert row["image_sizes"] == [[56, 56]]
    assert row["input_sizes"] == [[84, 84]]


def test_tasks_preview_draws_gold_boxes_on_the_stored_image(tmp_path: Path) -> None:
    from PIL import Image

    install(tmp_path, "toy", TOY)
    out = tmp_path / "out"
    geovlm("tasks", "preview", "toy/name", "--out", str(out), "-n", "1", folder=tmp_path)
    with Image.open(out / "toy__name-000.png") as picture:
        # 56 px are drawn as 420 px from (12, 30): the left edge x = 7 lies at 12 + 7 * 7.5
        assert picture.getpixel((64, 30 + 120)) == (255, 208, 0)


def test_model_pixels_that_are_no_model_are_refused(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    flags = ["--out", str(tmp_path / "out"), "--model-pixels", "nanoo"]
    done = geovlm("tasks", "preview", "toy/name", *flags, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: --model-pixels 'nanoo' is not a model")


def test_no_plugin_hides_a_plugin(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    done = geovlm("--no-plugin", "toy", "tasks", "list", folder=tmp_path)
    assert "toy/name" not in done.stdout


def test_debug_shows_the_traceback_of_a_plugin(tmp_path: Path) -> None:
    install(tmp_path, "bad", "import shapely_not_there")
    done = geovlm("--debug", "tasks", "list", folder=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ModuleNotFoundError" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["taks"], "error: unknown command 'geovlm taks' (did you mean 'tasks'?"),
        (["tasks", "lst"], "error: unknown command 'geovlm tasks lst' (did you mean 'list'?"),
        (["tasks", "show"], "error: missing argument"),
        (["tasks", "list", "--jsn"], "error: no such option"),
        (["tasks"], "error: missing command (see 'geovlm tasks --help')"),
    ],
)
def test_an_impossible_command_line_is_one_line(
    tmp_path: Path, argv: list[str], message: str
) -> None:
    done = geovlm(*argv, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


def test_help_lists_every_command_and_those_of_plugins(tmp_path: Path) -> None:
    code = """
from geovlm import hookimpl

@hookimpl
def geovlm_commands(app):
    @app.command("toy-hello")
    def hello():
        "Say hello."
        print("hello")

    @app.command("run")
    def run():
        "Steal a name."
"""
    install(tmp_path, "cmd", code)
    done = geovlm("--help", folder=tmp_path)
    assert "  tasks " in done.stdout
    assert "toy-hello  Say hello." in done.stdout
    assert "warning: plugin 'cmd' may not replace the command 'run'" in done.stderr
    assert geovlm("toy-hello", folder=tmp_path).stdout == "hello\n"


def test_failing_commands_of_a_plugin_cost_a_warning_only(tmp_path: Path) -> None:
    code = "from geovlm import hookimpl\n@hookimpl\ndef geovlm_commands(app): 1 / 0\n"
    install(tmp_path, "cmd", code)
    done = geovlm("--help", folder=tmp_path)
    assert done.returncode == 0
    assert "warning: commands of plugin 'cmd' are missing: ZeroDivisionError" in done.stderr


def test_core_commands_do_not_ask_plugins_for_commands(tmp_path: Path) -> None:
    code = REWARD.format(name="cmd") + "\n@hookimpl\ndef geovlm_commands(app): 1 / 0\n"
    install(tmp_path, "cmd", code)
    assert "ZeroDivisionError" not in geovlm("rewards", "list", folder=tmp_path).stderr


def test_a_plugin_may_add_a_group_of_commands(tmp_path: Path) -> None:
    code = """
import typer
from geovlm import hookimpl

@hookimpl
def geovlm_commands(app):
    group = typer.Typer()

    @group.command()
    def one(): print("one")

    @group.command()
    def two(): print("two")

    app.add_typer(group, name="toys", help="Toys.")
"""
    install(tmp_path, "cmd", code)
    assert geovlm("toys", "two", folder=tmp_path).stdout == "two\n"


def test_tasks_preview_takes_data_and_settings_as_a_run_does(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    data = tmp_path / "mine"
    geovlm("data", "sample", "toy", "--out", str(data), "-n", "1", folder=tmp_path)
    flags = ["--out", str(tmp_path / "out"), "--data", f"toy={data}", "--json"]
    flags += ["--set", "tasks.toy/name.min_pixels=50176", "--profile", "qwen2_5_vl"]
    (row,) = json.loads(geovlm("tasks", "preview", "toy/name", *flags, folder=tmp_path).stdout)
    assert row["input_sizes"] == [[224, 224]]
