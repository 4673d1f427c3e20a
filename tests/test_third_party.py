"""A stranger's plugin, built as a wheel, beside the wheels of the core and of xBD.

Each environment is a fresh virtual environment outside the repository into which pip installs the
three wheels. torch and the other requirements are not downloaded again: a `.pth` file shows the
environment the packages of the one that runs the tests, as links and without everything named
geovlm, so that no editable install can be seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "geovlm-plugin-eurosat"
SHORT = (
    'stages=[{kind="sft",steps=4,trainer={per_device_train_batch_size=8}},{kind="grpo",steps=2,'
    "batch_size=8,trainer={per_device_train_batch_size=16,max_completion_length=24}}]",
    "eval.limit=4",
    "eval.resamples=10",
    "eval.base=false",
    "eval.blind=off",
    "sample.records=8",
)
"""Training without a probe: four steps of SFT, two of GRPO."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the three wheels."""

    folder: Path

    def run(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment."""
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        return subprocess.run(
            [str(self.folder / "bin" / words[0]), *words[1:]],
            cwd=cwd or self.folder,
            env=kept | {"GEOVLM_CACHE": str(self.folder / "cache")},
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    def pip(self, *words: str) -> None:
        """Let the pip of the tests work on this environment."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.folder / "bin" / "python")]
        subprocess.run([*pip, *words], check=True, capture_output=True)

    def tasks(self) -> list[str]:
        """Return the names that `geovlm tasks list` knows."""
        return [row["name"] for row in json.loads(self.run("geovlm", *LIST).stdout)]


LIST = ("tasks", "list", "--json")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    sources = [str(ROOT), str(ROOT / "plugins" / "xbd"), str(EXAMPLE)]
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(folder), *sources], check=True, capture_output=True)
    return sorted(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return make(tmp_path_factory.mktemp("environment"), wheels)


def make(folder: Path, wheels: Sequence[Path]) -> Environment:
    # dill, with which datasets hashes functions, knows libraries by the name of this folder
    venv, others = Environment(folder / "venv"), folder / "others" / "site-packages"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv.folder], check=True)
    others.mkdir(parents=True)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "geovlm" not in entry.name:
            (others / entry.name).symlink_to(entry)
    (site,) = (venv.folder / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text(f"{others}\n", encoding="utf-8")
    venv.pip("install", "--no-deps", "--no-index", *map(str, wheels))
    return venv


def test_the_wheels_alone_are_imported(installed: Environment) -> None:
    code = "import geovlm, geovlm_xbd, geovlm_eurosat as e; print(geovlm.__file__, e.__file__)"
    files = installed.run("python", "-c", code).stdout.split()
    assert len(files) == 2
    assert all(Path(file).is_relative_to(installed.folder) for file in files)


def test_the_wheel_says_that_the_package_is_typed(wheels: list[Path]) -> None:
    core = next(wheel for wheel in wheels if wheel.name.startswith("geovlm-"))
    with ZipFile(core) as held:
        assert "geovlm/py.typed" in held.namelist()


def test_the_stranger_is_listed_beside_the_others(installed: Environment) -> None:
    assert {"eurosat", "xbd/affected"} <= set(installed.tasks())
    done = installed.run("geovlm", "plugins", "list", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {"builtin", "eurosat", "xbd"}
    assert rows["eurosat"]["status"] == "active"
    assert rows["eurosat"]["hooks"] == [
        "geovlm_callbacks",
        "geovlm_commands",
        "geovlm_datasets",
        "geovlm_metrics",
        "geovlm_model_profile",
        "geovlm_rewards",
        "geovlm_tasks",
    ]


def test_it_keeps_every_rule_of_the_conformance_kit(installed: Environment) -> None:
    done = installed.run("geovlm", "plugins", "check", "eurosat", "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["ok"] is True


def test_its_own_tests_pass(installed: Environment) -> None:
    done = installed.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=EXAMPLE)
    assert done.returncode == 0, done.stdout


def test_its_command_prints_the_split_of_real_tiles(installed: Environment, realdata: Path) -> None:
    done = installed.run("geovlm", "eurosat-split", "--data", str(realdata / "EuroSAT_RGB"))
    rows = dict(line.split("\t") for line in done.stdout.splitlines())
    assert len(rows) == 150
    assert rows["River_8.jpg"] == "test"


def test_its_task_trains_beside_one_of_the_workspace(
    installed: Environment, tmp_path: Path
) -> None:
    sets = [part for one in SHORT for part in ("--set", one)]
    tasks = ("--tasks", "eurosat,xbd/affected")
    done = installed.run("geovlm", "run", *tasks, "--output", str(tmp_path / "run"), *sets)
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())["tasks"]
    assert list(scores) == ["eurosat", "xbd/affected"]
    metrics = scores["eurosat"]["stages"]["grpo"]["metrics"]
    assert metrics["group_accuracy"] >= metrics["accuracy"]
    pace = json.loads((tmp_path / "run" / "stages" / "0-sft" / "pace.json").read_text())
    assert pace["steps"] == 4


def test_its_wheel_takes_its_tasks_with_it_and_nothing_else(
    wheels: list[Path], tmp_path: Path
) -> None:
    venv = make(tmp_path, wheels)
    before = venv.tasks()
    venv.pip("uninstall", "--yes", "geovlm-plugin-eurosat")
    done = venv.run("geovlm", *LIST)
    after = [row["name"] for row in json.loads(done.stdout)]
    assert after == [name for name in before if name != "eurosat"]
    assert done.stderr == ""
