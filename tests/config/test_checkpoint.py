"""Folders and files that are given as a model and are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from geovlm import nano
from geovlm.config import checkpoint, model
from geovlm.config.schema import RunConfig
from geovlm.errors import ConfigError
from geovlm.plugins import registry
from tests.inside import geovlm

WEIGHTS = "model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the built-in model."""
    return Path(shutil.copytree(nano.path(), tmp_path / "model"))


def inspect(path: Path | str) -> model.ModelFacts:
    return model.inspect(RunConfig(model=str(path)), registry=registry.load(), weights=True)


def refusal(path: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        inspect(path)
    assert caught.value.hint
    return str(caught.value)


def test_a_whole_model_is_taken(folder: Path) -> None:
    assert inspect(folder).parameters == inspect("nano").parameters


@pytest.mark.parametrize(
    ("base", "of"),
    [
        ("Qwen/Qwen2.5-VL-3B-Instruct", "adapters of Qwen/Qwen2.5-VL-3B-Instruct"),
        (None, "adapters"),
    ],
)
def test_adapters_are_called_adapters_of_their_base(
    tmp_path: Path, base: str | None, of: str
) -> None:
    adapter = {"base_model_name_or_path": base, "peft_type": "LORA", "r": 16}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    assert f"holds {of}, not a whole model (merge them" in refusal(tmp_path)


def test_adapters_beside_the_configuration_of_their_base_are_adapters(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    assert "holds adapters, not a whole model" in refusal(folder)


@pytest.mark.parametrize("given", ["run", "run/stages/2-grpo", "run/stages"])
def test_the_folder_of_a_run_names_the_model_of_its_last_stage(
    tmp_path: Path, folder: Path, given: str
) -> None:
    for stage in ("0-sft", "2-grpo"):
        shutil.copytree(folder, tmp_path / "run" / "stages" / stage / "model")
    last = tmp_path / "run" / "stages" / "2-grpo" / "model"
    assert f"give the folder of its model: {last}" in refusal(tmp_path / given)


def test_the_folder_of_checkpoints_names_the_last_one(tmp_path: Path, folder: Path) -> None:
    for step in (9, 10):
        shutil.copytree(folder, tmp_path / "checkpoints" / f"checkpoint-{step}")
    assert "checkpoints/checkpoint-10)" in refusal(tmp_path / "checkpoints")


def keep_nothing(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def point(folder: Path) -> None:
    (folder / WEIGHTS).write_text(POINTER)


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:20_000])


def spoil(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"no weights at all")


def half(folder: Path) -> None:
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    (folder / WEIGHTS).rename(folder / shards[0])
    index = {"weight_map": dict(zip("ab", shards, strict=True))}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def download(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / f"{WEIGHTS}.incomplete")


def pickle(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_text(POINTER)


def mark(folder: Path) -> None:
    file = folder / "config.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())


def tear(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl",\n')


def lose_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()
    (folder / "vocab.json").unlink(missing_ok=True)


def lose_processor(folder: Path) -> None:
    for path in folder.glob("*processor*"):
        path.unlink()


def convert(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / "model-q4.gguf").write_bytes(b"GGUF")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (keep_nothing, "has config.json and no weights"),
        (point, "model.safetensors is a pointer of Git LFS"),
        (cut, "model.safetensors is cut off: it has 20,000 of"),
        (spoil, "model.safetensors is not a safetensors file"),
        (half, "lacks 1 of the 2 files of its weights, first model-00002-of-00002.safetensors"),
        (download, "no weights, but model.safetensors.incomplete"),
        (pickle, "pytorch_model.bin is a pointer of Git LFS"),
        (mark, "config.json begins with a byte order mark"),
        (tear, "config.json, line 2, column 1: not JSON"),
        (lose_tokenizer, "has no tokenizer: none of tokenizer.json"),
        (lose_processor, "has no image processor: none of preprocessor_config.json"),
        (convert, "holds weights in the form GGUF"),
    ],
)
def test_a_model_that_is_not_whole_is_refused_with_the_reason(
    folder: Path, change: Callable[[Path], None], problem: str
) -> None:
    change(folder)
    assert problem in refusal(folder)


def test_a_plan_for_another_machine_needs_no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    facts = model.inspect(RunConfig(model=str(folder)), registry=registry.load())
    assert (facts.model_type, facts.parameters) == (inspect("nano").model_type, None)


def test_a_file_names_its_folder(folder: Path) -> None:
    assert f"is a file (give the folder of the model, such as {folder})" in refusal(
        folder / WEIGHTS
    )


def test_a_misspelt_name_gets_a_suggestion() -> None:
    assert "did you mean 'nano'?" in refusal("nanoo")


def test_offline_a_name_that_is_not_in_the_cache_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--Qwen--Qwen2.5-VL-3B-Instruct").mkdir()
    found = refusal("Qwen/Qwen2.5-VL-3B-Instuct")
    assert "is not in the local cache" in found
    assert "did you mean 'Qwen/Qwen2.5-VL-3B-Instruct'?" in found


@pytest.mark.parametrize(
    "command",
    [
        ("eval", "--tasks", "xbd/count", "--output", "scores"),
        ("run", "--tasks", "xbd/count", "--output", "scores"),
        ("run", "--tasks", "xbd/count", "--output", "scores", "--dry-run"),
        ("plan", "--tasks", "xbd/count"),
        ("predict", "a.png", "a.png", "--task", "xbd/count"),
        ("data", "stats", "xbd/count"),
    ],
    ids=" ".join,
)
def test_every_command_that_takes_a_model_refuses_adapters(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    from PIL import Image

    Image.new("RGB", (56, 56), (9, 99, 9)).save(tmp_path / "a.png")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "Qwen/Base"}')
    words = [str(tmp_path / word) if word in ("a.png", "scores") else word for word in command]
    done = geovlm(*words, "--model", str(adapter), folder=tmp_path)
    assert done.returncode == 2
    assert "holds adapters of Qwen/Base, not a whole model" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("decoder", "why"),
    [
        ({}, ""),
        ({"layer_types": ["full_attention"] * 2, "sliding_window": 4096}, ""),
        (
            {"layer_types": ["sliding_attention", "full_attention"]},
            "1 of its 2 layers do not see all tokens before (sliding_attention)",
        ),
        ({"sliding_window": 4096}, "its layers see 4096 tokens before, not all"),
        # as Qwen2-VL's file has it
        ({"sliding_window": 32768, "use_sliding_window": False}, ""),
    ],
)
def test_layers_that_do_not_see_all_tokens_are_counted(
    decoder: dict[str, object], why: str
) -> None:
    assert checkpoint.partial_layers(decoder) == why
