"""Finds protocols by name, and those that fit a file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from geovlm.errors import UnknownNameError
from geovlm.score.protocols import (
    bigearthnet,
    change_caption,
    choices,
    rsvqa,
    vrsbench,
    xview2,
)
from geovlm.score.protocols.contract import Protocol
from geovlm.score.protocols.earthdial import boxes, captions, words

PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        boxes.REFER,
        boxes.GROUNDING,
        boxes.XBD_DETECT,
        captions.REGION_CAPTION,
        captions.CAPTION,
        words.CLASSIFY,
        words.VQA,
        words.LRBEN,
        words.HRBEN,
        boxes.BENCH,
        rsvqa.LOW,
        rsvqa.HIGH,
        rsvqa.XBEN,
        bigearthnet.BIGEARTHNET,
        xview2.XVIEW2,
        change_caption.CHANGE_CAPTION,
        choices.CHOICE,
        choices.GEOBENCH,
        choices.XLRS,
        vrsbench.VQA,
        vrsbench.REFER,
        vrsbench.CAPTION,
    )
}
"""Name -> protocol; where several fit a file, the first is taken."""


def find(name: str) -> Protocol:
    """Return a protocol.

    Raises:
        UnknownNameError: there is no protocol of this name; the hint names the nearest one.
    """
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(name, PROTOCOLS, n=1, cutoff=0.4)
        ends = [known for known in PROTOCOLS if known.rpartition("/")[2] == name]
        guess = next(iter(ends or near), None)
        meant = f"did you mean {guess!r}? " if guess else ""
        raise UnknownNameError(
            f"unknown protocol {name!r}", hint=f"{meant}Protocols: {', '.join(PROTOCOLS)}"
        )
    return PROTOCOLS[name]


def lacking(protocol: Protocol, fields: Mapping[str, Any], *, own: bool) -> list[str]:
    """Return the fields that a protocol needs and a record does not have."""
    if own:
        gold = fields.get("target")
        present = gold if isinstance(gold, Mapping) else {}
        return [f"target.{name}" for name in protocol.needs_own or () if name not in present]
    return [" or ".join(names) for names in protocol.needs if not set(names) & set(fields)]


def fitting(fields: Mapping[str, Any], *, own: bool) -> list[str]:
    """Return the names of the protocols that can score a record, the likeliest first."""
    possible = [
        protocol
        for protocol in PROTOCOLS.values()
        if (protocol.needs_own is not None or not own)
        and not lacking(protocol, fields, own=own)
        and protocol.fits(fields)
    ]
    return [p.name for p in sorted(possible, key=lambda p: -len(p.needs))]
