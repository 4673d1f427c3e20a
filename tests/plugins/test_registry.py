from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from geovlm.errors import PluginUnavailableError, UnknownNameError
from geovlm.plugins import registry
from geovlm.plugins.profiles import QWEN2_5_VL
from tests.fake_plugins import TASK, TOY, install


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._load.cache_clear()
    yield tmp_path
    registry._load.cache_clear()


def test_loading_twice_gives_the_same_registry(folder: Path) -> None:
    assert registry.load() is registry.load()


def test_a_task_is_found_by_name(folder: Path) -> None:
    install(folder, "toy", TOY)
    assert registry.load().task("toy/name").dataset == "toy"


def test_an_unknown_task_gets_the_nearest_name_and_the_list(folder: Path) -> None:
    install(folder, "toy", TOY)
    with pytest.raises(UnknownNameError) as caught:
        registry.load().task("toy/nam")
    assert str(caught.value).startswith(
        "unknown task 'toy/nam'. Did you mean 'toy/name'? Available:"
    )


def test_a_task_of_a_broken_plugin_names_the_cause_and_the_doctor(folder: Path) -> None:
    install(folder, "xyz", "import shapely_not_there")
    with pytest.raises(PluginUnavailableError) as caught:
        registry.load().select("xyz")
    assert str(caught.value) == (
        "task 'xyz' is not available: plugin 'xyz' (geovlm-xyz 0.1.0) is broken: "
        "ModuleNotFoundError: No module named 'shapely_not_there'. "
        "Run 'geovlm plugins doctor xyz' for the traceback."
    )


def test_a_task_of_a_disabled_plugin_names_the_switch(folder: Path) -> None:
    install(folder, "toy", TOY)
    with pytest.raises(PluginUnavailableError, match="--no-plugin and GEOVLM_DISABLE_PLUGINS"):
        registry.load(disabled=["toy"]).task("toy/name")


def test_the_environment_disables_plugins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(folder, "toy", TOY)
    monkeypatch.setenv("GEOVLM_DISABLE_PLUGINS", "*")
    loaded = registry.load()
    assert loaded.plugin("toy").status == "disabled"
    assert not loaded.tasks


def test_a_task_over_an_unknown_data_set_is_unusable_with_the_reason(folder: Path) -> None:
    install(folder, "lost", TASK.format(name="lost", dataset="nowhere"))
    loaded = registry.load()
    assert loaded.unusable["lost"] == "it needs data set 'nowhere': no plugin provides it"
    with pytest.raises(PluginUnavailableError, match="task 'lost' is not available: it needs"):
        loaded.task("lost")


def test_a_task_over_a_broken_plugins_data_set_names_that_plugin(folder: Path) -> None:
    install(folder, "lost", TASK.format(name="lost", dataset="base"))
    install(folder, "base", "import shapely_not_there")
    assert "plugin 'base' (geovlm-base 0.1.0) is broken" in registry.load().unusable["lost"]


def test_an_exact_name_is_explicit(folder: Path) -> None:
    install(folder, "toy", TOY)
    (one,) = registry.load().select("toy/find")
    assert (one.spec.name, one.explicit) == ("toy/find", True)


def test_a_prefix_selects_the_children_in_their_order(folder: Path) -> None:
    install(folder, "toy", TOY)
    chosen = registry.load().select("toy")
    assert [one.spec.name for one in chosen] == ["toy/name", "toy/find"]
    assert not any(one.explicit for one in chosen)


def test_a_prefix_selects_deeper_tasks_only_where_there_are_no_others(folder: Path) -> None:
    install(folder, "toy", TOY)
    install(folder, "deep", TASK.format(name="deep/one/two", dataset="toy"))
    select = registry.load().select
    assert [one.spec.name for one in select("deep")] == ["deep/one/two"]
    install(folder, "toy_more", TASK.format(name="toy_more/one", dataset="toy"))
    assert [one.spec.name for one in select("toy")] == ["toy/name", "toy/find"]


def test_a_task_named_twice_is_selected_once_and_stays_explicit(folder: Path) -> None:
    install(folder, "toy", TOY)
    chosen = registry.load().select(["toy/find", "toy"])
    assert [(one.spec.name, one.explicit) for one in chosen] == [
        ("toy/find", True),
        ("toy/name", False),
    ]


def test_a_prefix_with_an_unusable_child_is_refused(folder: Path) -> None:
    install(folder, "lost", TASK.format(name="lost/one", dataset="nowhere"))
    with pytest.raises(PluginUnavailableError):
        registry.load().select("lost")


def test_a_profile_is_found_by_model_type(folder: Path) -> None:
    assert registry.load().profile("qwen2_5_vl") is QWEN2_5_VL


def test_a_plugin_overrides_a_built_in_profile(folder: Path) -> None:
    code = """
from geovlm import hookimpl
from geovlm.api import ModelProfile

@hookimpl
def geovlm_model_profile(model_type):
    if model_type == "qwen2_5_vl":
        return ModelProfile(name="mine", model_types=("qwen2_5_vl",), box_frame="norm1")
"""
    install(folder, "mine", code)
    assert registry.load().profile("qwen2_5_vl").name == "mine"
    assert registry.load().profile("qwen2_vl").name == "qwen2-vl"


def test_an_unknown_model_type_is_refused(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="no model profile for model type 'abacus'"):
        registry.load().profile("abacus")
