"""Reads the boxes of a record twice, as the published scorers do and all, and matches them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from geovlm import boxes
from geovlm.api import PromptContext
from geovlm.boxes import Box
from geovlm.plugins import profiles
from geovlm.rewards.reading import references
from geovlm.score.protocols.contract import Counts, Record, Scores, share
from geovlm.score.protocols.earthdial import overlaps
from geovlm.score.protocols.values import UnreadableError

_MARKS = re.compile(r"</?ref>")
_BOX_TEXT = re.compile(r"<box>\[\[.*?\]\]</box>|\[\[.*?\]\]")


class BoxCase(NamedTuple):
    """Boxes of one record, once as the published scorer reads them, once all of them.

    They are in percent of the image in published files, in pixels of the stored image in ours.
    """

    published_truth: Sequence[Box | None]
    published: Sequence[Box | None]
    truth: Sequence[Box]
    predicted: Sequence[Box]
    groups: tuple[str, ...] = ()
    answer_text: str = ""
    """Text of a grounded caption without its boxes."""
    reference: str = ""
    boxes_in_reference: int = 0

    def is_read_alike(self) -> bool:
        """True if the published scorer reads the same boxes as we do."""
        return self.published_truth == self.truth and self.published == self.predicted


class Compared(NamedTuple):
    """A case, the overlaps of its published reading, and the number of matches of its full one."""

    case: BoxCase
    published: overlaps.Pairs
    match50: int
    match25: int

    def strict_counts(self) -> dict[str, float]:
        """Boxes and one-to-one matches."""
        return {
            "truth": len(self.case.truth),
            "predicted": len(self.case.predicted),
            "match50": self.match50,
            "match25": self.match25,
        }


def _own(record: Record, answer: str) -> BoxCase:
    """Boxes of a record of GeoVLM, in pixels of the stored image."""
    gold = record.target()
    if not isinstance(gold.get("boxes"), list):
        raise UnreadableError("field 'target' has no boxes")
    name = record.text("profile")
    profile = profiles.of_record(record.fields)
    if profile is None or profile.box_frame is None:
        raise UnreadableError(f"the frame of the boxes of profile {name!r} is not known")
    try:
        context = PromptContext(
            profile=profile,
            image_sizes=tuple((int(w), int(h)) for w, h in record.fields["image_sizes"]),
            input_sizes=tuple((int(w), int(h)) for w, h in record.fields["input_sizes"]),
        )
        truth = boxes.target_boxes(gold)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise UnreadableError("image sizes or true boxes are not numbers") from error
    sizes = (*context.image_sizes, *context.input_sizes)
    if not len(context.image_sizes) == len(context.input_sizes) > 0 or min(map(min, sizes)) < 1:
        raise UnreadableError("image sizes are not those of images")
    if not all(math.isfinite(number) for box in truth for number in box):
        raise UnreadableError("a true box has a number that is not finite")
    predicted = boxes.parse(answer, context, limit=10**9)
    return BoxCase(truth, predicted, truth, predicted)


def _theirs(record: Record, answer: str, *, truth: str) -> BoxCase:
    written = record.text(truth, listed=True)
    gold, said = overlaps.read(written), overlaps.read(answer)
    if not gold.digits and not gold.all and written.strip(" []"):
        raise UnreadableError(f"field {truth!r} holds no box")
    return BoxCase(gold.digits, said.digits, gold.all, said.all)


def read_refer(record: Record, answer: str) -> BoxCase:
    """Boxes and groups: size of the objects, single or multiple, type of the query."""
    found = _own(record, answer) if record.own else _theirs(record, answer, truth="gt_bbox")
    meta = record.fields.get("meta") if record.own else record.fields
    fields = meta if isinstance(meta, dict) else {}
    number = "single" if len(found.published_truth) == 1 else "multiple"
    kinds = (fields.get("size_group"), number, fields.get("task_type") or fields.get("type"))
    return found._replace(groups=tuple(str(kind) for kind in kinds if kind))


def read_xbd(record: Record, answer: str) -> BoxCase:
    """Boxes; the published scorer drops the angle of predictions, not of truths."""
    found = _own(record, answer) if record.own else _theirs(record, answer, truth="caption0")
    flat = [box and boxes.drop_angle(box) for box in found.published]
    return found._replace(published=flat)


def read_grounding(record: Record, answer: str) -> BoxCase:
    """A description and its boxes; the published scorer reads groups of five numbers only."""
    if record.own:
        found = _own(record, answer)
        truths = references(record.target())
        return found._replace(
            answer_text=boxes.strip(answer),
            reference=boxes.strip(truths[0]) if truths else "",
            boxes_in_reference=len(found.truth),
        )
    reference = record.text("groundtruth")
    found = _theirs(record, answer, truth="obj_ids")
    return found._replace(
        published_truth=[box for box in found.published_truth if box],
        published=[box for box in found.published if box],
        answer_text=_without_boxes(answer),
        reference=_without_boxes(reference),
        boxes_in_reference=sum(map(bool, overlaps.read_digits(reference))),
    )


def _without_boxes(description: str) -> str:
    plain = _MARKS.sub("", description)
    # beyond the last end of a group the pattern would look for one from every bracket
    last = plain.rfind("]]") + len("]]")
    last += len("</box>") * plain.startswith("</box>", last)
    return _BOX_TEXT.sub("", plain[:last]) + plain[last:]


def compare(cases: Sequence[BoxCase]) -> list[Compared]:
    """Return each case with its overlaps and matches, in the same order."""
    strict = overlaps.overlaps([case.truth for case in cases], [case.predicted for case in cases])
    # the two readings differ for few records: signs, fractions, groups of other lengths
    other = [i for i, case in enumerate(cases) if not case.is_read_alike()]
    read = overlaps.overlaps(
        [cases[i].published_truth for i in other], [cases[i].published for i in other]
    )
    differing = dict(zip(other, read, strict=True))
    published = [differing.get(i, pairs) for i, pairs in enumerate(strict)]
    near = overlaps.matches(strict, threshold=0.5)
    far = overlaps.matches(strict, threshold=0.25)
    return list(map(Compared, cases, published, near, far))


def strict_scores(counts: Counts, suffix: str = "") -> Scores:
    """Precision, recall and F1 at IoU 0.5 and 0.25, over all boxes of the file; none without boxes.

    Without a box on either side no score says if the answers are right.
    """
    predicted, truth = counts[f"predicted{suffix}"], counts[f"truth{suffix}"]
    near, far = counts[f"match50{suffix}"], counts[f"match25{suffix}"]
    if not predicted and not truth:
        return {}
    return {
        "precision": share(near, predicted),
        "recall": share(near, truth),
        "f1": share(2 * near, predicted + truth),
        "precision_25": share(far, predicted),
        "recall_25": share(far, truth),
        "f1_25": share(2 * far, predicted + truth),
    }
