"""Questions as EarthDial asks them, and as a plain sentence."""

from __future__ import annotations

import json

import pytest
from geovlm_earthdial import EarthDialTaskOptions, edits, tasks

from geovlm import boxes

RGB = "[hr_rgb_0.5] <image>\\n "
TANKS = "<ref>4 white small storage tank at the top left</ref>"
EXCAVATOR = "<ref>1 large excavator  at the right of the image.</ref>"
AFFECTED = (
    " [hr_rgb_temp_0.5] <image>  <image> \\n Are there any buildings affected due to disaster? "
    "Please answer yes or no."
)
LEVEL = (
    "[identify] [hr_rgb_temp_0.5] <image> <image> \\n Compare the building at <box>[[6, 6, 12, 22, "
    "0]]</box> between the pre-disaster and post-disaster images. In the post-disaster image, "
    "classify the level of damage. Classes: no-damage, destroyed, minor-damage, major-damage."
)
DISASTER = (
    "[changedet] [hr_rgb_temp_0.5] <image> <image> \\n Analyze the images to identify the type of "
    "disaster that occurred. Options:  volcano, fire, earthquake, flood, tsunami, wind."
)
DETAIL = (
    "Describe the image in detail. Detect objects location. Describe objects size. Where objects "
    "are located?. Describe relation between objects."
)
STORED = [
    (
        "refer",
        f" [refer] [hr_rgb_0.5] <image> \\n {TANKS}",
        f"[refer] [hr_rgb_0.5] <image> \n Give me the location of {TANKS}",
    ),
    (
        "refer",
        " [refer] [s1_vh_1] <image> \\n <ref>1 medium ship</ref>",
        "[refer] [s1_vh_1] <image> \n Give me the location of <ref>1 medium ship</ref>",
    ),
    (
        "refer",
        f"[refer] [hr_rgb_0.5] <image> \\n Give me the location of {EXCAVATOR}",
        f"[refer] [hr_rgb_0.5] <image> \n Give me the location of  {EXCAVATOR}",
    ),
    (
        "ground",
        " [grounding] [hr_rgb_0.5] <image> \\n Describe the image.",
        f"[grounding] [hr_rgb_0.5] <image> \n {DETAIL}",
    ),
    (
        "vqa",
        "[hr_rgb_0.5] <image>\\n Is there a grass area?",
        "[hr_rgb_0.5] <image>\\n Is there a grass area? Answer the question using a single word.",
    ),
    ("series", f'"{AFFECTED}"', f'{AFFECTED}"Answer in single word.'),
    ("series", f'"{LEVEL}"', f'{LEVEL}"Answer in single word.'),
    ("series", DISASTER, DISASTER),
]
"""Kind, question as stored, and as published in EarthDial's result files."""


@pytest.mark.parametrize(("kind", "stored", "asked"), STORED)
def test_questions_are_edited_as_earthdial_edits_them(kind, stored, asked):
    assert edits.edited(stored, kind=kind) == asked
    assert edits.edited(asked, kind=kind) == asked


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("rs_detection/GeoChat", "refer"),
        ("rs_detection/ship_dataset_v0", "refer"),
        ("rs_detection/urban_tree_crown_detection", "refer"),
        ("rs_region_captioning/SRSDD_V1_0_test", "region"),
        ("rs_grounding_description/UCAS_AOD", "ground"),
        ("rs_vqa/RSVQA_LR", "vqa"),
        ("rs_classification/AID", "classify"),
        ("rs_classification/STARCOP_test", "classify"),
        ("rs_image_caption/RSITMD_Captions", "caption"),
        ("rs_change_detection/LEVIR_MCI", "change"),
        ("rs_change_detection/xBD_testset_2", "series"),
        ("rs_change_detection/xBD_reg_cls_testset_1", "series"),
        ("rs_change_detection/xBD_object_detection", "locate"),
        ("rs_change_detection/xBD_image_captioning", "damage"),
    ],
)
def test_published_questions_are_kept_byte_for_byte(realdata, file, kind):
    path = realdata / "EarthDial_eval_results" / f"{file}.jsonl"
    if not path.is_file():
        pytest.skip(f"no published rows at {path}")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    questions = {row["question"] for row in rows}
    changed = {q for q in questions if edits.edited(unedited(q, kind=kind), kind=kind) != q}
    assert questions
    assert changed == set()


def unedited(question: str, *, kind: str) -> str:
    """Return what EarthDial's script must have read to ask this, by its own replacements."""
    if kind == "vqa":
        return question.removesuffix(edits.VQA_SUFFIX)
    if kind == "series" and question.endswith(edits.XBD_SUFFIX):
        return f'"{question.removesuffix(edits.XBD_SUFFIX)}'
    for stored, asked in edits._REPLACED.get(kind, ()):
        if asked in question:
            return question.replace(asked, stored)
    return question


def test_the_chat_template_puts_images_in(save, prompt_ctx, load):
    root = save("x", {"question": f"{RGB}Is it?", "groundtruth": "yes", "ttype": "presence"})
    (sample,), _ = load("vqa", root)
    turn = tasks.vqa(sample, prompt_ctx(image_sizes=((200, 100),)))
    assert turn.question == "[hr_rgb_0.5] \\n Is it? Answer the question using a single word."


def test_a_plain_question_has_boxes_in_the_frame_of_the_model(save, prompt_ctx, load, group):
    question = " [identify] [hr_rgb_0.5] <image> \\n what is in <box>[[10, 20, 30, 40, 0]]</box>"
    (sample,), _ = load("region", save("x", {"question": question, "groundtruth": "a", **group}))
    ctx = prompt_ctx(image_sizes=((200, 100),), options=EarthDialTaskOptions(wording="plain"))
    asked = tasks.region(sample, ctx).question
    assert asked == f"what is in {boxes.write([boxes.Box(20, 20, 60, 40)], ctx)}"
