"""Checks of `geovlm doctor` that start no process."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from geovlm.plugins import registry
from geovlm.run.doctor import machine

ROOT = Path(__file__).parents[2]
TESTED = machine.tested()


def states(checks: list[machine.Check]) -> dict[str, str]:
    return {each.check: each.state for each in checks}


def test_the_tested_versions_in_the_package_are_those_of_ci() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert dict(re.findall(r"^([\w-]+)==(\S+)$", text, re.M)) == TESTED
    assert len(TESTED) == len([line for line in text.splitlines() if line[:1] not in ("", "#")])


def test_versions_for_vllm_are_the_tested_ones_but_for_numpy() -> None:
    text = (ROOT / "constraints-vllm.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", text, re.M))
    # vLLM 0.30 wants mistral_common, and that wants numpy<2.4 on Python 3.11 and 3.12
    assert pinned == {**TESTED, "numpy": "2.3.5", "vllm": "0.30.0"}


def test_tested_versions_are_one_line() -> None:
    checks = machine.versions({"torch": TESTED["torch"] + "+cpu"}, ["torch>=2.6"])
    assert states(checks) == {"python": "ok", "versions": "ok"}
    assert checks[-1].found == "1 packages are as tested, 0 are not"


def test_an_untested_version_is_a_warning_with_the_tested_one() -> None:
    checks = machine.versions({"torch": "2.6.0"}, ["torch>=2.6"])
    assert checks[-1] == machine.Check(
        "torch",
        "warn",
        f"2.6.0, tested with {TESTED['torch']}",
        f"if something fails: pip install torch=={TESTED['torch']}",
    )


def test_a_version_out_of_range_and_a_missing_package_fail() -> None:
    wanted = ["trl<2,>=1.16", "pluggy>=1.6", "pyogrio>=0.10; extra == 'geo'"]
    checks = machine.versions({"trl": "0.9.6"}, wanted)
    assert states(checks) == {"python": "ok", "trl": "FAIL", "pluggy": "FAIL", "versions": "ok"}
    assert checks[1].fix == "pip install 'trl<2,>=1.16'"
    assert checks[2].found == "not installed"


def test_the_installed_versions_are_looked_up() -> None:
    assert "FAIL" not in states(machine.versions()).values()


def test_a_hidden_package_is_a_warning_with_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (check,) = machine.imports()
    assert (check.check, check.state) == ("import datasets", "warn")
    assert check.found == f"{tmp_path}/datasets/__init__.py hides the module datasets"


def test_an_empty_metadata_folder_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "torch-0.0.9.dist-info").mkdir()
    (check,) = machine.conflicts()
    assert (check.check, check.state) == ("metadata of torch", "warn")
    assert "torch-0.0.9.dist-info holds no metadata" in check.found
    assert "FAIL" not in states(machine.versions()).values()


def test_plugins_that_do_not_work_are_named() -> None:
    records = [
        SimpleNamespace(name="xbd", status="active"),
        SimpleNamespace(name="floods", status="broken"),
        SimpleNamespace(name="off", status="disabled"),
    ]
    checks = machine.plugins(SimpleNamespace(plugins=records, tasks={"xbd/detect": None}))
    assert states(checks) == {"plugins": "ok", "plugin floods": "warn"}
    assert checks[1].fix == "geovlm plugins doctor floods"


def test_the_installed_plugins_are_counted() -> None:
    assert machine.plugins(registry.load())[0].state == "ok"


@pytest.mark.parametrize(
    ("free", "state"), [(10**9, "FAIL"), (20 * 10**9, "warn"), (90 * 10**9, "ok")]
)
def test_free_space_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    monkeypatch.setattr(machine, "write_speed", lambda folder: 1e9)
    assert machine.disk(tmp_path / "not" / "yet")[0].state == state


def test_a_slow_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "write_speed", lambda folder: 10e6)
    last = machine.disk(tmp_path)[-1]
    assert (last.state, last.found) == ("warn", "10 MB/s")


def test_a_folder_that_cannot_be_written_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert states(machine.disk(tmp_path)) == {"disk": "FAIL"}


def test_writing_is_measured_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_WRITTEN", 4 << 20)
    assert machine.write_speed(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []


def test_little_shared_memory_matters_to_several_ranks_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=64 << 20))
    assert machine.shared_memory(ranks=1, folder=tmp_path) == []
    assert states(machine.shared_memory(ranks=2, folder=tmp_path)) == {"shared memory": "warn"}
