"""Turns summed counts into means: what the word protocols of EarthDial share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from geovlm.score.protocols.contract import Counts, Scores, share
from geovlm.score.protocols.text import meteor

SOURCE = "hiyamdebary/EarthDial, src/earthdial/eval, 92c1260"


def mean_scores(names: Mapping[str, str]) -> Callable[[Counts], Scores]:
    """Return a function from counts to scores: each is the mean of the count that it names."""
    return lambda counts: {
        name: share(counts[names[name]], counts["n"]) for name in _computed(names)
    }


def counted(*names: str) -> Callable[[Counts], dict[str, int]]:
    """Return a function from counts to the number of records behind each of these scores."""
    return lambda counts: dict.fromkeys(_computed(names), int(counts["n"]))


def _computed(names: Iterable[str]) -> list[str]:
    return [name for name in names if name != "meteor" or meteor.present()]
