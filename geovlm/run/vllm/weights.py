"""Compares the weights that vLLM holds with those that were sent to it, by sums.

vLLM stacks weights of a checkpoint into one, pads them and renames them, and splits them over GPUs.
Sums survive all of this. Two of each weight are compared, of its entries and of their magnitudes,
in double precision: a weight that stayed behind by one step of training has others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

ROUNDING = 1e-11
"""Difference of two sums of the same entries in another order, relative to their magnitudes."""
_OTHERS = "weights without a counterpart"


class Held(NamedTuple):
    """The weights of one process of vLLM; it travels as JSON."""

    names: Mapping[str, str]
    """Name in the checkpoint -> name in vLLM; without those that vLLM does not have."""
    sums: Mapping[str, Sequence[float]]
    """Name in vLLM -> sum of the entries and sum of their magnitudes."""
    images: int = 0
    """Number of images whose features are kept."""


def sums(weight: Any, *, dtype: Any = None) -> tuple[float, float]:
    """Return the sum of a tensor's entries and of their magnitudes, after a cast to `dtype`."""
    import torch

    cast = weight.detach() if dtype is None else weight.detach().to(dtype)
    total = torch.sum(cast, dtype=torch.float64)
    size = torch.linalg.vector_norm(cast.flatten(), ord=1, dtype=torch.float64)
    return float(total), float(size)


def held(runner: Any, sent: Iterable[str]) -> Held:
    """Return the weights of vLLM's model runner, and its names of those that were `sent`."""
    model = runner.model
    own = dict(model.named_parameters())
    mapper = getattr(model, "hf_to_vllm_mapper", None)
    stacked = [
        (part, whole)
        for module in model.modules()
        for whole, parts in (getattr(module, "packed_modules_mapping", None) or {}).items()
        for part in parts
    ]
    names = {}
    for name in sent:
        renamed = name if mapper is None else next(iter(mapper.apply_list([name])), name)
        options = [renamed, *(renamed.replace(f".{a}.", f".{b}.") for a, b in set(stacked))]
        found = next((each for each in options if each in own), None)
        if found is not None:
            names[name] = found
    found = {name: sums(weight) for name, weight in own.items()}
    return Held(names, found, images=len(runner.encoder_cache))


def differing(sent: Mapping[str, Sequence[float]], workers: Sequence[Held]) -> list[str]:
    """Return the names of weights that are not as they were sent, those of the checkpoint.

    `sent` holds the sums of the trainer's weights, `workers` each process of vLLM. A weight is
    split over the processes or the same in each. Weights of vLLM that nobody sent have vLLM's name.
    """
    wanted: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    parts: dict[str, list[str]] = defaultdict(list)
    for name, values in sent.items():
        there = workers[0].names.get(name, _OTHERS)
        wanted[there] = [a + b for a, b in zip(wanted[there], values, strict=True)]
        parts[there].append(name)
    unsent = [name for name in workers[0].sums if name not in wanted]
    found = {name: [worker.sums[name] for worker in workers] for name in wanted if name != _OTHERS}
    if unsent and _OTHERS in wanted:
        found[_OTHERS] = [
            [sum(worker.sums[name][i] for name in unsent) for i in (0, 1)] for worker in workers
        ]
        parts[_OTHERS] += unsent
        unsent = []
    wrong = [name for name, each in found.items() if not _equal(wanted[name], each)]
    return [part for name in wrong for part in parts[name]] + unsent


def _equal(wanted: Sequence[float], found: Sequence[Sequence[float]]) -> bool:
    whole = [sum(each[i] for each in found) for i in (0, 1)]
    return _close(wanted, whole) or all(_close(wanted, each) for each in found)


def _close(wanted: Sequence[float], found: Sequence[float]) -> bool:
    limit = ROUNDING * wanted[1]
    return all(abs(a - b) <= limit for a, b in zip(wanted, found, strict=True))
