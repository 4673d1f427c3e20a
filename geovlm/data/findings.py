"""Holds the findings of `geovlm data check`, and writes them for people and programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from geovlm.data.objects import Sizes

NAMED = 10
"""Number of items named per finding; the others are only counted."""
LABELS = 60
"""Number of labels listed for people; JSON has all."""


@dataclass(slots=True)
class Finding:
    """A number of items, and the names of the first."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, item: str) -> None:
        """Count one item more."""
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(item)

    def extend(self, other: Finding) -> None:
        """Count the items of another finding too."""
        self.count += other.count
        self.first = [*self.first, *other.first][:NAMED]

    def __str__(self) -> str:
        return "\n".join([str(self.count), *shortened(self.first, self.count)])


@dataclass(slots=True)
class Report:
    """Findings in one copy of a data set."""

    dataset: str
    root: Path
    licence: str
    homepage: str
    records: dict[str, int] = field(default_factory=dict)
    """Split -> records that the loader returns."""
    official: dict[str, int] = field(default_factory=dict)
    """Split -> records of the official release, where that is known."""
    failed: dict[str, str] = field(default_factory=dict)
    """Split -> why it could not be read."""
    skipped: dict[str, dict[str, Finding]] = field(default_factory=dict)
    """Split -> reason -> records that the loader left out."""
    images: int = 0
    decoded: bool = False
    boxes: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    unused: list[str] = field(default_factory=list)
    """Labels of the vocabulary that no record has."""
    gone: dict[str, str] = field(default_factory=dict)
    """Split -> the folder in which none of its images lies, as a sentence; they count as missing,
    and are not looked for one by one."""
    missing: Finding = field(default_factory=Finding)
    """Files of images that do not exist."""
    incomplete: int = 0
    """Images that lack a file."""
    unreadable: Finding = field(default_factory=Finding)
    small: Finding = field(default_factory=Finding)
    narrow: Finding = field(default_factory=Finding)
    """Images that a model's resize refuses."""
    resized: Finding = field(default_factory=Finding)
    """Images that do not have the size that the data set declares."""
    outside: Finding = field(default_factory=Finding)
    degenerate: Finding = field(default_factory=Finding)
    duplicates: Finding = field(default_factory=Finding)
    objects: Sizes | None = None
    """Sizes of the boxes as a model sees them."""
    too_small: str = ""
    """Line that says that they are too small for the model; empty if they are not."""
    implausible: str = ""
    """Reason for which the images are refused, from their pixels; empty if they are not."""
    assumed: list[str] = field(default_factory=list)
    """Assumptions about images that can be read in more than one way, a line per kind."""
    shared: Finding = field(default_factory=Finding)
    """Images that several splits hold."""
    unknown: Finding = field(default_factory=Finding)
    """Labels that are not in their vocabulary."""

    @property
    def fit(self) -> bool:
        """True if nothing was found that would stop or spoil a training run."""
        spoilt = (self.missing, self.unreadable, self.narrow, self.resized, self.duplicates)
        whole = not any(finding.count for finding in spoilt)
        whole = whole and not self.failed and not self.implausible
        emptied = any(self._is_emptied(split) for split, n in self.records.items() if n == 0)
        return whole and not emptied and sum(self.records.values()) > 0

    def _is_emptied(self, split: str) -> bool:
        """Return True if items were left out of a split that are not left out of all alike.

        What a loader leaves out before it knows the split counts for each of them.
        """
        others = [self.skipped.get(each, {}) for each, n in self.records.items() if n]
        return any(
            all(found != other.get(reason) for other in others)
            for reason, found in self.skipped.get(split, {}).items()
        )

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        fields = asdict(replace(self, labels=Counter()))  # asdict cannot copy a filled Counter
        labels = dict(self.labels.most_common())
        return {**fields, "root": str(self.root), "labels": labels, "fit": self.fit}

    def lines(self) -> Iterator[tuple[str, object]]:
        """Yield (name, text) for people."""
        yield "data set", f"{self.dataset} in {self.root}"
        place = f" ({self.homepage})" if self.homepage != self.licence else ""
        yield "licence", f"{self.licence}{place}"
        for split, count in self.records.items():
            yield f"{split} records", self._counted(split, count)
        for split, why in self.failed.items():
            yield f"{split} cannot be read", why
        for split, reasons in self.skipped.items():
            for reason, found in reasons.items():
                yield f"{split} skipped, {reason}", found
        for split, sentence in self.gone.items():
            yield f"{split} images", sentence
        yield "images", f"{self.images}, {'decoded' if self.decoded else 'headers read'}"
        yield "images missing", self._missing()
        yield "images unreadable", self.unreadable
        yield "images with a side under 28 px", self.small
        yield "images over 200 times as long as wide, which models refuse", self.narrow
        yield "images that differ from the declared size", self.resized
        if self.implausible:
            yield "images that contradict their declaration", self.implausible
        if self.assumed:
            yield "assumed about images", "\n".join(self.assumed)
        yield "images in several splits", self.shared
        yield "boxes", self.boxes
        yield "boxes that leave the image", self.outside
        yield "boxes without area", self.degenerate
        if self.too_small:
            yield "boxes too small", self.too_small
        yield "ids used twice", self.duplicates
        if self.labels:
            listed = [f"{count} {label}" for label, count in self.labels.most_common(LABELS)]
            n, unused = len(self.labels), len(self.unused)
            yield f"labels, {n}", "\n".join(shortened(listed, n))
            yield "labels outside the vocabulary", self.unknown
            more = shortened(self.unused[:LABELS], unused)
            yield f"labels without a record, {unused}", "\n".join(more)

    def _missing(self) -> str:
        if not self.incomplete:
            return "0"
        many = f"{self.incomplete} of {self.images}"
        files = "" if self.missing.count == self.incomplete else f", {self.missing.count} files"
        return "\n".join([many + files, *shortened(self.missing.first, self.missing.count)])

    def _counted(self, split: str, count: int) -> str:
        official = self.official.get(split)
        if official is None:
            return str(count)
        return f"{count:,} of {official:,}" + (", a part" if count < official else "")


def shortened(lines: list[str], total: int) -> list[str]:
    """Return the first lines of a total, and the number of the others."""
    return [*lines, f"and {total - len(lines)} more"] if total > len(lines) else lines
