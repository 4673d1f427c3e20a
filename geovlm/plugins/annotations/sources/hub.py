"""Finds data sets of the Hugging Face hub on this machine: `hub:OWNER/NAME[/FOLDER][@REVISION]`.

The hub's own cache is searched; nothing is downloaded. A data set there is a folder of files, of
which the table of formats knows the readers: Parquet, class folders and others.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from geovlm.errors import ConfigError, DataError

PREFIX = "hub:"
_NAME = re.compile(r"hub:([\w.-]+/[\w.-]+?)(?:/([^@]+))?(?:@([\w./-]+))?")


class Located(NamedTuple):
    """A data set of the hub in the local cache."""

    folder: Path
    """Its files, or the named folder of them."""
    pinned: str
    """Its name with the revision that was found, a commit."""


def is_named(source: str | Path) -> bool:
    """True for the name of a data set of the hub."""
    return str(source).startswith(PREFIX)


def locate(source: str | Path) -> Located:
    """Return the folder of a data set of the hub.

    Raises:
        ConfigError: the name is not of this form.
        DataError: this machine has no copy; the hint is the command that downloads one.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    found = _NAME.fullmatch(str(source))
    if found is None:
        raise ConfigError(
            f"{str(source)!r} names no data set of the hub",
            hint="write hub:OWNER/NAME@REVISION, or hub:OWNER/NAME/FOLDER@REVISION",
        )
    name, inner, revision = found.groups()
    try:
        whole = Path(
            snapshot_download(name, repo_type="dataset", revision=revision, local_files_only=True)
        )
    except HFValidationError as error:
        raise ConfigError(f"{str(source)!r} names no data set of the hub: {error}") from error
    except LocalEntryNotFoundError as error:
        option = f" --revision {revision}" if revision else ""
        raise DataError(
            f"data set {name} of the hub is not on this machine"
            + (f" in revision {revision}" * bool(revision)),
            hint=f"hf download {name} --repo-type dataset{option}",
        ) from error
    folder = whole / inner if inner else whole
    if not folder.exists():
        raise DataError(
            f"data set {name} of the hub has no {inner} on this machine",
            hint=f"{whole} holds {', '.join(sorted(each.name for each in whole.iterdir())[:8])}",
        )
    place = f"{PREFIX}{name}" + (f"/{inner}" if inner else "")
    return Located(folder, f"{place}@{whole.name}")
