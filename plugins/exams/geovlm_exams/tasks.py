"""Writes the questions of the benchmarks, in the words of their own code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from geovlm import answers, boxes
from geovlm.api import Json, PromptContext, Sample, Turn
from geovlm_exams import WordingOptions, listing, vrsbench, xlrs

CHOICE_OF_THREE = (
    "Please select the most appropriate answer for the following single-choice question from the "
    "given options. Only respond with the corresponding letter (A or B or C). Do not include any "
    "additional text.\n"
)
"""CHOICE's words before a question of `OF_THREE`, byte for byte. Source: ShawnAn-WHU/CHOICE,
ms-swift/infer_vlm/infer_choice.py, eb6c430."""
CHOICE_OF_FOUR = (
    "Please select the most appropriate answer for the following single-choice question from the "
    "given options. Only respond with the corresponding letter (A, B, C or D). Do not include any "
    "additional text.\n"
)
"""The same before all others but visual grounding, which has none."""
GEOBENCH = (
    "For the given the Multiple Choice Question Answer below, analyze the question and answer "
    "strictly from one of the options below. Strictly answer the choice only. No additional text. "
    "Provide only the letter (A., B., C., D. or E.) corresponding to the correct answer for the "
    "multiple-choice question given. {description}\n{prompt}\nOptions: "
)
"""GEOBench-VLM's words before the choices, byte for byte. Source: The-AI-Alliance/GEO-Bench-VLM,
eval_geobenchvlm/qwen_cls_single.py, bd07b00."""
GEOBENCH_PAIR = "The following images show the condition before and after the event."
"""The first sentence of its temporal questions. The two that follow name the place of each image
between the images; a question here stands behind all images."""
XLRS_ONE = (
    "\nSelect the best answer for the multiple-choice question based on the image. Only respond "
    "with the letter corresponding to the correct answer (A, B, C, D).\nThe answer is:"
)
"""XLRS-Bench's words behind the choices, byte for byte. Source: EvolvingLMMs-Lab/lmms-eval,
lmms_eval/tasks/xlrs/mcq_utils.py, 13cba15."""
XLRS_SEVERAL = (
    "\nSelect the best answer(s) for the multiple-choice question based on the image. There may be "
    "more than one correct option. Only respond with the letter(s) corresponding to the correct "
    "answer(s) (A, B, C, D), with multiple choices separated by spaces.The answer(s) is(are):"
)
"""The same where several letters may be right."""
VQA_SUFFIX = "Answer with a word or a short phrase."
"""Our request: VRSBench publishes its questions, but no words around them."""
REFER = "Give the box of the object that this sentence describes: {}"
"""Our request, for the same reason."""
PLAIN_SEVERAL = "Answer with the letters of all right choices, with blanks between."
OF_THREE = ("attribute_comparison", "object_presence")
PLAIN = "Answer with the letter of the right choice."
_NAMED = 80


def closed(sample: Sample) -> Iterable[Sample]:
    """Return a record with choices."""
    return (sample,) if "choices" in sample.target else ()


def grounded(sample: Sample) -> Iterable[Sample]:
    """Return a record with a box."""
    return (sample,) if "boxes" in sample.target else ()


def choice_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask a question of CHOICE."""
    kind = str(sample.target.get("type", ""))
    before = CHOICE_OF_THREE if kind in OF_THREE else CHOICE_OF_FOUR
    return _closed(sample, ctx, before=before)


def geobench_samples(sample: Sample) -> Iterable[Sample]:
    """Return one sample per phrasing of the question."""
    target: Any = sample.target
    phrasings = target["prompts"]
    for number, text in enumerate(phrasings):
        own = {"phrasings": len(phrasings)} if "choices" in target else {}
        kept = {name: value for name, value in target.items() if name != "prompts"}
        yield replace(sample, id=f"{sample.id}/{number}", question=text, target={**kept, **own})


def geobench_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask a question of GEOBench-VLM, in one of its phrasings."""
    described = str(sample.target.get("description", ""))
    before = GEOBENCH.format(description=described, prompt=sample.question)
    if len(sample.images) > 1:
        before = f"{GEOBENCH_PAIR}\n{before}"
    return _closed(sample, ctx, before=before)


def xlrs_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask a question of XLRS-Bench."""
    several = sample.target.get("type") == xlrs.SEVERAL
    after = XLRS_SEVERAL if several else XLRS_ONE
    return _closed(sample, ctx, after=after, several=several)


def vqa_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask a question of VRSBench."""
    return Turn(
        question=f"{sample.question} {VQA_SUFFIX}",
        answer=str(sample.target["answer"]),
        reasoning=f"What is asked: {sample.target.get('type') or 'one fact about the image'}.",
    )


def caption_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for VRSBench's description of an image."""
    captions: Any = sample.target["captions"]
    return Turn(
        question=sample.question,
        answer=captions[0],
        reasoning="The scene as a whole comes first, then its objects.",
    )


def refer_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the box of an object; the answer has the frame and form of the model family."""
    return Turn(
        question=REFER.format(sample.question),
        answer=boxes.write(boxes.target_boxes(sample.target), ctx),
        reasoning="The sentence fits one object or group.",
    )


def ground_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask CHOICE's question for a box; the answer has the frame and form of the model family."""
    found = boxes.target_boxes(sample.target)
    return Turn(
        question=sample.question,
        answer=boxes.write(found, ctx),
        reasoning="One object fits the words.",
    )


def blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target without the correct answer, for `geovlm predict`.

    Raises:
        ValueError: there are not 2 to 26 choices.
    """
    choices: list[Json] = [part.strip() for part in str(said["choices"]).split("|") if part.strip()]
    if not 2 <= len(choices) <= len(listing.LETTERS):
        raise ValueError("choices: two to 26, with | between them")
    text = listing.lined(str(said["question"]), [str(each) for each in choices])
    layout: list[Json] = list(listing.parse(text).layout)
    return {"question": said["question"], "choices": choices, "layout": layout, "answer": "A"}


def answer_blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target without the correct answer of a question of VRSBench."""
    return {"question": said["question"], "answer": ""}


def caption_blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target without the caption."""
    return {"question": vrsbench.CAPTION, "captions": [""]}


def ground_blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target without the box, for `geovlm predict`."""
    return {"question": said["question"], "boxes": []}


def _closed(
    sample: Sample,
    ctx: PromptContext,
    *,
    before: str = "",
    after: str = "",
    several: bool = False,
) -> Turn:
    """Return question and answer; `before` and `after` are the official words around them."""
    own: WordingOptions = ctx.options or WordingOptions()
    target: Any = sample.target
    choices = [str(each) for each in target["choices"]]
    if own.wording == "official":
        question = f"{before}{listing.filled(target['layout'], choices)}{after}"
    else:
        request = PLAIN_SEVERAL if several else PLAIN
        question = f"{listing.lined(sample.question, choices)}\n{request}"
    right = [choices[at].strip() for at in answers.named_choices(target["answer"], choices)]
    named = "; ".join(text[:_NAMED] for text in right)
    fits = "these fit" if len(right) > 1 else "this fits"
    return Turn(
        question=question,
        answer=str(target["answer"]),
        reasoning=f"Of the {len(choices)} choices {fits} the image: {named}",
    )
