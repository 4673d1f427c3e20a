from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image

from geovlm.api import ModelProfile, Sample, Turn
from geovlm.data import preview
from geovlm.data.prompts import Prompt
from geovlm.plugins.profiles import QWEN2_5_VL


def test_of_a_text_of_a_megabyte_the_beginning_is_drawn(tmp_path: Path) -> None:
    tile = tmp_path / "tile.png"
    Image.new("RGB", (56, 56)).save(tile)
    prompt = Prompt(
        task="t/a",
        sample=Sample(id="1", images=(tile,), target={}),
        turn=Turn(question="ship " * 200_000, reasoning="so", answer="yes"),
        image_sizes=((56, 56),),
        input_sizes=((56, 56),),
    )
    # 4,000 characters in lines of 100 are 40 lines of 18 px
    assert preview.draw(prompt, profile=QWEN2_5_VL).height < 18 * 60 + 500


def drawn(tile: Path, answer: str, *, profile: ModelProfile = QWEN2_5_VL) -> Image.Image:
    Image.new("RGB", (56, 56)).save(tile)
    prompt = Prompt(
        task="t/a",
        sample=Sample(id="1", images=(tile,), target={"boxes": [[0, 0, 28, 14]]}),
        turn=Turn(question="Where?", reasoning="so", answer=answer),
        image_sizes=((56, 56),),
        input_sizes=((56, 56),),
    )
    return preview.draw(prompt, profile=profile)


def test_boxes_of_the_answer_are_drawn_as_the_family_reads_them(tmp_path: Path) -> None:
    # a panel shows 56 px at 420 px, 12 px from the edge and 18 px below its caption
    red, bottom_right = (224, 32, 32), (12 + 210, 12 + 18 + 105)
    said = drawn(tmp_path / "a.png", "[0, 0, 28, 14]")
    assert said.getpixel(bottom_right) == red
    assert said.getpixel((bottom_right[0] + 420 + 12, bottom_right[1])) == red
    y_first = replace(QWEN2_5_VL, box_order="yxyx")
    turned = drawn(tmp_path / "b.png", "[0, 0, 28, 14]", profile=y_first)
    assert turned.getpixel(bottom_right) != red
    assert turned.getpixel((12 + 105, 12 + 18 + 210)) == red


def test_a_task_without_boxes_is_drawn_for_a_family_whose_frame_is_not_known(
    tmp_path: Path,
) -> None:
    unknown = replace(QWEN2_5_VL, box_frame=None)
    assert drawn(tmp_path / "a.png", "yes", profile=unknown).width == 876
