"""Computes coco-caption's CIDEr for a whole file at once, equal to pycocoevalcap's.

Vedantam et al., CVPR 2015, arXiv:1411.5726, in the form of coco-caption (its `cider` is CIDEr-D:
matches clipped, a Gaussian penalty of the difference in length, sigma 6; scale 0 to 10). N-grams
are counted once, as arrays, and weighted by matrix products: the scores of a part of the file,
whose document frequencies differ, then cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array

_ORDERS = 4
_SIGMA = 6.0


class Cider:
    """N-gram counts of answers and references, ready to be scored as a whole or in part."""

    def __init__(self, answers: Sequence[str], truths: Sequence[Sequence[str]]) -> None:
        """Count the n-grams of a text and at least one reference per case, words between blanks."""
        import numpy as np

        self._owner = np.repeat(np.arange(len(truths)), [len(each) for each in truths])
        texts = [*answers, *(text for each in truths for text in each)]
        table, orders = _count_grams([text.split() for text in texts])
        self._answers, self._truths = table[: len(answers)], table[len(answers) :]
        self._orders = np.eye(_ORDERS)[orders - 1]
        clipped = self._answers[self._owner].minimum(self._truths)
        self._shared = clipped.multiply(self._truths).tocsr()
        # coco-caption's length of a text is its number of bigrams
        bigrams = self._orders[:, 1]
        gap = (self._answers @ bigrams)[self._owner] - self._truths @ bigrams
        self._penalty = np.exp(-(gap**2) / (2 * _SIGMA**2))

    def scores(self, cases: Sequence[int]) -> list[float]:
        """CIDEr of these cases, document frequencies from their references alone; 0 to 10 each."""
        import numpy as np

        chosen = np.zeros(self._answers.shape[0], dtype=bool)
        chosen[list(cases)] = True
        if not chosen.any():
            return []
        weights = self._orders * (self._idf(chosen) ** 2)[:, None]
        shared = self._shared @ weights
        own = np.sqrt(self._answers.power(2) @ weights)[self._owner]
        true = np.sqrt(self._truths.power(2) @ weights)
        lengths = own * true
        cosines = np.divide(shared, lengths, out=np.zeros_like(shared), where=lengths > 0)
        similar = cosines.mean(axis=1) * self._penalty
        sums = np.bincount(self._owner, weights=similar, minlength=len(chosen))
        number = np.bincount(self._owner, minlength=len(chosen))
        return [float(10 * sums[case] / number[case]) for case in cases]

    def _idf(self, chosen: np.ndarray) -> np.ndarray:
        import numpy as np
        from scipy.sparse import csr_array

        of_chosen = np.nonzero(chosen[self._owner])[0]
        ones = np.ones(len(of_chosen))
        group = csr_array(
            (ones, (self._owner[of_chosen], of_chosen)), shape=(len(chosen), len(self._owner))
        )
        documents = ((group @ (self._truths > 0).astype(float)) > 0).sum(axis=0)
        return np.log(chosen.sum()) - np.log(np.maximum(1.0, np.asarray(documents).ravel()))


def _count_grams(sentences: Sequence[list[str]]) -> tuple[csr_array, np.ndarray]:
    """Counts `(sentences, n-grams)` of the n-grams of one to four words, and their orders."""
    import numpy as np
    from scipy.sparse import coo_array

    numbers: dict[str, int] = {}
    lengths = np.array([len(words) for words in sentences], dtype=np.int64)
    words = np.fromiter(
        (numbers.setdefault(word, len(numbers)) for words in sentences for word in words),
        dtype=np.int64,
        count=int(lengths.sum()),
    )
    sentence = np.repeat(np.arange(len(sentences)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(words))  # to the sentence's end
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    orders: list[np.ndarray] = []
    start, gram, width = np.arange(len(words)), words, 0
    for order in range(1, _ORDERS + 1):
        kinds, gram = np.unique(gram, return_inverse=True)
        rows.append(sentence[start])
        columns.append(gram + width)
        orders.append(np.full(len(kinds), order))
        width += len(kinds)
        longer = left[start] > order
        start = start[longer]
        gram = gram[longer] * len(numbers) + words[start + order]
    where = (np.concatenate(rows), np.concatenate(columns))
    counts = coo_array((np.ones(len(where[0])), where), shape=(len(sentences), width))
    return counts.tocsr(), np.concatenate(orders)
