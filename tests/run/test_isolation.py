"""Our processes import nothing from the working folder, whatever lies there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from geovlm.errors import ConfigError
from geovlm.run import imports, launch
from geovlm.run.imports import Hidden, hidden
from geovlm.run.machines import Machine
from geovlm.run.parallel import Layout
from geovlm.run.process import execute, isolated, python

ROOT = Path(__file__).parents[2]
NAMES = ("datasets", "torch", "json", "types", "random", "numpy", "logging", "geovlm", "models")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder whose packages and files have the names of modules, and cannot be imported.

    Such names are those of many research repositories (meta-pytorch/data#751).
    """
    folder = tmp_path / "project"
    for name in NAMES[:3]:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise OSError('{name} of the project')")
    for name in NAMES[3:]:
        (folder / f"{name}.py").write_text(f"raise OSError('{name} of the project')")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    return folder


def text(argv: list[str], **variables: str) -> str:
    """Return standard output of a process that succeeds."""
    environment = isolated() | variables
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_process_finds_the_installed_modules(project: Path) -> None:
    code = (
        "import geovlm, json, logging, random, types; from importlib.util import find_spec;"
        "print(*(find_spec(name).origin for name in ('datasets', 'torch', 'numpy')))"
    )
    assert str(project) not in text(python("-c", code))


def test_a_process_of_a_process_does_too(project: Path) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'json.tool', '--help'])"
    assert "python -m json.tool" in text(python("-c", code))


def test_an_empty_entry_of_pythonpath_is_not_the_working_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{os.environ.get('PYTHONPATH', '')}:")
    assert str(project) not in text(python("-c", "import types, json; print(json.__file__)"))


def test_the_ranks_of_a_launcher_do_too(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "who.py").write_text("import json, os; open('rank-' + os.environ['RANK'], 'w')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    ranks = Layout(machine=Machine(), world_size=2, machines=1, local=2)
    yaml = tmp_path / "accelerate.yaml"
    yaml.write_text(launch.accelerate_config(ranks, on_cpu=True, port=launch.free_port()))
    argv = launch.command(yaml, run=tmp_path, stage="0", module="who")
    done = execute(argv, variables=launch.environment(2, on_cpu=True), log=tmp_path / "log")
    assert (done.status, sorted(each.name for each in project.glob("rank-*"))) == (
        0,
        ["rank-0", "rank-1"],
    )


def test_a_module_on_pythonpath_counts_in_the_working_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_plugin.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert text(python("-c", "import my_plugin; print('found')"), PYTHONPATH=".") == "found"


def test_python_m_runs_the_installed_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "packaging.py").write_text("raise OSError('packaging of the project')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    argv = [sys.executable, "-m", "geovlm.cli", "tasks", "list"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, "xbd/count" in done.stdout, done.stderr) == (0, True, "")


def test_a_command_that_ignores_the_environment_hands_that_on() -> None:
    code = (
        "from geovlm.run.process import isolated as i; print(i().get('PYTHONPATH'), *sorted(i()))"
    )
    argv = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
    found = text(argv, PYTHONPATH="/nowhere").split()
    assert (found[0], "PYTHONNOUSERSITE" in found) == ("None", True)


def test_only_one_function_makes_command_lines_of_python() -> None:
    made = re.compile(r"[\[(]\s*sys\.executable")
    uses = {
        path.relative_to(ROOT / "geovlm").as_posix()
        for path in (ROOT / "geovlm").rglob("*.py")
        if made.search(path.read_text(encoding="utf-8"))
    }
    assert uses == {"run/process.py", "cli/__main__.py"}  # python(); the second starts itself again


def test_what_a_folder_of_pythonpath_hides_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", ".")
    found = {each.module: each for each in hidden()}
    assert set(found) == {"datasets", "torch", "json", "types", "random", "numpy", "logging"}
    assert str(found["datasets"]) == f"{project}/datasets/__init__.py hides the module datasets"
    assert found["datasets"].fix.startswith(f"remove {project} from PYTHONPATH")
    assert found["random"].fix.startswith(f"remove {project} from PYTHONPATH")


def test_another_installation_on_pythonpath_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").touch()
    (tmp_path / "numpy-2.0.0.dist-info").mkdir()
    (tmp_path / "numpy-2.0.0.dist-info" / "METADATA").write_text("Name: numpy\nVersion: 2.0.0\n")
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert hidden() == []


def test_nothing_is_hidden_here() -> None:
    assert hidden() == []


def test_a_failed_stage_names_what_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Hidden("datasets", Path("/project/datasets/__init__.py"))
    monkeypatch.setattr(launch, "hidden", lambda: [found])
    with pytest.raises(launch.RunFailedError) as caught:
        launch.raise_for(launch.Outcome(1, ""), name="0-sft", log=Path("log"))
    assert "/project/datasets/__init__.py hides the module datasets" in caught.value.hint
    assert "remove /project from PYTHONPATH" in caught.value.hint


def _torchvision(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes find this torchvision, and a torch that is imported at once."""
    for name, text in {"torch": "__version__ = '2.13.0+cpu'", "torchvision": code}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(text)
        (folder / f"{name}-0.28.0.dist-info").mkdir()
        info = f"Name: {name}\nVersion: 0.28.0\n"
        (folder / f"{name}-0.28.0.dist-info" / "METADATA").write_text(info)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("GEOVLM_CACHE", str(folder / "cache"))
    monkeypatch.syspath_prepend(str(folder))
    for name in ("torch", "torchvision"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_torchvision_of_another_torch_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "raise RuntimeError('operator torchvision::nms does not exist')"
    _torchvision(tmp_path, code, monkeypatch)
    with pytest.raises(ConfigError) as caught:
        imports.require_torchvision()
    assert str(caught.value) == (
        "torchvision 0.28.0 does not fit torch 2.13.0+cpu: RuntimeError: operator torchvision::nms "
        "does not exist (pip uninstall torchvision, or install the one that belongs to torch)"
    )


def test_a_torchvision_that_fits_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = tmp_path / "tried"
    code = f"open({str(tried)!r}, 'a').write('x')"
    _torchvision(tmp_path, code, monkeypatch)
    imports.require_torchvision()
    imports.require_torchvision()
    assert tried.read_text() == "x"


def test_an_absent_torchvision_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports.util, "find_spec", lambda name: None)
    monkeypatch.setattr(imports.subprocess, "run", None)
    imports.require_torchvision()


def test_a_program_of_the_engine_is_not_started_with_a_torchvision_that_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "torchvision_fault", lambda: "it does not fit")
    monkeypatch.setattr(launch, "execute", None)
    with pytest.raises(ConfigError, match="it does not fit"):
        launch.start("merge", folder=tmp_path, on_cpu=True)
