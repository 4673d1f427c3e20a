"""Asks for the use of a place, in EarthDial's words.

The published question marks the places of the images by `<image>`. The chat template of the model
puts images in, so the question here is the published one without these marks; every other character
is kept.
"""

from __future__ import annotations

from geovlm.api import PromptContext, Sample, Turn
from geovlm_fmow import FmowTaskOptions
from geovlm_fmow.categories import CATEGORIES, QUESTION

PUBLISHED = QUESTION.format(", ".join(CATEGORIES))
"""EarthDial's question, byte for byte."""
QUESTIONS = {
    "earthdial": PUBLISHED.replace("<image>", ""),
    "plain": "The images show one place on different dates, oldest first. Classify it in one of "
    f"the following classes. Classes: {', '.join(CATEGORIES)}. "
    "Answer in one word or a short phrase.",
}
"""Wording -> question."""


def prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for one of the 62 categories; the reasoning names the years that are shown."""
    own: FmowTaskOptions = ctx.options or FmowTaskOptions()
    label = str(sample.target["answer"])
    first, last = (str(sample.target[name])[:4] for name in ("first", "last"))
    dates = f"from {first} to {last}" if first != last else f"of {first}"
    return Turn(
        question=QUESTIONS[own.wording],
        answer=label,
        reasoning=f"The images {dates} show one place. Its use is {label}.",
    )
