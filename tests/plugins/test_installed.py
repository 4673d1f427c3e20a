from __future__ import annotations

import shutil
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


def empty(folder: Path, name: str) -> Path:
    """Write what an interrupted uninstall leaves (python/importlib_metadata#489)."""
    info = folder / f"{name}.dist-info"
    info.mkdir()
    return info


@pytest.fixture
def behind(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder that comes after `folder` on the path."""
    second = tmp_path_factory.mktemp("behind")
    monkeypatch.syspath_prepend(str(second))
    monkeypatch.syspath_prepend(str(folder))
    return second


def found() -> tuple[list[str], list[str]]:
    """Return names and versions of plugins of these tests, and the problems."""
    present = plugins_installed.find(group="geovlm")
    own = [p for p in present.plugins if p.entry.name in ("floods", "bare")]
    return [f"{p.entry.name} {p.metadata.version}" for p in own], present.problems


def test_an_empty_metadata_folder_hides_no_plugin(folder: Path, behind: Path) -> None:
    info = empty(folder, "geovlm_floods-0.0.9")
    install(behind, "floods", "")
    plugins, (problem,) = found()
    assert plugins == ["floods 0.1.0"]
    good = behind / "geovlm_floods-0.1.0.dist-info"
    assert problem == (f"geovlm-floods: {info} holds no metadata (delete it; {good} counts)")


def test_a_plugin_of_another_name_is_not_hidden_either(folder: Path, behind: Path) -> None:
    empty(folder, "Eo_Floods-0.0.9")
    install(behind, "floods", "", distribution="eo-floods")
    plugins, problems = found()
    assert (plugins, len(problems)) == (["floods 0.1.0"], 1)


def test_an_empty_folder_without_another_is_named(folder: Path) -> None:
    info = empty(folder, "geovlm_floods-0.0.9")
    assert found() == (
        [],
        [
            f"geovlm-floods: {info} holds no metadata "
            "(pip install --force-reinstall geovlm-floods, or delete the folder)"
        ],
    )


def test_metadata_that_name_no_plugin_hide_none(folder: Path, behind: Path) -> None:
    info = empty(folder, "geovlm_floods-0.1.0")
    (info / "METADATA").write_text("Name: geovlm-floods\nVersion: 0.1.0\n")
    install(behind, "floods", "")
    plugins, (problem,) = found()
    assert (plugins, f"{info} names no plugin" in problem) == (["floods 0.1.0"], True)


def test_the_newest_of_two_versions_in_one_folder_counts(folder: Path) -> None:
    install(folder, "floods", "")
    older = folder / "geovlm_floods-0.0.9.dist-info"
    shutil.copytree(folder / "geovlm_floods-0.1.0.dist-info", older)
    (older / "METADATA").write_text("Name: geovlm-floods\nVersion: 0.0.9\n")
    (older / "entry_points.txt").write_text("[geovlm]\nfloods = geovlm_floods_of_old\n")
    plugins, (problem,) = found()
    assert plugins == ["floods 0.1.0"]
    assert f"several versions: 0.0.9 in {folder}, 0.1.0 in {folder} (0.1.0 counts" in problem


def test_an_egg_info_of_a_develop_install_is_another_version(folder: Path, behind: Path) -> None:
    egg = folder / "geovlm_floods.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Name: geovlm-floods\nVersion: 0.0.1\n")
    (egg / "entry_points.txt").write_text("[geovlm]\nfloods = floods_plugin\n")
    install(behind, "floods", "")
    plugins, (problem,) = found()
    assert plugins == ["floods 0.0.1"]  # its code comes first too
    assert f"0.0.1 in {folder}, 0.1.0 in {behind} (0.0.1 counts" in problem


def test_one_version_in_two_folders_is_no_conflict(folder: Path, behind: Path) -> None:
    install(folder, "floods", "")
    install(behind, "floods", "")
    assert found() == (["floods 0.1.0"], [])


def test_conflicts_of_other_projects_are_not_ours(folder: Path, behind: Path) -> None:
    empty(folder, "requests-0.0.9")
    empty(behind, "requests-2.0")
    empty(folder, "torch-0.0.9")
    assert plugins_installed.conflicts(group="geovlm") == []
    (torch,) = plugins_installed.conflicts(group="geovlm", also=["torch", "numpy"])
    assert (torch.project, torch.used) == ("torch", None)


def test_unreadable_metadata_are_named(folder: Path) -> None:
    install(folder, "bare", REWARD.format(name="bare"))
    (folder / "geovlm_bare-0.1.0.dist-info" / "METADATA").write_bytes(b"\xff\xfe\x00")
    plugins, (problem,) = found()
    assert plugins == ["bare unknown"]
    assert problem.startswith("plugin 'bare': its metadata cannot be read")


def test_a_version_is_found_behind_an_empty_folder(folder: Path) -> None:
    before = plugins_installed.version("torch")
    empty(folder, "torch-0.0.9")
    assert before is not None
    assert plugins_installed.version("torch") == before
    assert plugins_installed.version("no-such-distribution") is None


def test_nothing_here_contradicts_itself() -> None:
    assert plugins_installed.conflicts(group="geovlm", also=["torch", "numpy", "trl"]) == []
