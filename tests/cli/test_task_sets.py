"""Options of data sets that a set of tasks brings along."""

from __future__ import annotations

from pathlib import Path

from geovlm.cli import configuration
from geovlm.plugins import registry


def options(dataset: str, *overrides: str, **values: object) -> object:
    config = configuration.load(None, overrides=overrides, tasks=["paper"], **values)
    return config.data_options(registry.load().dataset(dataset))


def test_a_set_chooses_the_samples_of_its_benchmarks() -> None:
    assert options("scenes/ucm").split_by == "none"
    assert options("scenes/aid").split_by == "hash"


def test_an_option_of_the_user_counts_instead() -> None:
    assert options("scenes/ucm", "data.scenes/ucm.options.split_by=hash").split_by == "hash"
    assert options("vhr10", "data.vhr10.options.colours=none").colours == "none"
    assert options("vhr10", "data.vhr10.options.colours=none").split_by == "none"


def test_the_folder_of_a_prefix_is_still_that_of_its_data_sets(tmp_path: Path) -> None:
    config = configuration.load(None, tasks=["paper"], data={"scenes": {"root": str(tmp_path)}})
    assert config.data_folder("scenes/ucm") == ("scenes", tmp_path)
    assert config.data_folder("scenes/aid") == ("scenes", tmp_path)


def test_a_task_alone_has_the_options_of_its_data_set() -> None:
    config = configuration.load(None, tasks=["scenes/ucm"])
    assert config.data_options(registry.load().dataset("scenes/ucm")).split_by == "hash"
