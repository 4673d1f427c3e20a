"""Puts groups of records into splits."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from geovlm.api import Split
from geovlm.plugins.annotations.description import Description


def of(own: Description, *, given: Split | None, group: str) -> Split:
    """Return the split of a record: that of the source if it is taken, else that of its group.

    `given` is `Record.split`; `group` the image, or the value that is grouped by.
    """
    if own.split == "given":
        return given or "train"
    return of_group(group, shares=own.shares, seed=own.seed)


@lru_cache(maxsize=1024)  # rows of one image often follow one another
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
