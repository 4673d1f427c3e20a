from __future__ import annotations

from pathlib import Path

import pytest

from geovlm.plugins import installed as plugins_installed
from tests.fake_plugins import REWARD, install


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def names(installed: plugins_installed.Installed) -> list[str]:
    return [plugin.entry.name for plugin in installed.plugins]


def test_a_distribution_seen_twice_on_the_path_counts_once(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path_factory.mktemp("second")
    install(folder, "seen", "")
    install(second, "seen", "")
    monkeypatch.syspath_prepend(str(second))
    assert names(plugins_installed.find(group="geovlm")).count("seen") == 1


def test_a_damaged_file_of_another_project_hides_nobody_and_is_named(folder: Path) -> None:
    install(folder, "fine", "")
    info = folder / "damaged-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: damaged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[geovlm]\nno equals sign\n")
    found = plugins_installed.find(group="geovlm")
    assert {"fine", "xbd"} <= set(names(found))
    (problem,) = found.problems
    assert problem.startswith("distribution 'damaged' has an unreadable entry_points.txt")


def test_a_plugin_without_metadata_is_of_an_unknown_distribution(folder: Path) -> None:
    install(folder, "bare", REWARD.format(name="bare"))
    (folder / "geovlm_bare-0.1.0.dist-info" / "METADATA").unlink()
    installed = plugins_installed.find(group="geovlm").plugins
    (plugin,) = [each for each in installed if each.entry.name == "bare"]
    assert plugin.metadata == ("unknown", "unknown", ())
