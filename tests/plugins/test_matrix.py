"""Every kind of bad plugin, all installed at once beside a good one, in processes of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.fake_plugins import REWARD, TASK, TOY, geovlm, install

GOOD = REWARD + "\nimport os, sys, time\n"
SLOW = "end = time.perf_counter() + 0.15\nwhile time.perf_counter() < end: pass\n"
HALF_WAY = REWARD + "    raise RuntimeError('half-way')\n"
HOOK_IMPORT = "from geovlm import hookimpl\nfrom geovlm.api import RewardSpec, TaskSpec\n"

BROKEN = {
    "broken_import": ("import shapely_not_there", "ModuleNotFoundError"),
    "exits": ("import sys\nsys.exit(0)", "SystemExit: 0"),
    "skips": ("import pytest\npytest.skip('not here', allow_module_level=True)", "Skipped"),
    "wrong_type": (HOOK_IMPORT + "@hookimpl\ndef geovlm_tasks(): return 7\n", "returned int"),
    "wrong_object": (
        REWARD.format(name="wrong_object").replace("geovlm_rewards", "geovlm_tasks"),
        "must return TaskSpec objects",
    ),
    "wrong_field": (
        TASK.format(name="wrong_field", dataset="toy").replace('("accuracy",)', '"accuracy"'),
        "metrics of 'wrong_field' must be of type tuple[str, ...], is 'accuracy'",
    ),
    "misspelt": (
        REWARD.format(name="misspelt").replace("geovlm_rewards", "geovlm_reward"),
        "unknown hook 'geovlm_reward'; did you mean 'geovlm_rewards'?",
    ),
    "argument": (
        REWARD.format(name="argument").replace("geovlm_rewards()", "geovlm_rewards(model)"),
        "PluginValidationError",
    ),
    "foreign": (
        TASK.format(name="toy/name", dataset="toy"),
        "the name 'toy/name' must be 'foreign' or begin with 'foreign/'",
    ),
    "twice": (
        REWARD.format(name="twice").replace("yield", "for _ in range(2): yield"),
        "geovlm_rewards declares 'twice' twice",
    ),
    "raises": (
        REWARD.format(name="raises").replace("yield", "1 / 0; yield"),
        "ZeroDivisionError: division by zero",
    ),
    "half_way": (HALF_WAY.format(name="half_way"), "RuntimeError: half-way"),
    "endless": (
        REWARD.format(name="endless").replace("yield", "while True: yield"),
        "geovlm_rewards yields more than 10000 objects",
    ),
    "mute_error": (
        "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
        "Mute: its message cannot be shown",
    ),
}
"""Name -> code, and what its warning says."""

HABITS = {
    "prints": (
        "print('hello'); os.write(1, b'from C')",
        "printed when it was imported: hello from C",
    ),
    "takes_stdout": ("sys.stdout = open(os.devnull, 'w')\nprint('lost')", ""),
    "environment": (
        "os.environ['GEOVLM_DATA'] = '/nowhere'; del os.environ['OMP_NUM_THREADS']",
        "changed environment variable GEOVLM_DATA, environment variable OMP_NUM_THREADS when",
    ),
    "moves": ("os.chdir('/')", "changed working folder when"),
}
"""Name -> what a plugin that works does at import, and what its warning says."""

COMMANDS = [
    ("tasks", "list"),
    ("tasks", "show", "toy/name"),
    ("rewards", "list"),
    ("rewards", "try", "toy/one", "--target", "{{}}", "--completion", "x"),
    ("plugins", "list"),
    ("plugins", "doctor", "toy"),
    ("data", "check", "toy", "--data", "{sample}"),
    ("run", "--tasks", "toy", "--dry-run"),
]
"""Commands of the good plugin that print JSON on demand."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All plugins at once: good, broken, ill-mannered, incompatible, slow, disabled."""
    made = tmp_path_factory.mktemp("plugins")
    install(made, "toy", TOY)
    for name, (code, _) in BROKEN.items():
        install(made, name, code)
    for name, (code, _) in HABITS.items():
        install(made, name, GOOD.format(name=name) + code)
    install(made, "future", TOY, requires=["geovlm>=99"])
    install(made, "slow", GOOD.format(name="slow") + SLOW)
    install(made, "off", "raise AssertionError('imported although it is disabled')")
    install(made, "toy", TOY, distribution="geovlm-usurper")
    install(made, "absent", "")
    (made / "absent_plugin.py").unlink()
    return made


@pytest.fixture(scope="module")
def sample(folder: Path) -> Path:
    target = folder / "sample"
    assert call("data", "sample", "toy", "--out", str(target), folder=folder).returncode == 0
    return target


def call(*argv: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return geovlm(*argv, folder=folder, GEOVLM_DISABLE_PLUGINS="off")


def warned(done: subprocess.CompletedProcess[str], name: str) -> list[str]:
    lines = done.stderr.splitlines()
    return [line for line in lines if line.startswith(f"warning: plugin {name!r}")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[:2]))
def test_every_command_of_the_good_plugin_prints_json_only(
    command: tuple[str, ...], folder: Path, sample: Path
) -> None:
    done = call(*(word.format(sample=sample) for word in command), "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


@pytest.fixture(scope="module")
def listed(folder: Path) -> subprocess.CompletedProcess[str]:
    return call("plugins", "list", "--json", folder=folder)


def row(listed: subprocess.CompletedProcess[str], name: str) -> dict[str, object]:
    (one,) = [each for each in json.loads(listed.stdout) if each["name"] == name]
    return one


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_costs_one_warning_that_says_why(
    name: str, listed: subprocess.CompletedProcess[str]
) -> None:
    (line,) = warned(listed, name)
    assert line.startswith(f"warning: plugin {name!r} (geovlm-{name} 0.1.0) is broken: ")
    assert BROKEN[name][1] in line
    assert row(listed, name)["status"] == "broken"


def test_an_entry_point_without_a_module_costs_one_warning(
    listed: subprocess.CompletedProcess[str],
) -> None:
    (line,) = warned(listed, "absent")
    assert line.endswith("is broken: ModuleNotFoundError: No module named 'absent_plugin'")


def test_an_incompatible_plugin_costs_one_warning(
    listed: subprocess.CompletedProcess[str],
) -> None:
    (line,) = warned(listed, "future")
    assert "is incompatible: needs geovlm>=99, this is geovlm " in line


def test_a_usurper_costs_one_warning_and_the_good_plugin_stays(
    listed: subprocess.CompletedProcess[str],
) -> None:
    (line,) = warned(listed, "toy")
    assert "(geovlm-usurper 0.1.0) is broken: the name 'toy' is taken" in line


@pytest.mark.parametrize("name", ["prints", "environment", "moves"])
def test_an_ill_mannered_plugin_works_and_costs_one_warning(
    name: str, listed: subprocess.CompletedProcess[str]
) -> None:
    (line,) = warned(listed, name)
    assert HABITS[name][1] in line
    assert row(listed, name)["status"] == "active"


def test_a_plugin_that_replaces_standard_output_does_not_keep_it(
    listed: subprocess.CompletedProcess[str],
) -> None:
    assert row(listed, "takes_stdout")["status"] == "active"
    assert warned(listed, "takes_stdout") == []


def test_a_slow_plugin_is_named_in_the_list_and_costs_no_warning(
    listed: subprocess.CompletedProcess[str],
) -> None:
    assert "slow import: " in str(row(listed, "slow")["notes"])
    assert warned(listed, "slow") == []


def test_a_disabled_plugin_is_listed_and_costs_no_warning(
    listed: subprocess.CompletedProcess[str],
) -> None:
    assert row(listed, "off")["status"] == "disabled"
    assert warned(listed, "off") == []


def test_there_is_no_other_warning(listed: subprocess.CompletedProcess[str]) -> None:
    lines = [line for line in listed.stderr.splitlines() if line.startswith("warning: ")]
    incompatible_absent_usurper, ill_mannered = 3, 3
    assert len(lines) == len(BROKEN) + incompatible_absent_usurper + ill_mannered


def test_a_flag_disables_a_plugin_and_its_warning(folder: Path) -> None:
    argv = ("--no-plugin", "raises", "--no-plugin", "off", "plugins", "list", "--json")
    done = geovlm(*argv, folder=folder)
    assert warned(done, "raises") == []
    assert row(done, "raises")["status"] == "disabled"
    assert row(done, "off")["status"] == "disabled"


@pytest.mark.parametrize("name", BROKEN)
def test_asking_for_a_task_of_a_broken_plugin_is_fatal_and_explained(
    name: str, folder: Path
) -> None:
    done = call("run", "--tasks", name, "--dry-run", folder=folder)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: task {name!r} is not available: plugin {name!r} (geovlm-{name}")
    assert BROKEN[name][1] in last
    assert f"Run 'geovlm plugins doctor {name}' for the traceback." in last
    assert done.stdout == ""


def test_asking_for_a_task_of_an_incompatible_plugin_names_what_it_needs(folder: Path) -> None:
    done = call("tasks", "show", "future/name", folder=folder)
    assert done.returncode == 2
    assert "needs geovlm>=99" in done.stderr.splitlines()[-1]
    assert "Run 'geovlm plugins doctor future' for what to install." in done.stderr


def test_asking_for_a_task_of_a_disabled_plugin_says_how_to_enable_it(folder: Path) -> None:
    done = call("tasks", "show", "off", folder=folder)
    assert done.returncode == 2
    assert "Remove it from --no-plugin and GEOVLM_DISABLE_PLUGINS." in done.stderr


def test_doctor_explains_every_broken_plugin(folder: Path) -> None:
    done = call("plugins", "doctor", "half_way", folder=folder)
    assert done.returncode == 0
    assert "RuntimeError: half-way" in done.stdout


def test_preview_draws_beside_bad_plugins(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "preview"
    done = call("tasks", "preview", "toy/name", "--out", str(out), "-n", "1", folder=folder)
    assert done.returncode == 0, done.stderr
    assert list(out.glob("*.png"))
