"""The built-in model, which makes every example run without a download.

Nano is a tiny Qwen2.5-VL that ships with the package; `tools/nano` trains it.
"""

from __future__ import annotations

from pathlib import Path

NAME = "nano"
"""Name of the model in a configuration, whatever a folder is called."""


def path() -> Path:
    """Return the folder of weights, tokenizer and processor, in Hugging Face layout."""
    return Path(__file__).parent / "weights"
