"""Lists the notations in which model families write a box, with frame, order and source.

`NOTATIONS` is the one table: `geovlm.boxes.parse` is built from it, and a page of the documentation
prints it. GeoVLM itself writes, and so teaches, the first one only.

Where the marks of a notation name a frame or an order, the notation counts: `<loc0123>` is a bin of
1,024, y first, and `box_2d` is a thousandth, y first, whatever `ModelProfile` says. Where they do
not, the profile counts: brackets and tags such as `<box>` do not say what their numbers mean.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from geovlm.api import BoxOrder

Shape: TypeAlias = Literal["list", "braces", "pair", "tagged", "bins"]

_INNER = r"[^\[\]{}()<>]*+"
SHAPES: dict[Shape, str] = {
    "list": rf"\[{_INNER}\]",
    "braces": rf"\{{(?:<(?!loc){_INNER}>\|?){{4,5}}\}}",
    "pair": rf"\({_INNER}\)\s*+,?\s*+\({_INNER}\)",
    "tagged": rf"<box>{_INNER}</box>",
    "bins": r"(?:<loc(?:0[0-9]{3}|10[01][0-9]|102[0-3])>\s*+){4}",
}
"""Shape of a group of numbers -> regular expression of its text. They are tried in this order at
each place. All quantifiers without a limit are possessive: a hostile text takes linear time."""


class Notation(NamedTuple):
    """One way to write a box."""

    name: str
    example: str
    """A text that holds one box and nothing else, as the families write it."""
    families: str
    """Families that write it; for people."""
    source: str
    """Page, paper or file that states it; for people."""
    shape: Shape = "list"
    opening: str = ""
    """Regular expression of the mark before the numbers; a mark may stand before several boxes."""
    closing: str = ""
    """Regular expression of the mark after the numbers."""
    frame: Literal["norm1000", "norm1024"] | None = None
    """Frame that the marks name; `None`: `ModelProfile.box_frame` counts."""
    order: BoxOrder | None = None
    """Order that the marks name; `None`: `ModelProfile.box_order` counts."""

    @property
    def is_fixed(self) -> bool:
        """True if the marks name the frame or the order."""
        return self.frame is not None or self.order is not None


NOTATIONS: tuple[Notation, ...] = (
    Notation(
        name="list",
        example="[120, 45, 260, 180]",
        families="GeoVLM writes it for every family; a fifth number is the angle",
        source="",
    ),
    Notation(
        name="bbox_2d",
        example='{"bbox_2d": [120, 45, 260, 180]}',
        families="Qwen2.5-VL (pixels after the resize); Qwen3-VL, Qwen3.5, GLM-V (thousandths)",
        opening=r"""["']?+(?<!\w)bbox_2d["']?+\s*+[:=]""",
        order="xyxy",
        source="QwenLM/Qwen3-VL, cookbooks/2d_grounding.ipynb; zai-org/glm-skills, glmv-grounding",
    ),
    Notation(
        name="box_2d",
        example='{"box_2d": [45, 120, 180, 260]}',
        families="Gemini; Gemma 3 and Gemma 4 where they follow it",
        opening=r"""["']?+(?<!\w)box_2d["']?+\s*+[:=]""",
        frame="norm1000",
        order="yxyx",
        source="Gemini API documentation, image understanding (not checked; public code that "
        "calls it states frame and order); no page of Gemma was found that states an order",
    ),
    Notation(
        name="points",
        example="<|box_start|>(120,45),(260,180)<|box_end|>",
        families="Qwen2-VL",
        shape="pair",
        opening=r"<\|box_start\|>",
        closing=r"<\|box_end\|>",
        source="Qwen2-VL, arXiv 2409.12191 (not checked; public code that reads it agrees)",
    ),
    Notation(
        name="box tag, lists",
        example="<box>[[120, 45, 260, 180]]</box>",
        families="InternVL 2, 2.5, 3 and 3.5, behind <ref>name</ref>; GeoGround",
        opening=r"<box>",
        closing=r"</box>",
        source="InternVL documentation (not checked; public code that reads it agrees)",
    ),
    Notation(
        name="box tag, bare numbers",
        example="<box>120 45 260 180</box>",
        families="MiniCPM-V",
        shape="tagged",
        source="OpenBMB/MiniCPM-V (not checked; public code that reads it agrees)",
    ),
    Notation(
        name="box of GLM",
        example="<|begin_of_box|>[[120,45,260,180]]<|end_of_box|>",
        families="GLM-4.1V, GLM-4.5V, GLM-4.6V; the same marks stand around answers of all kinds",
        opening=r"<\|begin_of_box\|>",
        closing=r"<\|end_of_box\|>",
        source="zai-org/glm-skills, glmv-grounding (frame); published answers of GLM-4.6V (marks)",
    ),
    Notation(
        name="location tokens",
        example="<loc0046><loc0122><loc0184><loc0266>",
        families="PaliGemma, PaliGemma 2",
        shape="bins",
        frame="norm1024",
        order="yxyx",
        source="google-research/big_vision, big_vision/configs/proj/paligemma/README.md (1,024 "
        "tokens); the order is that of the blog post of its release (not checked)",
    ),
    Notation(
        name="braces",
        example="{<12><4><26><18>|<0>}",
        families="GeoChat, EarthDial, VRSBench (hundredths); the angle may be missing",
        shape="braces",
        source="mbzuai-oryx/GeoChat; arXiv 2311.15826 (not checked)",
    ),
)
"""Every notation that `parse` reads."""
