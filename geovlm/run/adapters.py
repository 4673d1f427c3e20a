"""Puts a whole model in the place of a folder of LoRA adapters: merged once, kept in the cache.

Everything that reads a model reads one folder, so adapters become such a folder before anything
else looks at the model.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.config import checkpoint
from geovlm.config import model as models
from geovlm.errors import ConfigError
from geovlm.files.caches import cache_dir
from geovlm.run import launch

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig

_NAMED_CHARS = 40


def whole(config: RunConfig, *, merge: bool = True) -> RunConfig:
    """Return the configuration with a whole model where its model is a folder of adapters.

    A configuration with any other model is returned as it is, and so is one whose adapters' base
    model is not on this machine, which `geovlm.config.model.inspect` refuses. Without `merge` the
    base model stands for the merged one, which has the same shapes.

    Raises:
        ConfigError: the adapters do not fit their base model, are of another kind than LoRA, or the
            cache has no room for the merged model.
    """
    folder = Path(models.source(config.model)).expanduser()
    base = models.base_of(folder) if checkpoint.holds_adapters(folder) else None
    if base is None:
        return config
    place = base if not merge else _merged(folder.absolute(), base)
    return config.model_copy(update={"model": str(place), "revision": None})


def _merged(folder: Path, base: Path) -> Path:
    """Return the folder of the merged model; it appears in the cache only when it is complete."""
    checkpoint.require_whole(base, name=str(base))
    place = cache_dir() / "merged" / f"{folder.name[:_NAMED_CHARS]}-{_digest(folder, base)}"
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    size = sum(path.stat().st_size for path in base.iterdir() if path.is_file())
    free = shutil.disk_usage(place.parent).free
    if free < size:
        raise ConfigError(
            f"{place.parent} has {free / 1e9:.2f} GB free, the model {base.name} merged with the "
            f"adapters takes {size / 1e9:.2f} GB",
            hint="name a folder on another disk in GEOVLM_CACHE",
        )
    print(f"merging the adapters in {folder} into {base}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".merging-") as scratch:
        out = Path(scratch) / "model"
        words = ("--adapters", str(folder), "--base", str(base), "--out", str(out))
        launch.start("merge", *words, folder=Path(scratch), on_cpu=True)
        if not place.is_dir():  # another process may have merged them
            out.rename(place)
    return place


def _digest(folder: Path, base: Path) -> str:
    """Return a name for adapters and a base: of the adapters' content, and the base's files."""
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(folder.glob("adapter_*")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    for path in sorted(base.iterdir()):
        if path.is_file():
            found = path.stat()
            digest.update(f"{path} {found.st_size} {found.st_mtime_ns}".encode())
    return digest.hexdigest()
