"""Puts groups of records into splits."""

from __future__ import annotations

import hashlib

from geovlm.api import Split
from geovlm.errors import ConfigError
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.records import Record


class Splits:
    """Puts the records of one description into splits."""

    def __init__(self, own: Description) -> None:
        self._own = own
        self._given = own.split == "given"
        self._shares = own.shares
        self._seed = own.seed
        self._last: tuple[str, Split] | None = None  # rows of one image often follow one another

    def of(self, given: Split | None, group: str) -> Split:
        """Return the split of a record: that of the source if it is taken, else of its group.

        `given` is `Record.split`; `group` the image, or the value that is grouped by.
        """
        if self._given:
            return given or "train"
        if self._last is None or self._last[0] != group:
            self._last = group, of_group(group, shares=self._shares, seed=self._seed)
        return self._last[1]

    def of_record(self, record: Record) -> Split:
        """Return the split of a record.

        Raises:
            ConfigError: it has no value to group by.
        """
        return self.of(record.split, "" if self._given else group(record, self._own))


def group(record: Record, own: Description) -> str:
    """Return the group of a record: its image or scene, else the value that is grouped by.

    Raises:
        ConfigError: the record has no such value.
    """
    if own.group_by == "image" or (own.group_by == "scene" and record.scene):
        return record.group
    if own.group_by not in record.extra:
        known = ", ".join(["image", *record.extra])
        raise ConfigError(
            f"{record.where} has no {own.group_by!r} to group by", hint=f"it has {known}"
        )
    return str(record.extra[own.group_by])


def of_group(group: str, *, shares: tuple[int, int, int], seed: int) -> Split:
    """Return the split of a group, which depends on its name alone.

    A record that is added later changes the split of no other.

    Args:
        group: Name of the group.
        shares: Shares of training, validation and test; any whole numbers.
        seed: Another seed gives another split.
    """
    digest = hashlib.sha256(f"{seed}\0{group}".encode()).digest()
    at = int.from_bytes(digest[:8], "big") * sum(shares) >> 64
    train, val, _ = shares
    return "train" if at < train else "val" if at < train + val else "test"
