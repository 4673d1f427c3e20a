"""The user's word on boxes, and models that cannot answer questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geovlm.config import load
from geovlm.config.model import framed, inspect, limited
from geovlm.errors import ConfigError, UnknownNameError
from geovlm.plugins import profiles, registry
from geovlm.run import changes


def checkpoint(folder: Path, model_type: str, **files: object) -> str:
    """Write the files of a model without weights; returns its folder."""
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return str(folder)


def test_the_runs_frame_and_order_replace_those_of_the_family() -> None:
    config = load.load(
        None, overrides=["profile.box_frame=norm100", "profile.box_order=yxyx"], model="nano"
    )
    found = framed(profiles.QWEN3_VL, config)
    assert (found.box_frame, found.box_order) == ("norm100", "yxyx")


def test_without_a_word_of_the_user_the_frame_is_the_familys() -> None:
    assert limited(profiles.QWEN3_VL, load.load(None)).box_frame == "norm1000"


def test_the_frame_of_the_run_reaches_the_facts_of_the_model(tmp_path: Path) -> None:
    config = load.load(
        None, overrides=["profile.box_frame=norm1"], model=checkpoint(tmp_path, "mistral3")
    )
    profile = inspect(config, registry=registry.load()).profile
    assert profile is not None
    assert (profile.name, profile.box_frame) == ("mistral3", "norm1")


@pytest.mark.parametrize("setting", ["box_frame=pixels", "box_order=xywh", "frame=norm1"])
def test_an_unknown_frame_order_or_key_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"profile\."):
        load.load(None, overrides=[f"profile.{setting}"])


def test_another_frame_is_an_obstacle_to_resume_once_rows_were_written() -> None:
    change = changes.Change(("profile", "box_frame"), "norm1000", "norm1")
    done = changes.Work("stage 0-sft", "sft", 0, done=True)
    assert changes.obstacle(change, [done], complete=False) is done


def test_a_checkpoint_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "earth_vl", "auto_map": {"AutoModel": "modeling.EarthVL"}})
    )
    config = load.load(None, model=str(tmp_path))
    with pytest.raises(UnknownNameError, match="code that comes with the checkpoint"):
        inspect(config, registry=registry.load())


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    name = checkpoint(tmp_path, "idefics2", tokenizer_config={"eos_token": "</s>"})
    with pytest.raises(ConfigError, match="has no chat template"):
        inspect(load.load(None, model=name), registry=registry.load())


@pytest.mark.parametrize("file", ["tokenizer_config", "processor_config", "chat_template"])
def test_a_chat_template_is_found_in_every_file_that_may_hold_it(tmp_path: Path, file: str) -> None:
    files = {"tokenizer_config": {}, file: {"chat_template": "{{ messages }}"}}
    name = checkpoint(tmp_path, "idefics2", **files)
    assert inspect(load.load(None, model=name), registry=registry.load()).profile is not None
