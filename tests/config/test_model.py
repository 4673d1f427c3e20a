"""Facts of a model from its name and its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geovlm import nano
from geovlm.config import model
from geovlm.config.schema import RunConfig
from geovlm.errors import ConfigError
from geovlm.plugins import profiles, registry


@pytest.mark.parametrize("name", ["./missing", "/missing/model", "a/b/c"])
def test_a_model_path_that_does_not_exist_is_refused(name):
    with pytest.raises(ConfigError, match="does not exist"):
        model.inspect(RunConfig(model=name), registry=registry.load())


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"without config\.json"):
        model.inspect(RunConfig(model=str(tmp_path)), registry=registry.load())


def test_a_hub_name_that_is_not_in_the_cache_has_no_facts(monkeypatch):
    facts = model.inspect(RunConfig(model="nobody/nothing"), registry=registry.load())
    assert (facts.folder, facts.profile, facts.parameters) == (None, None, None)


@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        ({}, (None, None)),
        ({"min_pixels": 1, "max_pixels": 2}, (1, 2)),
        ({"size": {"shortest_edge": 3, "longest_edge": 4}}, (3, 4)),
        # Qwen2VLImageProcessor of transformers 5.17 overrides `size` by the older keys
        (
            {
                "min_pixels": 1,
                "max_pixels": 2,
                "size": {"shortest_edge": 3, "longest_edge": 4},
            },
            (1, 2),
        ),
    ],
)
def test_pixel_limits_are_those_of_the_processor(
    settings: dict[str, object], limits: tuple[int | None, int | None], tmp_path: Path
) -> None:
    (tmp_path / model.PROCESSOR).write_text(json.dumps(settings))
    assert model.pixel_limits(tmp_path) == limits


def test_limits_that_count_two_frames_are_halved(tmp_path: Path) -> None:
    settings = {"size": {"shortest_edge": 12_544, "longest_edge": 9_633_792}}
    (tmp_path / model.PROCESSOR).write_text(json.dumps(settings))
    assert model.pixel_limits(tmp_path, frames=2) == (6272, 4_816_896)


def test_limits_in_the_file_of_transformers_5_are_read(tmp_path: Path) -> None:
    settings = {"size": {"shortest_edge": 784, "longest_edge": 50_176}}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert model.pixel_limits(tmp_path) == (784, 50_176)


def test_a_processor_without_sizes_states_no_limits(tmp_path: Path) -> None:
    (tmp_path / model.PROCESSOR).write_text('{"size": null}')
    assert model.pixel_limits(tmp_path) == (None, None)


def test_the_cells_of_a_checkpoint_replace_those_of_its_family(tmp_path: Path) -> None:
    (tmp_path / model.PROCESSOR).write_text('{"patch_size": 7, "merge_size": 2}')
    found = model.limited(profiles.QWEN2_5_VL, RunConfig(), folder=tmp_path)
    assert (profiles.QWEN2_5_VL.size_factor, found.size_factor) == (28, 14)


def test_the_run_overrides_the_limits_of_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / model.PROCESSOR).write_text('{"min_pixels": 100, "max_pixels": 200}')
    profile = registry.load().profile("qwen2_5_vl")
    found = model.limited(profile, RunConfig(max_pixels=150), folder=tmp_path)
    assert (found.min_pixels, found.max_pixels) == (100, 150)


def test_nano_and_folders_have_no_name_on_the_hub(tmp_path: Path) -> None:
    names = ["nano", str(tmp_path), "Qwen/Qwen2.5-VL-3B-Instruct"]
    assert [model.hub_name(name) for name in names] == [None, None, names[2]]


def test_only_nano_stands_for_a_folder() -> None:
    assert model.source("nano") == str(nano.path())
    assert model.source("some/model") == "some/model"
