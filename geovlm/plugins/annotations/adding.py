"""Looks into a user's annotations and writes the TOML file that describes them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from geovlm.api import Split
from geovlm.errors import ConfigError, DataError
from geovlm.files.jsontext import dumps
from geovlm.plugins.annotations.description import NAME, Description
from geovlm.plugins.annotations.loading import Loader
from geovlm.plugins.annotations.readers import READERS

EXAMPLES = 3
"""Left-out items that are kept per reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """Contents of a source."""

    images: Mapping[Split, int]
    """Split -> records."""
    labels: Mapping[str, int]
    """Label -> objects, most frequent first."""
    skipped: Mapping[str, list[str]] = field(default_factory=dict)
    """Reason -> items that are left out."""


def name_of(text: str) -> str:
    """Return a name for a data set, made of a text.

    Raises:
        ConfigError: the text is not a name; the hint is one that is near.
    """
    if NAME.fullmatch(text):
        return text
    near = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    near = near if NAME.fullmatch(near) else f"data_{near}".rstrip("_")
    raise ConfigError(f"{text!r} is not a name: use a-z, 0-9 and _", hint=f"such as {near}")


def survey(description: Description) -> Survey:
    """Read a source once, and count records per split and objects per label.

    Raises:
        DataError: the source cannot be read, or holds no record.
    """
    loader = Loader(description)
    images: Counter[Split] = Counter()
    labels: Counter[str] = Counter()
    skipped: dict[str, list[str]] = {}

    def skip(reason: str, item: str) -> None:
        skipped.setdefault(reason, []).append(item)

    for record in READERS[description.format].read(loader.source, description, skip):
        images[loader.split(record)] += 1
        labels.update(each.label for each in record.boxes or ())
    if not images:
        left_out = "; ".join(f"{len(v)} left out: {k}" for k, v in skipped.items())
        raise DataError(
            f"{loader.source} holds no record that can be used"
            + (f" ({left_out})" * bool(left_out)),
            hint="--images DIR says where the images are",
        )
    return Survey(images=images, labels=dict(labels.most_common()), skipped=skipped)


def text(description: Description) -> str:
    """Return the TOML file of a description."""
    own = description
    lines = [
        "# A data set of your own; docs/your-data.md explains the keys. Paths start at this file.",
        "[dataset]",
        *(f"{key} = {dumps(getattr(own, key))}" for key in ("name", "source", "format")),
        f"images = {dumps(own.images)}  # empty: beside the source",
        f"task = {dumps(own.task)}",
        f"labels = {dumps(list(own.labels))}",
        *_of_scenes(own),
        f"question = {dumps(own.question)}  # empty: that of the task",
        f"split = {dumps(own.split)}  # train/val/test, or given",
        f"seed = {own.seed}  # of the split",
        f"licence = {dumps(own.licence)}",
        f"citation = {dumps(own.citation)}",
    ]
    return "\n".join(lines) + "\n"


def _of_scenes(own: Description) -> Iterator[str]:
    """Yield the keys of columns and windows that differ from their defaults."""
    if own.columns:
        pairs = ", ".join(f"{key} = {dumps(name)}" for key, name in own.columns.items())
        yield f"columns = {{{pairs}}}"
    if own.bands:
        yield f"bands = {dumps(list(own.bands))}"
    if own.tile:
        yield f"tile = {own.tile}  # side of the windows of a scene, pixels"
        yield f"overlap = {own.overlap}"


def lines(description: Description, found: Survey) -> list[tuple[str, str]]:
    """Return what was found, as rows of name and text."""
    rows = [
        ("format", description.format),
        ("images", ", ".join(f"{split} {n:,}" for split, n in sorted(found.images.items()))),
        ("objects", ", ".join(f"{label} {n:,}" for label, n in found.labels.items()) or "none"),
    ]
    rows += [
        ("left out", f"{len(items):,} for {reason}: {', '.join(items[:EXAMPLES])}")
        for reason, items in found.skipped.items()
    ]
    return rows
