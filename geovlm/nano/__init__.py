"""Nano, the embedded default model: a tiny Qwen2.5-VL that ships with the package."""

from __future__ import annotations

from pathlib import Path


def path() -> Path:
    """Folder of the shipped weights, tokenizer and processor, in Hugging Face layout."""
    return Path(__file__).parent / "weights"
