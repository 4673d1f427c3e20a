"""Scores change captions as LEVIR-CC's authors do: BLEU, ROUGE-L, CIDEr, and both halves.

Rule: Chen-Yang-Liu/RSICC, eval.py, d1505e5, with the metrics of coco-caption. Words are lower-case,
without punctuation, as in the authors' token files and after COCO's tokenizer. A pair is unchanged
if its second reference (the only one, if there is one) is one of five fixed sentences; about half
of LEVIR-CC is. BLEU-n is sacrebleu's corpus score of these words with the nearest reference length,
which is the rule of COCO; CIDEr takes the document frequencies of the references that are scored
and has COCO's scale of 0 to 10. The strict captions take each character of a script without blanks
as a word. COCO's METEOR needs Java; `meteor_nltk` is NLTK's, which gives other numbers, and is
computed if NLTK's WordNet is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from geovlm import answers
from geovlm.errors import ConfigError
from geovlm.rewards.reading import references
from geovlm.score.protocols.contract import Counts, Protocol, Record, Scores, share
from geovlm.score.protocols.text import letters, meteor
from geovlm.score.protocols.text.cider import Cider
from geovlm.score.protocols.values import UnreadableError

if TYPE_CHECKING:
    from sacrebleu.metrics import BLEU

NO_CHANGE = frozenset(
    {
        "the scene is the same as before",
        "there is no difference",
        "the two scenes seem identical",
        "no change has occurred",
        "almost nothing has changed",
    }
)
"""The sentences that state that nothing changed."""

_BETA = 1.2  # weight of recall in coco-caption's ROUGE-L
_ORDERS = (1, 2, 3, 4)
_MEASURES = (*(f"bleu{order}" for order in _ORDERS), "rougeL", "cider", "meteor_nltk")
_HALVES = {"change/": "change_accuracy", "no_change/": "no_change_accuracy"}
"""Prefix of the scores of a half, and the name of its accuracy."""


class Changed(NamedTuple):
    """A sentence about a pair of images and its references; words between single blanks."""

    answer: str
    truths: tuple[str, ...]
    half: str
    """`change/` or `no_change/`."""

    def apart(self) -> Changed:
        """Return the case with each character of a script without blanks as a word."""
        truths = tuple(map(letters.apart, self.truths))
        return self._replace(answer=letters.apart(self.answer), truths=truths)


def plain(sentence: str) -> str:
    """Return the words of a sentence in lower case, without punctuation, one blank between them.

    A sentence of signs alone, such as emoji, is itself.
    """
    found = _words(ascii_only=sentence.isascii()).findall(sentence.lower())
    return " ".join(found or sentence.split())


@lru_cache(maxsize=2)
def _words(*, ascii_only: bool) -> re.Pattern[str]:
    letter = r"\w" if ascii_only else rf"[\w{answers.marks()}]"
    return re.compile(f"{letter}+(?:['-]{letter}+)*")


def rouge_l(answer: str, truths: Sequence[str]) -> float:
    """coco-caption's ROUGE-L: F of the best precision and the best recall, recall weighted 1.2."""
    from rapidfuzz.distance import LCSseq

    named = answer.split()
    pairs = [(LCSseq.similarity(truth.split(), named), len(truth.split())) for truth in truths]
    precision = max(share(shared, len(named)) for shared, _ in pairs)
    recall = max(share(shared, length) for shared, length in pairs)
    return share((1 + _BETA**2) * precision * recall, recall + _BETA**2 * precision)


def _read(record: Record, answer: str) -> Changed:
    found = references(record.target()) if record.own else record.captions()
    truths = tuple(plain(each) for each in found if each.strip())
    if not truths:
        raise UnreadableError("no reference caption")
    judged = truths[1] if len(truths) > 1 else truths[0]
    half = "no_change/" if judged in NO_CHANGE else "change/"
    return Changed(plain(answer), truths, half)


def _tally(cases: Sequence[Changed]) -> Iterator[Counts]:
    """Counts of each case; those of the strict captions begin with `strict/`."""
    split = [case.apart() for case in cases]
    published = list(_measured(cases))
    strict = published if split == cases else list(_measured(split))
    for case, one, other in zip(cases, published, strict, strict=True):
        own = {f"strict/{k}": n for k, n in other.items() if k.startswith("change/")}
        yield {**one, **own, **letters.counts(case.truths, case.answer)}


def _measured(cases: Sequence[Changed]) -> Iterator[dict[str, float]]:
    cider = Cider([case.answer for case in cases], [case.truths for case in cases])
    overall = cider.scores(range(len(cases)))
    in_half: dict[int, float] = {}
    for half in _HALVES:
        own = [i for i, case in enumerate(cases) if case.half == half]
        in_half.update(zip(own, cider.scores(own), strict=True))
    bleu = _bleu()
    for i, case in enumerate(cases):
        counts = _counts(case, bleu)
        yield {
            **counts,
            "cider": overall[i],
            **{f"{case.half}{name}": value for name, value in counts.items()},
            f"{case.half}cider": in_half[i],
        }


def _counts(case: Changed, bleu: BLEU) -> dict[str, float]:
    """Return the counts of one case without CIDEr; those of BLEU are sacrebleu's."""
    scored = bleu.sentence_score(case.answer, list(case.truths))
    counts: dict[str, float] = {
        "n": 1,
        "rougeL": rouge_l(case.answer, case.truths),
        "right": (case.answer in NO_CHANGE) == (case.half == "no_change/"),
        "exact": case.answer in case.truths,
        "length": scored.sys_len,
        "nearest": scored.ref_len,
        **meteor.counts(case.truths, case.answer),
    }
    longest = max(len(truth.split()) for truth in case.truths)
    for order, same, grams in zip(_ORDERS, scored.counts, scored.totals, strict=True):
        counts |= {f"same{order}": same, f"grams{order}": grams, f"long{order}": longest >= order}
    return counts


def _bleu() -> BLEU:
    try:
        from sacrebleu.metrics import BLEU
    except ImportError as error:
        raise ConfigError(
            "protocol 'change_caption' needs sacrebleu", hint="pip install 'geovlm[caption]'"
        ) from error
    return BLEU(tokenize="none", effective_order=True)  # the counts are those of any order


def _captions(counts: Counts, half: str) -> Scores:
    """BLEU-1 to 4, ROUGE-L, CIDEr and METEOR of one half, or of all (`""`).

    There is no BLEU-n without a reference of n words, and no CIDEr of one case: its weights are
    the logarithms of the number of cases a word is absent from.
    """
    from sacrebleu.metrics import BLEU

    same = [int(counts[f"{half}same{order}"]) for order in _ORDERS]
    grams = [int(counts[f"{half}grams{order}"]) for order in _ORDERS]
    scores = {}
    for order in (order for order in _ORDERS if counts[f"{half}long{order}"]):
        made = BLEU.compute_bleu(
            same[:order],
            grams[:order],
            int(counts[f"{half}length"]),
            int(counts[f"{half}nearest"]),
            max_ngram_order=order,
        )
        scores[f"bleu{order}"] = made.score / 100
    n = counts[f"{half}n"]
    if meteor.present():
        scores["meteor_nltk"] = share(counts[f"{half}meteor"], n)
    return {
        **scores,
        "rougeL": share(counts[f"{half}rougeL"], n),
        **({"cider": counts[f"{half}cider"] / n} if n > 1 else {}),
    }


def _published(counts: Counts) -> Scores:
    scores = _captions(counts, "")
    for half, name in _HALVES.items():
        if counts[f"{half}n"]:
            own = {f"{half}{metric}": value for metric, value in _captions(counts, half).items()}
            scores |= {**own, name: share(counts[f"{half}right"], counts[f"{half}n"])}
    return scores


def _strict(counts: Counts) -> Scores:
    halves = [half for half in _HALVES if counts[f"{half}n"]]
    rates = [share(counts[f"{half}right"], counts[f"{half}n"]) for half in halves]
    return {
        **(_captions(counts, "strict/change/") if "change/" in halves else {}),
        **({"balanced_accuracy": sum(rates) / 2} if len(rates) == len(_HALVES) else {}),
        "exact": share(counts["exact"], counts["n"]),
    }


def _left_out(counts: Counts) -> dict[str, str]:
    """Reasons against scores of this file: its words, its pairs, its language, this machine."""
    short = [order for order in _ORDERS if not counts[f"long{order}"]]
    present = [half for half in _HALVES if counts[f"{half}n"]]
    measured = [f"{half}{measure}" for half in ("", *present) for measure in _MEASURES]
    single = [half for half in ("", *_HALVES) if counts[f"{half}n"] == 1]
    return {
        **{f"bleu{order}": f"needs a reference of {order} words" for order in short},
        **{f"{half}cider": "needs two pairs" for half in single},
        **letters.left_out(counts, "spaced", measured),
        **letters.left_out(counts, "latin", [_HALVES[half] for half in present]),
        **({} if len(present) == 2 else {"balanced_accuracy": "needs pairs of both halves"}),
        **meteor.left_out("meteor_nltk"),
    }


def _counted(counts: Counts) -> dict[str, int]:
    overall = ["bleu1", "bleu2", "bleu3", "bleu4", "rougeL", "cider"]
    overall += ["meteor_nltk"] if meteor.present() else []
    number = dict.fromkeys(overall, int(counts["n"]))
    for half, name in _HALVES.items():
        if counts[f"{half}n"]:
            own = (*(f"{half}{metric}" for metric in overall), name)
            number |= dict.fromkeys(own, int(counts[f"{half}n"]))
    return number


CHANGE_CAPTION = Protocol(
    name="change_caption",
    summary="Sentences about changes, and whether there are any.",
    published_rule="BLEU-n (sacrebleu, COCO's rule), ROUGE-L and CIDEr of coco-caption, NLTK's "
    "METEOR, over all pairs, changed ones and unchanged ones; accuracy of stating that nothing "
    "changed",
    strict_rule="captions of changed pairs alone, which five fixed sentences cannot answer; "
    "a character of a script without blanks is a word; balanced_accuracy: mean of both halves; "
    "exact: the answer is one of the references",
    source="Chen-Yang-Liu/RSICC, eval.py, d1505e5; coco-caption",
    needs=(("answer",), ("caption0",)),
    needs_own=("captions",),
    read=_read,
    tally=_tally,
    credit=frozenset(
        {"rougeL", "right", "exact", "cider", "meteor", *(f"same{order}" for order in _ORDERS)}
    ),
    published=_published,
    strict=_strict,
    counted=_counted,
    left_out=_left_out,
    notes=lambda counts: letters.notes(counts, "spaced", "score of words"),
    fits=lambda fields: "[changedet]" in str(fields.get("question", "")),
)
