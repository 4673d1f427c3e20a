"""Says what a folder or file is that was given as a model, before anything loads it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from geovlm.errors import ConfigError, DataError
from geovlm.files.records import parse_json
from geovlm.files.text import LONGEST_BEGINNING, nature, read_text

CONFIG = "config.json"
ADAPTERS = "adapter_config.json"
_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"
_PICKLE = "pytorch_model.bin"
_PARTS = {
    "tokenizer": ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json"),
    "image processor": ("preprocessor_config.json", "processor_config.json"),
}
"""Part of a model beside its weights -> files of which at least one holds it."""
_FULL = "full_attention"
"""transformers' name of a layer that attends to all tokens before."""
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_LARGEST_HEADER = 100_000_000  # bytes; safetensors refuses larger ones
_DOWNLOAD = "download it again, such as with hf download"
_MERGE = "merge_and_unload of peft, or swift export --merge_lora true"


def require(folder: Path, *, name: str) -> None:
    """Refuse a folder that holds no model.

    `name` is the folder as the user wrote it.

    Raises:
        ConfigError: states what the folder holds instead, and which folder to give.
    """
    if holds_adapters(folder):
        base = base_name(folder)
        fetch = "; if the base is on this machine, geovlm merges them itself" if base else ""
        of = f"adapters of {base}" if base else "adapters"
        raise ConfigError(
            f"model {name!r} holds {of}, not a whole model",
            hint=f"merge them into their base model first, with {_MERGE}, and give that folder"
            f"{fetch}",
        )
    if (folder / CONFIG).is_file():
        return
    inner = _inner(folder)
    if inner is not None:
        kind = "the folder of a run" if (folder / "resolved.json").is_file() else "a folder"
        raise ConfigError(
            f"model {name!r} is {kind} without {CONFIG}",
            hint=f"give the folder of its model: {Path(name) / inner.relative_to(folder)}",
        )
    if any(folder.glob("*.gguf")):
        raise ConfigError(
            f"model {name!r} holds weights in the form GGUF, which is for inference by llama.cpp",
            hint="give the model from which it was converted",
        )
    raise ConfigError(
        f"model {name!r} is a folder without {CONFIG}",
        hint="give the folder that holds it, such as RUN/stages/2-grpo/model",
    )


def require_whole(folder: Path, *, name: str) -> None:
    """Refuse a model without tokenizer and processor, or whose weights are absent or not whole.

    Raises:
        ConfigError: names the first file that is absent or cut off.
    """
    files = _weights(folder) or _pickles(folder)
    if not files:
        partial = sorted(each.name for each in folder.glob("*.incomplete"))
        what = f", but {partial[0]}" if partial else ""
        raise ConfigError(f"model {name!r} has {CONFIG} and no weights{what}", hint=_DOWNLOAD)
    absent = [each for each in files if not each.is_file()]
    if absent:
        raise ConfigError(
            f"model {name!r} lacks {len(absent)} of the {len(files)} files of its weights, first "
            f"{absent[0].name}",
            hint=_DOWNLOAD,
        )
    for path in files:
        if path.suffix == ".safetensors":
            _header(path)
        else:
            _require_pickle(path)
    for part, names in _PARTS.items():
        if not _has(folder, names):
            raise ConfigError(
                f"model {name!r} has no {part}: none of {', '.join(names)}",
                hint="copy these files from the folder of its base model",
            )


def lacks_chat_template(folder: Path) -> bool:
    """Return True if a folder holds a tokenizer and no chat template, in any of its files."""
    if not (folder / "tokenizer_config.json").is_file():
        return False
    if any((folder / name).is_file() for name in _TEMPLATES):
        return False
    bundles = [folder / name for name in ("tokenizer_config.json", "processor_config.json")]
    return not any(read_object(each).get("chat_template") for each in bundles if each.is_file())


def has_reader(folder: Path) -> bool:
    """Return True if a folder holds a tokenizer and an image processor."""
    return all(_has(folder, names) for names in _PARTS.values())


def holds_adapters(folder: Path) -> bool:
    """Return True if a folder holds adapters and no whole model."""
    return (folder / ADAPTERS).is_file() and not _is_whole(folder)


def base_name(folder: Path) -> str:
    """Return the name or path of the base model that adapters name; empty if they name none."""
    base = read_object(folder / ADAPTERS).get("base_model_name_or_path")
    return base if isinstance(base, str) else ""


def parameters(folder: Path) -> int | None:
    """Return the number of weights in the safetensors files, from their headers.

    `None`: there are none, or not all of them.

    Raises:
        ConfigError: a file is cut off or something else; names it.
    """
    files = _weights(folder)
    if not files or not all(each.is_file() for each in files):
        return None
    return sum(
        math.prod(each["shape"])
        for path in files
        for name, each in _header(path).items()
        if name != "__metadata__"
    )


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a model.

    Raises:
        ConfigError: it cannot be read, or not by transformers; names the file and the reason.
    """
    try:
        if path.is_file() and path.read_bytes()[:2] in (b"\xef\xbb", b"\xff\xfe", b"\xfe\xff"):
            raise ConfigError(
                f"{path} begins with a byte order mark, which transformers does not read",
                hint="save the file as UTF-8 without it",
            )
        value = parse_json(read_text(path), path)
    except (DataError, OSError) as error:
        reason = error.args[0] if isinstance(error, DataError) else f"{path}: {error.strerror}"
        raise ConfigError(str(reason), hint="is the model complete?") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} holds no JSON object", hint="is the model complete?")
    return value


def partial_layers(decoder: Mapping[str, Any]) -> str:
    """Return which layers of a decoder do not see all tokens before; empty if all of them do.

    `decoder` is the text part of a model's configuration. A file without the kinds of its layers
    may be of a family whose class states them: only the loaded configuration is sure.
    """
    layers = decoder.get("layer_types") or ()
    others = [each for each in layers if each != _FULL]
    if others:
        kinds = " and ".join(sorted(set(others)))
        return f"{len(others)} of its {len(layers)} layers do not see all tokens before ({kinds})"
    window = (
        decoder.get("sliding_window") if decoder.get("use_sliding_window") is not False else None
    )
    if window and not layers:
        return f"its layers see {window} tokens before, not all"
    return ""


def _has(folder: Path, names: Iterable[str]) -> bool:
    return any((folder / each).is_file() for each in names)


def _inner(folder: Path) -> Path | None:
    """Return the folder of a model in the folder of a stage, a run or checkpoints: the last one."""
    for pattern in ("model", "stages/*/model", "*/model", "checkpoint-*", "*"):
        found = [each for each in folder.glob(pattern) if (each / CONFIG).is_file()]
        if found:
            return max(found, key=_order)
    return None


def _order(path: Path) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts `checkpoint-9` before `checkpoint-10`, and stages by number."""
    parts = [part for name in path.parts[-3:] for part in name.split("-")]
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def _is_whole(folder: Path) -> bool:
    """Return True if the folder has weights other than adapters, or an index of them."""
    return bool(_weights(folder))


def _weights(folder: Path) -> list[Path]:
    """Return the safetensors files of a model, as its index names them if it has one."""
    if (folder / _INDEX).is_file():
        return _indexed(folder / _INDEX)
    if (folder / _WHOLE).is_file():
        return [folder / _WHOLE]
    found = sorted(folder.glob("*.safetensors"))
    return [each for each in found if not each.name.startswith("adapter")]


def _pickles(folder: Path) -> list[Path]:
    """Return the files of weights that `torch.save` wrote."""
    index = folder / f"{_PICKLE}.index.json"
    if index.is_file():
        return _indexed(index)
    return [folder / _PICKLE] if (folder / _PICKLE).is_file() else []


def _indexed(index: Path) -> list[Path]:
    """Return the files that an index of weights names."""
    names = read_object(index).get("weight_map")
    listed = set(map(str, names.values())) if isinstance(names, dict) else set()
    return [index.parent / each for each in sorted(listed)]


def _require_pickle(path: Path) -> None:
    """Refuse a file that `torch.save` did not write: its files are ZIP archives or pickles."""
    with path.open("rb") as file:
        first = file.read(LONGEST_BEGINNING)
    if not first.startswith((b"PK\x03\x04", b"\x80")):
        fault = nature(first)
        problem = fault.problem if fault is not None else "is not a file of PyTorch"
        raise ConfigError(f"{path} {problem}", hint=fault.remedy if fault else _DOWNLOAD)


def _header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file: 8 bytes with its length, JSON, then the weights.

    Raises:
        ConfigError: the file is cut off, or something else.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(LONGEST_BEGINNING)
            length = int.from_bytes(first[:8], "little")
            file.seek(8)
            text = file.read(length) if length <= min(size, _LARGEST_HEADER) else b""
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}", hint=_DOWNLOAD) from error
    fault = nature(first)
    if fault is not None and not text:
        raise ConfigError(f"{path} {fault.problem}", hint=fault.remedy)
    try:
        header: dict[str, Any] = json.loads(text)
        ends = [each["data_offsets"][1] for each in header.values() if "shape" in each]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is not a safetensors file", hint=_DOWNLOAD) from error
    whole = 8 + length + max(ends, default=0)
    if size < whole:
        raise ConfigError(f"{path} is cut off: it has {size:,} of {whole:,} bytes", hint=_DOWNLOAD)
    return header
