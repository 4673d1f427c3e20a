"""Applies a protocol to a prediction file: published and strict scores with intervals."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from geovlm.errors import DataError
from geovlm.score import bootstrap
from geovlm.score.protocols import catalogue, records
from geovlm.score.protocols.contract import Counts, Protocol, Record, Score, Scores
from geovlm.score.protocols.records import PredictionFile
from geovlm.score.protocols.values import UnreadableError

RESAMPLES = 1000


def score(
    file: PredictionFile, protocol: Protocol, *, resamples: int = RESAMPLES, seed: int = 0
) -> Score:
    """Return the scores of a file; every line of it is scored or skipped.

    An answer that cannot be read is scored as a wrong one; a record whose truth cannot be read is
    skipped. Both are counted by reason. Intervals are those of `score.bootstrap`; they resample
    images where every record names its image, else rows.

    Raises:
        DataError: the records lack fields that the protocol needs; names them and a protocol that
            fits. Or no record can be scored; gives the reasons.
    """
    _refuse_other_fields(file, protocol)
    skipped = Counter(file.skipped)
    used: list[Record] = []
    cases: list[Any] = []
    faults: list[str] = []
    for record in file.records:
        try:
            answer, fault = protocol.answer(record), ""
        except UnreadableError as error:
            answer, fault = protocol.nothing, str(error)
        try:
            cases.append(protocol.read(record, answer))
        except UnreadableError as error:
            skipped[str(error)] += 1
        else:
            used.append(record)
            faults.append(fault)
    if not cases:
        reasons = "; ".join(f"{reason} ({n})" for reason, n in skipped.most_common(3))
        raise DataError(
            f"no line of {str(file.path)!r} can be scored by {protocol.name!r}", hint=reasons
        )
    counts = [
        _without_credit(each, protocol) if fault else each
        for each, fault in zip(protocol.tally(cases), faults, strict=True)
    ]
    images = [records.image(record.fields) for record in used]
    by_image = None not in images
    total = _total(counts)
    left_out = protocol.left_out(total)
    published = {k: v for k, v in protocol.published(total).items() if k not in left_out}
    strict = protocol.strict(total)
    ci95 = _intervals(
        counts, protocol, clusters=images if by_image else None, resamples=resamples, seed=seed
    )
    return Score(
        protocol=protocol,
        n=len(cases),
        published=published,
        strict=strict,
        counts={name: n for name, n in protocol.counted(total).items() if name in published},
        ci95={  # a resample may have scores that the file does not have
            side: {name: ci95[side][name] for name in scores if name in ci95[side]}
            for side, scores in (("published", published), ("strict", strict))
        },
        resampled="image" if by_image else "row",
        skipped=dict(skipped.most_common()),
        unreadable=dict(Counter(filter(None, faults)).most_common()),
        left_out=left_out,
        notes=protocol.notes(total),
    )


def as_json(score: Score) -> dict[str, Any]:
    """Return a score as `geovlm score --json` prints it."""
    return {
        "protocol": score.protocol.name,
        "n": score.n,
        "lines": score.lines,
        "skipped_share": score.skipped_share,
        "unreadable_share": sum(score.unreadable.values()) / score.n,
        "published": score.published,
        "strict": score.strict,
        "ci95": {
            side: {name: list(bounds) for name, bounds in found.items()}
            for side, found in score.ci95.items()
        },
        "skipped": score.skipped,
        "unreadable": score.unreadable,
        "left_out": score.left_out,
        "notes": score.notes,
        "counts": score.counts,
        "resampled": score.resampled,
        "published_rule": score.protocol.published_rule,
        "strict_rule": score.protocol.strict_rule,
        "source": score.protocol.source,
    }


def _refuse_other_fields(file: PredictionFile, protocol: Protocol) -> None:
    """Refuse a file in which no record has the fields that the protocol needs."""
    first = file.records[0]
    if first.own and protocol.needs_own is None:
        raise DataError(
            f"{protocol.name!r} does not score files of GeoVLM's evaluation",
            hint=_suggestion(first),
        )
    missing = [catalogue.lacking(protocol, r.fields, own=r.own) for r in file.records]
    if not all(missing):
        return
    raise DataError(
        f"{str(file.path)!r} has no field {', '.join(map(repr, missing[0]))}, which protocol "
        f"{protocol.name!r} needs; its fields are {', '.join(map(repr, first.fields))}",
        hint=_suggestion(first),
    )


def _suggestion(record: Record) -> str:
    fitting = catalogue.fitting(record.fields, own=record.own)
    if fitting:
        return f"--protocol {fitting[0]} fits these fields"
    return "no protocol fits these fields; 'geovlm score --protocols' lists what each needs"


def _without_credit(counts: Counts, protocol: Protocol) -> Counts:
    """Return the counts of an answer that cannot be read: whatever it might earn is 0."""
    return {
        name: 0.0 if name.partition(":")[0].rpartition("/")[2] in protocol.credit else value
        for name, value in counts.items()
    }


def _total(counts: Sequence[Counts]) -> Counts:
    total: dict[str, float] = defaultdict(float)
    for each in counts:
        for name, value in each.items():
            total[name] += value
    return total


def _intervals(
    counts: Sequence[Counts],
    protocol: Protocol,
    *,
    clusters: Sequence[Any] | None,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, bootstrap.Interval]]:
    import numpy as np

    def finish(sums: Mapping[str, Any]) -> dict[str, Any]:
        rows = zip(*sums.values(), strict=True)
        drawn = [_both(protocol, dict(zip(sums, row, strict=True))) for row in rows]
        names = dict.fromkeys(name for each in drawn for name in each)
        return {name: np.array([each.get(name, math.nan) for each in drawn]) for name in names}

    statistic = bootstrap.of_sums(counts, finish, clusters=clusters)
    found = bootstrap.intervals(statistic, resamples=resamples, seed=seed)
    split: dict[str, dict[str, bootstrap.Interval]] = {"published": {}, "strict": {}}
    for name, bounds in found.items():
        side, _, metric = name.partition(":")
        split[side][metric] = bounds
    return split


def _both(protocol: Protocol, sums: Mapping[str, float]) -> Scores:
    """Return published and strict scores; a group without a case in this resample is absent."""
    total = defaultdict(float, {name: float(value) for name, value in sums.items() if value})
    sides = {"published": protocol.published(total), "strict": protocol.strict(total)}
    return {f"{side}:{name}": v for side, scores in sides.items() for name, v in scores.items()}
