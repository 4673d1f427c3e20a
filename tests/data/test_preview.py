from __future__ import annotations

from pathlib import Path

from PIL import Image

from geovlm.api import Sample, Turn
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
