"""Writes docs/models.md: python -m tools.reference.models.

Frames, limits and sources come from the profiles, refusals from `geovlm.plugins.families`, and what
was tried from `tests/families/expected.toml`, which `make test-families` holds. `tests/families`
compares the tokens in `FAMILIES` with those of the processors.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geovlm import boxes
from geovlm.api import ModelProfile
from geovlm.boxes import NOTATIONS
from geovlm.data.prompts import visual_tokens
from geovlm.plugins import families, profiles

HEAD = """\
# Models

GeoVLM trains and evaluates chat models with images that transformers loads without code of their
own. For the families in the first table it knows how they write boxes. Every other chat model of
transformers' image-text-to-text mapping gets a generic profile: vision tower, decoder, layers for
adapters, tokens of an image, pixel limits, template and end of turn are found in the checkpoint.

"Tried" are families of which `make test-families` runs SFT, probe, GRPO, evaluation, export,
prediction and adapters: with tiny random models that have the family's real classes, processor and
chat template, on the CPU and without torchvision. That shows that the stages fit together, and says
nothing about quality. **None was run on a GPU, and none with published weights.**

`geovlm doctor --model M` loads processor and tokenizer of a checkpoint, and shows one row as the
model gets it. `geovlm plan --model M` says if a run is refused; it needs no weights.

This page is written by `make docs`.
"""
BOXES = """\
## Boxes

A family that was trained to write boxes should go on to write them in its own frame. `input_pixels`
are pixels of the image as the model sees it; `norm1000` and `norm1` are shares of width and height,
times 1000 or 1. The order `yxyx` puts y first. No figure of a run shows a wrong frame or order:
training and scores use the same one. So GeoVLM does not guess. Where frame or order is not known,
tasks without boxes run, and a task with boxes is refused until you state it:

```sh
geovlm plan --model google/gemma-3-4b-it --tasks xbd/detect \\
  --set profile.box_frame=norm1000 --set profile.box_order=yxyx
```

The setting is part of the run: it is kept on resume, and stands in the records and the model card.
State it again for `geovlm eval` and `geovlm predict` of the trained model. A model that was never
trained on boxes learns any frame; `norm1000` needs the fewest digits.
"""
READ = """\
GeoVLM teaches lists, `[120, 45, 260, 180]`. It reads these notations too, as a model may write them
that was never trained by it. `bbox_2d`, `box_2d` and location tokens name frame or order, and count
before the profile.
"""
TOKENS = """\
## Images and tokens

Tokens of one square image at the checkpoint's own limits. GeoVLM resizes the images of families
with "multiples", within `min_pixels` and `max_pixels` of a run, and the processor leaves them so.
The other processors get the stored picture and resize it or cut it into tiles. Sizes and tokens are
then those of the processor; the seen size of tiles is that of all together, without the overview.
Where there is not one (LLaVA-OneVision, MiniCPM-V), it is the size of the picture.

`max_pixels` sets the limit that such a processor has: the number of tiles (InternVL) or slices
(MiniCPM-V), the soft tokens (Gemma 4: 70, 140, 280, 560 or 1120), or the longest side (SmolVLM,
Idefics 3). `min_pixels` sets InternVL's smallest number of tiles. Any other limit is refused. A
task's smallest size enlarges the picture that the processor gets.
"""
THINKING = """\
A template that opens `<think>` writes the beginning of the answer into the prompt. GeoVLM counts it
as part of the answer: rewards, metrics, logs and reports read it in front of the completion. Where
the template can switch thinking, it is on in all stages.

A task with `reasoning = "none"` is taught its answer alone. Where the template opens `<think>`, the
target closes it at once, as Qwen3's template does without thinking; the format reward is that of
the answer block. A run whose tasks are all of this kind may also set
`chat_template_kwargs.enable_thinking = false`. With it, or with a template that always closes the
thought, a task with reasoning is refused before training.
"""
REFUSED = """\
## What is refused

`plan`, `--dry-run`, `run` and `eval` refuse these before any weights are loaded.

| model | reason | instead |
|---|---|---|
"""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A row of the tables: facts of a family beside its profile."""

    profile: ModelProfile
    checkpoints: str
    """Examples on the hub."""
    thinking: str
    tried: tuple[str, ...] = ()
    """Names of its checkpoints in tests/families/expected.toml."""
    tokens: tuple[int, int] | None = None
    """Tokens of one image of 512 x 512 and of 1024 x 1024 pixels, if the processor resizes it."""
    tiles: str = ""
    """Result of the processor for an image, if it resizes it."""


FAMILIES: tuple[Family, ...] = (
    Family(
        profile=profiles.QWEN2_VL,
        checkpoints="Qwen/Qwen2-VL-2B-Instruct, -7B-, -72B-",
        thinking="no",
        tried=("qwen2_vl",),
    ),
    Family(
        profile=profiles.QWEN2_5_VL,
        checkpoints="Qwen/Qwen2.5-VL-3B-Instruct, -7B-, -32B-, -72B-",
        thinking="no",
        tried=("qwen2_5_vl",),
    ),
    Family(
        profile=profiles.QWEN3_VL,
        checkpoints="Qwen/Qwen3-VL-2B-Instruct, -4B-, -8B-, -30B-A3B-; the same with -Thinking",
        thinking="-Thinking: opened by the template; -Instruct: no",
        tried=("qwen3_vl", "qwen3_vl_thinking", "qwen3_vl_moe"),
    ),
    Family(
        profile=profiles.QWEN3_5,
        checkpoints="Qwen/Qwen3.5-4B, -27B, -35B-A3B and others",
        thinking="opened by the template, which can switch it off",
        tried=("qwen3_5", "qwen3_5_nothink", "qwen3_5_moe"),
    ),
    Family(
        profile=profiles.QWEN4_EXP,
        checkpoints="Qwen/Qwen4-Exp",
        thinking="not known",
    ),
    Family(
        profile=profiles.GLM_V,
        checkpoints="zai-org/GLM-4.1V-9B-Thinking, GLM-4.5V, GLM-4.6V",
        thinking="written by the model",
        tried=("glm4v", "glm4v_moe", "glm46v"),
    ),
    Family(
        profile=profiles.INTERNVL,
        checkpoints="OpenGVLab/InternVL3-1B-hf, InternVL3_5-8B-HF and other sizes",
        thinking="no",
        tried=("internvl3", "internvl3_5"),
        tokens=(256, 2560),
        tiles="up to 12 tiles of 448 px and a thumbnail, 256 tokens each",
    ),
    Family(
        profile=profiles.GEMMA3,
        checkpoints="google/gemma-3-4b-it, -12b-it, -27b-it",
        thinking="no",
        tried=("gemma3",),
        tokens=(256, 256),
        tiles="896 x 896 px, whatever its shape",
    ),
    Family(
        profile=profiles.GEMMA4,
        checkpoints="google/gemma-4-e2b-it, -e4b-it, -26b-a4b-it, -31b-it",
        thinking="no",
        tried=("gemma4",),
        tokens=(256, 256),
        tiles="at most 280 cells of 48 px, of about its shape",
    ),
    Family(
        profile=profiles.LLAVA_ONEVISION,
        checkpoints="llava-hf/llava-onevision-qwen2-0.5b-ov-hf, -7b-ov-hf",
        thinking="no",
        tried=("llava_onevision",),
        tokens=(3699, 7371),
        tiles="tiles of 384 px and the whole image; 730 tokens each for several images in a prompt",
    ),
    Family(
        profile=profiles.SMOLVLM,
        checkpoints="HuggingFaceTB/SmolVLM2-2.2B-Instruct and smaller ones",
        thinking="no",
        tried=("smolvlm2",),
        tokens=(1088, 1088),
        tiles="scaled to 2048 px, then tiles of 512 px and the whole image, 64 tokens each",
    ),
    Family(
        profile=profiles.IDEFICS3,
        checkpoints="HuggingFaceM4/Idefics3-8B-Llama3",
        thinking="no",
        tried=("idefics3",),
        tokens=(2873, 2873),
        tiles="scaled to 1456 px, then tiles of 364 px and the whole image, 169 tokens each",
    ),
    Family(
        profile=profiles.generic("minicpmv4_6"),
        checkpoints="openbmb/MiniCPM-V-4.6",
        thinking="opened by the template, which can switch it off",
        tried=("minicpmv4_6",),
        tokens=(196, 424),
        tiles="up to 9 slices of 448 px and the whole image",
    ),
)
"""Rows of the tables, in their order; the last ones have the generic profile."""


def markdown() -> str:
    """Return docs/models.md."""
    parts = [
        HEAD,
        _families(),
        THINKING,
        BOXES,
        _sources(),
        READ,
        _notations(),
        TOKENS,
        _tokens(),
        REFUSED,
    ]
    return "\n".join(parts) + _refused()


def expected() -> Mapping[str, Any]:
    """Return what is demanded of each tiny checkpoint: name -> keys of expected.toml."""
    file = Path(__file__).parents[2] / "tests" / "families" / "expected.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _families() -> str:
    table = [
        "## Families",
        "",
        "| family | checkpoints | `model_type` | `<think>` | tried |",
        "|---|---|---|---|---|",
    ]
    known = expected()
    for each in FAMILIES:
        types = _code(each.profile.model_types)
        table.append(
            f"| {each.profile.name} | {each.checkpoints} | {types} | {each.thinking} "
            f"| {_tried(each, known)} |"
        )
    return "\n".join([*table, ""])


def _tried(family: Family, known: Mapping[str, Any]) -> str:
    """Return `yes`, `no`, or which stages of the tried checkpoints are refused."""
    refused = sorted({stage for name in family.tried for stage in known[name].get("refused", {})})
    if not family.tried:
        return "no"
    return f"all but {', '.join(refused)}, which is refused" if refused else "yes"


def _sources() -> str:
    table = [
        "| family | `box_frame` | `box_order` | source |",
        "|---|---|---|---|",
    ]
    said = _docstrings()
    for profile in profiles.BUILTIN:
        frame = _code([profile.box_frame]) if profile.box_frame else "not known"
        order = _code([profile.box_order]) if profile.box_frame else "not known"
        table.append(f"| {profile.name} | {frame} | {order} | {said[profile.name]} |")
    return "\n".join([*table, ""])


def _notations() -> str:
    table = ["| notation | written by | frame, order | source |", "|---|---|---|---|"]
    for each in NOTATIONS:
        fixed = _code(name for name in (each.frame, each.order) if name)
        example = each.example.replace("|", "\\|")
        by = each.families.replace("<", "&lt;")
        table.append(f"| `{example}` | {by} | {fixed} | {each.source} |")
    return "\n".join([*table, ""])


def _docstrings() -> dict[str, str]:
    """Return the docstring below each profile of `geovlm.plugins.profiles`, on one line."""
    found = {}
    body = ast.parse(inspect.getsource(profiles)).body
    for node, after in itertools.pairwise(body):
        match node, after:
            case (
                ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ) if isinstance(getattr(profiles, name), ModelProfile):
                found[getattr(profiles, name).name] = " ".join(text.split())
    return found


def _tokens() -> str:
    table = [
        "| family | resize | 512 x 512 | 1024 x 1024 | an image becomes |",
        "|---|---|---|---|---|",
    ]
    for each in FAMILIES:
        small, large = each.tokens or tuple(
            visual_tokens(
                [boxes.input_size((side, side), profile=each.profile)], profile=each.profile
            )
            for side in (512, 1024)
        )
        factor = each.profile.size_factor
        made = (
            each.tiles
            or f"sides that are multiples of {factor} px, a token per {factor} x {factor} px"
        )
        table.append(
            f"| {each.profile.name} | {each.profile.resize} | {small:,} | {large:,} | {made} |"
        )
    return "\n".join([*table, ""])


def _refused() -> str:
    rows = [(_code([name]), why.reason, why.hint) for name, why in families.REFUSED.items()]
    rows += [
        (
            "another type with `auto_map` in `config.json`",
            *families.refusal("other", own_code=True),
        ),
        ("a text model, such as `qwen3`", *families.refusal("qwen3", own_code=False)),
        (
            "a type that the installed transformers does not know",
            *families.refusal("x", own_code=False),
        ),
        (
            "a checkpoint without a chat template",
            "answers no questions",
            "give the one that was tuned to instructions",
        ),
        (
            "GRPO of a model whose inputs TRL does not pass on; with TRL 1.16 LLaVA-OneVision and "
            "MiniCPM-V 4.6",
            "TRL's scoring function has no parameter for them; a newer TRL lifts the refusal",
            "leave out the GRPO stages; SFT, evaluation and prediction work",
        ),
        (
            "boxes of a model whose processor cuts images to a square, such as LLaVA 1.5",
            "boxes at the sides lie outside of what the model sees",
            "run tasks without boxes",
        ),
    ]
    return "".join(f"| {what} | {reason} | {instead} |\n" for what, reason, instead in rows)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    print(markdown(), end="")
