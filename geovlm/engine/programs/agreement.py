"""Compares what the stages of a run make of one row, and names what does not agree.

Every rule compares two ways to the same thing: the prompt that evaluation encodes and the one that
TRL encodes; the tokens that the sizes of the images give and those in the prompt; the target as it
is trained on, read again by the parsers of rewards, and the annotation. No rule needs the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from geovlm import answers, boxes
from geovlm.api import ModelProfile, RewardContext, Size
from geovlm.boxes.frames import clip
from geovlm.boxes.reading import read
from geovlm.data.prompts import reward_context
from geovlm.engine.rows import tokens
from geovlm.engine.rows.rows import Row

LEAST_IOU = 0.899  # 0.9, less what floating point may lose
"""Overlap of a box in the target with its annotation, for objects of at least `RESOLVED_PX`."""
LEAST_IOU_SMALL = 0.499
"""The same for smaller objects: `geovlm.boxes.write` keeps no more of those."""
RESOLVED_PX = 16.0
_SHOWN = 120


class Finding(NamedTuple):
    """One thing that does not agree."""

    stage: str
    """`SFT`, `GRPO` or `evaluation`."""
    rule: str
    """Name of the rule; a family that breaks one breaks it for many tasks."""
    problem: str
    fix: str


class Missing(NamedTuple):
    """Inputs of a stage that cannot be had."""

    problem: str
    fix: str = ""
    """Empty: nothing but another checkpoint helps."""


class Tokens(NamedTuple):
    """The prompt of a row in one of the ways, without padding."""

    ids: tuple[int, ...]
    types: Mapping[str, tuple[int, ...]]
    """Name of a field such as `mm_token_type_ids` -> its entries."""
    on_the_left: bool = True
    """True if the batch that it comes from is padded on the left, ids and types."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images of a row, as they are declared and as the processor makes them."""

    token: int | None
    """Id of the token that stands for a part of an image."""
    said: int
    """Number of tokens that `geovlm.data.prompts.visual_tokens` gives."""
    made: int | None = None
    """Number of tokens for which there are pixels; `None` where the inputs do not tell."""
    sizes: tuple[Size, ...] | None = None
    """Sizes (width, height) of which the processor made patches, pixels; `None` as for `made`."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One row in all ways in which a run uses it."""

    row: Row
    profile: ModelProfile
    alone: Tokens
    """Prompt of evaluation, in a batch of its own."""
    asked: Tokens
    """The same, in a batch with a row whose images have other sizes."""
    images: Images
    trained: Tokens | None = None
    """Prompt of SFT: all before the target."""
    target: tuple[int, ...] | None = None
    """Ids on which SFT trains."""
    sampled: Tokens | None = None
    """Prompt to which GRPO writes completions, by transformers or by vLLM."""
    scored: Tokens | None = None
    """Prompt from which TRL takes the other inputs when it scores completions."""
    missing: Mapping[str, Missing] = field(default_factory=dict)
    """Stage -> why its inputs cannot be built."""

    @property
    def context(self) -> RewardContext:
        """The row as rewards know it, at the sizes that the processor made."""
        found = reward_context(self.row, profile=self.profile)
        return found if self.images.sizes is None else _resized(found, self.images.sizes)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """The texts of a checkpoint: its tokenizer, and the tokens that end a completion."""

    processor: Any
    stops: tuple[int, ...]
    """Ids of the tokens that end a completion."""

    def written(self, target: Sequence[int]) -> list[int]:
        """Return what is left of a target where a model stops: up to its first end token."""
        ends = [i for i, each in enumerate(target) if each in self.stops]
        return list(target[: ends[0] + 1]) if ends else list(target)

    def completion(self, target: Sequence[int]) -> str:
        """Return the text that rewards and metrics read where a model writes a target."""
        return tokens.texts(self.processor, [self.written(target)])[0]

    def shown(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens included."""
        text: str = self.processor.tokenizer.decode(list(ids), skip_special_tokens=False)
        return text


def findings(seen: Seen, reader: Reader) -> Iterator[Finding]:
    """Yield what does not agree, in the order of a run: prompts, images, target, boxes."""
    for stage, why in seen.missing.items():
        yield Finding(stage, "inputs", why.problem, why.fix or _UNUSABLE)
    for rule in RULES:
        yield from rule(seen, reader)


def same_prompt(seen: Seen, reader: Reader) -> Iterator[Finding]:
    """The prompt that evaluation asks is the one of all other stages, alone and in a batch."""
    asked = seen.alone.ids
    if seen.asked.ids != asked:
        yield Finding(
            "evaluation",
            "batch",
            "in a batch with images of other sizes its prompt has other tokens than alone: "
            f"{_difference(asked, seen.asked.ids, reader)}",
            "the processor must take one list of images per prompt",
        )
    ways = {"SFT": seen.trained, "GRPO": seen.sampled, "GRPO, when it scores,": seen.scored}
    for stage, other in ways.items():
        if other is not None and other.ids != asked:
            yield Finding(
                stage,
                "prompt",
                "its prompt is not the one that evaluation asks: "
                f"{_difference(asked, other.ids, reader)}",
                "the chat template must write the same beginning with and without an answer, and "
                "the tokenizer add nothing",
            )


def one_beginning(seen: Seen, reader: Reader) -> Iterator[Finding]:
    """No prompt begins with the token of a beginning twice, and padding is on the left."""
    begin = reader.processor.tokenizer.bos_token_id
    for stage, prompt in _prompts(seen):
        if begin is not None and prompt.ids[:2] == (begin, begin):
            yield Finding(
                stage,
                "beginning",
                f"its prompt begins with {reader.shown([begin])!r} twice",
                "the chat template and the tokenizer both add it: set add_bos_token to false in "
                "tokenizer_config.json",
            )
        if not prompt.on_the_left:
            yield Finding(
                stage,
                "padding",
                "its prompts are padded on the right",
                'set padding_side to "left" in tokenizer_config.json',
            )


def as_many_tokens(seen: Seen, reader: Reader) -> Iterator[Finding]:
    """Tokens of images: as many as are said, as many as are made, of images of the said size."""
    images = seen.images
    if images.token is None:
        return
    there = seen.alone.ids.count(images.token)
    if there != images.said:
        yield Finding(
            "evaluation",
            "tokens",
            f"its prompt holds {there} tokens of images, and {images.said} are said",
            "the profile counts otherwise than the processor: image_tokens, size_factor or "
            "cell_tokens",
        )
    if images.made is not None and images.made != there:
        yield Finding(
            "evaluation",
            "patches",
            f"its prompt holds {there} tokens of images, and its pixels make {images.made}",
            "the processor and the configuration of the model do not belong together",
        )
    declared = seen.row.input_sizes
    for number, (size, made) in enumerate(zip(declared, images.sizes or declared, strict=True)):
        if size != made:
            yield Finding(
                "evaluation",
                "sizes",
                f"image {number + 1} is declared as {size[0]} x {size[1]} px, and the model sees "
                f"{made[0]} x {made[1]} px",
                "limits and size_factor of the profile must be those of the processor, which must "
                "leave a resized image as it is",
            )


def marked_tokens(seen: Seen, reader: Reader) -> Iterator[Finding]:
    """Type ids are as long as the prompt, and are 1 at the tokens of images and nowhere else."""
    token = seen.images.token
    for stage, prompt in _prompts(seen):
        for name, types in prompt.types.items():
            wrong = ""
            if len(types) != len(prompt.ids):
                wrong = f"has {len(types)} entries for the {len(prompt.ids)} tokens of its prompt"
            elif token is not None and any(types):
                marks = [each == token for each in prompt.ids]
                if [each == 1 for each in types] != marks:
                    wrong = "is not 1 at the tokens of images and nowhere else"
            if wrong:
                yield Finding(
                    stage, name, f"{name} {wrong}", "prompts must be padded on the left, BOS once"
                )


def whole_target(seen: Seen, reader: Reader) -> Iterator[Finding]:
    """The target ends where a model ends, and reads back as reasoning and correct answer."""
    if seen.target is None:
        return
    if not seen.target:
        problem = "its target is empty"
        yield Finding("SFT", "target", problem, "the chat template must write answers")
        return
    written = reader.written(seen.target)
    last = written[-1]
    if last not in reader.stops or reader.shown(seen.target[len(written) :]).strip():
        last = seen.target[-1]
        known = ", ".join(repr(reader.shown([each])) for each in reader.stops)
        yield Finding(
            "SFT",
            "end",
            f"the target ends in {reader.shown([last])!r} and not in one of the model's EOS tokens "
            f"({known or 'none is known'})",
            "name the token that ends a turn in eos_token_id of generation_config.json",
        )
    text, row = reader.completion(seen.target), seen.row
    wrong = [
        part
        for part, read, given in (
            ("reasoning", answers.think_text(text), row.reasoning),
            ("answer", answers.answer_text(text), row.answer),
        )
        if answers.normalise(read) != answers.normalise(given)
    ]
    bare = text.strip()
    begins = bare.startswith("<think>") or not row.thinks
    if not (begins and answers.well_formed(text, thinks=row.thinks)):
        wrong.append("format")
    if wrong:
        yield Finding(
            "SFT",
            "text",
            f"the target reads back without the correct {' and '.join(wrong)}: {_cut(bare)!r}",
            "the chat template must write the text of an answer as it is",
        )


def boxes_in_place(seen: Seen, reader: Reader) -> Iterator[Finding]:
    """Boxes of the target, read at the size that the model sees, are those of the annotation."""
    found = boxes.target_boxes(seen.row.target)
    answer = seen.row.answer
    if seen.target is not None:
        answer = answers.answer_text(reader.completion(seen.target)) or answer
    written = read(answer).numbers
    if not found or not written:
        return
    context = seen.context
    placed = boxes.parse(answer, context, limit=len(written))
    lost = len(written) - len(placed)
    worst = min((_overlap(each, found, context) for each in placed), default=(0.0, LEAST_IOU))
    if lost or worst[0] < worst[1]:
        yield Finding(
            "SFT" if seen.target is not None else "evaluation",
            "boxes",
            f"{lost} boxes of the correct answer {_cut(answer)!r} are no boxes"
            if lost
            else f"the boxes of the correct answer {_cut(answer)!r} lie elsewhere on the stored "
            f"image than the annotation: IoU {worst[0]:.2f}",
            "frame and order of boxes are the profile's box_frame and box_order; a task writes "
            "them by geovlm.boxes.write",
        )


RULES: tuple[Callable[[Seen, Reader], Iterator[Finding]], ...] = (
    same_prompt,
    one_beginning,
    as_many_tokens,
    marked_tokens,
    whole_target,
    boxes_in_place,
)
_UNUSABLE = "the processor of the checkpoint does not take the inputs of this stage"


def _prompts(seen: Seen) -> Iterator[tuple[str, Tokens]]:
    """Yield stage and prompt of every way that there is."""
    ways = (("evaluation", seen.asked), ("SFT", seen.trained), ("GRPO", seen.scored))
    yield from ((stage, each) for stage, each in ways if each is not None)


def _difference(asked: Sequence[int], other: Sequence[int], reader: Reader) -> str:
    """Return the first tokens that differ, in words."""
    both = zip(asked, other, strict=False)
    at = next((i for i, (a, b) in enumerate(both) if a != b), min(len(asked), len(other)))
    one, two = (_cut(reader.shown(ids[at : at + 8])) for ids in (other, asked))
    return f"{one!r} in place of {two!r} from token {at} of {len(asked)}"


def _overlap(
    box: boxes.Box, found: Sequence[boxes.Box], context: RewardContext
) -> tuple[float, float]:
    """Return the largest IoU of a box with an annotation, and the least that it may be."""
    profile, size, seen = context.profile, context.image_sizes[-1], context.input_sizes[-1]
    best = (-1.0, LEAST_IOU)
    for each in found:
        kept = clip(each if profile.box_angle else boxes.enclosing(each), size)
        if kept is None:
            continue
        wide = min(kept.x1 - kept.x0, kept.y1 - kept.y0)
        wide *= min(seen[0] / size[0], seen[1] / size[1])
        least = LEAST_IOU if wide >= RESOLVED_PX else LEAST_IOU_SMALL
        best = max(best, (boxes.rotated_iou(box, kept), least))
    return best


def _resized(context: RewardContext, sizes: tuple[Size, ...]) -> RewardContext:
    return replace(context, input_sizes=sizes)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
