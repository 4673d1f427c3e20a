"""From a tiktoken file to a `tokenizer.json` of byte-level BPE."""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tools.families import sources

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The words of Qwen's tokenizers up to Qwen3, from the `tokenizer.json` of Qwen3."""
QWEN3_5_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The words of Qwen3.5's tokenizer: marks belong to the letters before them."""


class Added(NamedTuple):
    """A token outside the vocabulary's merges; `special` ones are left out of decoded text."""

    id: int
    content: str
    special: bool


class Vocabulary(NamedTuple):
    """Entries and merges in GPT-2's alphabet of bytes; the place of an entry is its id."""

    entries: list[str]
    merges: list[list[str]]


def numbered(start: int, special: Iterable[str], plain: Iterable[str] = ()) -> list[Added]:
    """Return added tokens with the ids from `start` on, those of `plain` not special."""
    names = [(name, True) for name in special] + [(name, False) for name in plain]
    return [Added(start + place, *name) for place, name in enumerate(names)]


def tokenizer_json(
    file: Path,
    added: Iterable[Added],
    *,
    split: str = QWEN_SPLIT,
    size: int | None = None,
    first: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the `tokenizer.json` of a tiktoken file.

    Args:
        file: the vocabulary.
        added: tokens beside it.
        split: the regular expression of the words within which merges happen.
        size: take only so many entries of the file.
        first: entries in front of the file's, for example special tokens with the lowest ids.
    """
    entries, merges = vocabulary(file)
    taken = [*first, *entries[:size]]
    if size is not None:
        known = set(taken)
        merges = [pair for pair in merges if "".join(pair) in known]
    bytes_only = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    bytes_only |= {"use_regex": False}
    words = {"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(added),
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [words, bytes_only]},
        "post_processor": bytes_only,
        "decoder": bytes_only,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {entry: place for place, entry in enumerate(taken)},
            "merges": merges,
        },
    }


def added_tokens(added: Iterable[Added]) -> list[dict[str, Any]]:
    """Return tokens as `tokenizer.json` lists them."""
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": each.id, "content": each.content, **plain, "special": each.special} for each in added
    ]


@functools.lru_cache(maxsize=2)
def vocabulary(file: Path) -> Vocabulary:
    """Return the entries and merges of a tiktoken file; the merges are kept between runs."""
    data = file.read_bytes()
    ranks = {
        base64.b64decode(token): int(rank) for token, rank in map(bytes.split, data.splitlines())
    }
    assert list(ranks.values()) == list(range(len(ranks))), f"{file}: ranks are not 0, 1, 2, …"
    letters = _alphabet()
    text = {token: "".join(letters[byte] for byte in token) for token in ranks}
    path = sources.cache() / "merges" / f"{hashlib.sha256(data).hexdigest()[:16]}.json"

    def made() -> bytes:
        pairs = [pair for token in ranks if (pair := _merge(token, ranks)) is not None]
        return json.dumps([[text[left], text[right]] for left, right in pairs]).encode()

    return Vocabulary(list(text.values()), json.loads(sources.kept(path, made)))


def _merge(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes] | None:
    """Return the two entries that become this one; None if there are none.

    A tiktoken file names no merges. The merge of an entry is what byte-pair encoding makes of its
    bytes by the entries of lower rank. For Qwen3 the result is its `tokenizer.json`, all 151,387
    merges in their order. 112 long entries of Qwen3.5 are not reached by lower ranks: they get the
    pair whose later part is the earliest.
    """
    rank = ranks[token]
    splits = ((token[:place], token[place:]) for place in range(1, len(token)))
    known = [
        (left, right)
        for left, right in splits
        if ranks.get(left, rank) < rank and ranks.get(right, rank) < rank
    ]
    if len(known) < 2:
        return known[0] if known else None
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = itertools.pairwise(parts)
        best, place = min((ranks.get(a + b, rank), place) for place, (a, b) in enumerate(pairs))
        if best >= rank:
            return min(known, key=lambda pair: max(ranks[pair[0]], ranks[pair[1]]))
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts[0], parts[1]


def _alphabet() -> dict[int, str]:
    """Return GPT-2's letter of each byte: printable ones stand for themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + place) for place, byte in enumerate(others)
    }
