from __future__ import annotations

from pathlib import Path

import pytest

from geovlm.plugins.discover import PluginRecord, PluginSet, discover
from tests.fake_plugins import REWARD, TOY, geovlm, install


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def record(found: PluginSet, name: str) -> PluginRecord:
    (one,) = [each for each in found.plugins if each.name == name]
    return one


def test_core_is_the_first_plugin_and_declares_its_rewards() -> None:
    found = discover(disabled=["*"])
    assert found.plugins[0].name == "builtin"
    assert {"recall", "format/think"} <= set(found.rewards)


def test_a_good_plugin_is_active_and_its_hooks_are_listed(folder: Path) -> None:
    install(folder, "toy", TOY)
    found = discover()
    assert record(found, "toy").status == "active"
    assert record(found, "toy").hooks == ("geovlm_datasets", "geovlm_rewards", "geovlm_tasks")
    assert "toy/name" in found.tasks


def test_entry_points_are_loaded_in_the_order_of_their_names(folder: Path) -> None:
    install(folder, "zebra", REWARD.format(name="zebra"))
    install(folder, "aardvark", REWARD.format(name="aardvark"))
    names = [each.name for each in discover().plugins if each.name in {"zebra", "aardvark"}]
    assert names == ["aardvark", "zebra"]


def test_a_requirement_that_is_not_met_is_read_before_the_import(folder: Path) -> None:
    install(folder, "future", "raise SystemExit('imported')", requires=["geovlm>=3"])
    one = record(discover(), "future")
    assert one.status == "incompatible"
    assert one.reason.startswith("needs geovlm>=3, this is geovlm ")


def test_requirements_on_other_distributions_do_not_count_as_the_core(folder: Path) -> None:
    install(folder, "fine", REWARD.format(name="fine"), requires=["geovlm-other>=99", "geovlm"])
    assert record(discover(), "fine").status == "active"


def test_a_requirement_of_an_extra_is_ignored(folder: Path) -> None:
    install(folder, "extra", REWARD.format(name="extra"), requires=['geovlm>=9; extra == "new"'])
    assert record(discover(), "extra").status == "active"


def test_an_unreadable_requirement_breaks_the_plugin(folder: Path) -> None:
    install(folder, "garbled", REWARD.format(name="garbled"), requires=["geovlm>=>1"])
    assert record(discover(), "garbled").status == "broken"


def test_a_failing_import_keeps_its_traceback(folder: Path) -> None:
    install(folder, "noimport", "import shapely_not_there")
    one = record(discover(), "noimport")
    assert one.status == "broken"
    assert one.reason == "ModuleNotFoundError: No module named 'shapely_not_there'"
    assert "import shapely_not_there" in one.traceback


def test_a_plugin_that_exits_at_import_does_not_end_the_program(folder: Path) -> None:
    install(folder, "quits", "raise SystemExit(3)")
    assert record(discover(), "quits").reason == "SystemExit: 3"


def test_an_unknown_hook_names_the_nearest_one(folder: Path) -> None:
    install(folder, "typo", REWARD.format(name="typo").replace("geovlm_rewards", "geovlm_reward"))
    reason = record(discover(), "typo").reason
    assert reason.endswith("unknown hook 'geovlm_reward'; did you mean 'geovlm_rewards'?")


def test_an_unknown_hook_argument_breaks_the_plugin(folder: Path) -> None:
    code = REWARD.format(name="argument").replace("geovlm_rewards()", "geovlm_rewards(model)")
    install(folder, "argument", code)
    one = record(discover(), "argument")
    assert one.status == "broken"
    assert one.reason.startswith("PluginValidationError")


def test_a_wrong_type_breaks_the_plugin(folder: Path) -> None:
    code = REWARD.format(name="wrongtype").replace("geovlm_rewards", "geovlm_tasks")
    install(folder, "wrongtype", code)
    reason = record(discover(), "wrongtype").reason
    assert reason.startswith(
        "TypeError: geovlm_tasks must return TaskSpec objects, got RewardSpec("
    )


def test_a_hook_that_returns_one_object_instead_of_several_is_explained(folder: Path) -> None:
    install(folder, "single", REWARD.format(name="single").replace("yield", "return"))
    reason = record(discover(), "single").reason
    assert reason == "TypeError: geovlm_rewards must yield RewardSpec objects, returned RewardSpec"


def test_an_exception_in_a_hook_breaks_the_plugin(folder: Path) -> None:
    install(folder, "raises", REWARD.format(name="raises").replace("yield", "1 / 0; yield"))
    assert record(discover(), "raises").reason == "ZeroDivisionError: division by zero"


def test_a_name_without_the_prefix_breaks_the_plugin(folder: Path) -> None:
    install(folder, "bare", REWARD.format(name="recall2"))
    reason = record(discover(), "bare").reason
    assert reason == "geovlm_rewards: the name 'recall2' must be 'bare' or begin with 'bare/'"


def test_a_name_declared_twice_breaks_the_plugin(folder: Path) -> None:
    code = REWARD.format(name="twice")
    install(folder, "twice", code + code.partition("def geovlm_rewards():")[2])
    assert record(discover(), "twice").reason == "geovlm_rewards declares 'twice' twice"


def test_a_plugin_cannot_take_the_name_of_a_core_reward(folder: Path) -> None:
    install(folder, "recall", REWARD.format(name="recall"))
    found = discover()
    assert record(found, "recall").status == "broken"
    assert found.rewards["recall"].summary != "One."


def test_a_second_distribution_of_the_same_name_is_broken(folder: Path) -> None:
    install(folder, "same", REWARD.format(name="same"))
    install(folder, "same", REWARD.format(name="same"), distribution="geovlm-usurper")
    statuses = [each.status for each in discover().plugins if each.name == "same"]
    assert statuses == ["active", "broken"]


def test_a_module_without_hooks_is_told_about_the_decorator(folder: Path) -> None:
    install(folder, "bald", REWARD.format(name="bald").replace("@hookimpl", ""))
    assert "mark its functions with @geovlm.hookimpl" in record(discover(), "bald").reason


def test_a_broken_plugin_leaves_nothing_behind(folder: Path) -> None:
    install(folder, "half", REWARD.format(name="half") + "\n@hookimpl\ndef geovlm_tasks(): 1 / 0\n")
    found = discover()
    assert record(found, "half").status == "broken"
    assert "half" not in found.rewards
    assert not found.manager.has_plugin("half")


def test_printing_at_import_stays_off_standard_output(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(folder, "chatty", REWARD.format(name="chatty") + "\nprint('hello there')\n")
    found = discover()
    assert capsys.readouterr().out == ""
    assert "prints when it is imported" in record(found, "chatty").notes
    assert "plugin 'chatty' printed when it was imported: hello there" in found.warnings


def test_a_slow_import_is_noted(folder: Path) -> None:
    code = "import time\nend = time.perf_counter() + 0.12\nwhile time.perf_counter() < end: pass\n"
    install(folder, "slow", code + REWARD.format(name="slow"))
    (note,) = record(discover(), "slow").notes
    assert note.startswith("slow import: ")


def test_a_disabled_plugin_is_not_imported(folder: Path) -> None:
    install(folder, "off", "raise SystemExit('imported')")
    assert record(discover(disabled=["off"]), "off").status == "disabled"


def test_a_disabled_name_that_nobody_has_is_a_warning() -> None:
    warnings = discover(disabled=["nobody"]).warnings
    assert "cannot disable plugin 'nobody': no such plugin is installed" in warnings


def test_debug_raises_the_first_error_of_a_plugin(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(folder, "noimport", "import shapely_not_there")
    monkeypatch.setenv("GEOVLM_DEBUG", "1")
    with pytest.raises(ModuleNotFoundError, match="shapely_not_there"):
        discover()


def test_bad_plugins_cost_one_warning_line_each_and_the_table_is_printed(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    install(tmp_path, "future", "", requires=["geovlm>=3"])
    install(tmp_path, "noimport", "import shapely_not_there")
    done = geovlm("tasks", "list", folder=tmp_path)
    assert done.returncode == 0
    assert "toy/name\t1\ttoy" in done.stdout
    assert done.stderr.count("\nwarning: plugin") + 1 == 2
    assert "plugin 'future' (geovlm-future 0.1.0) is incompatible: needs geovlm>=3" in done.stderr
