"""Folders, kinds, edits and targets, on rows in the columns that EarthDial's code reads."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from geovlm_earthdial import grammar, tasks
from geovlm_earthdial.folders import CAPTIONS
from geovlm_earthdial.sample import _jpeg, make_classify, make_refer
from PIL import Image

from geovlm import answers, boxes
from geovlm.api import Sample
from geovlm.errors import DatasetNotFoundError
from geovlm.score.protocols import catalogue
from geovlm.score.protocols.contract import Record

RGB = "[hr_rgb_0.5] <image>\\n "
PAIR = "[hr_rgb_temp_0.5] <image> <image> \\n "


def published_scores(protocol: str, task: str, samples: list[Sample], prompt_ctx):
    """Return the published scores of correct answers, as `geovlm score` gives them."""
    rule = catalogue.find(protocol)
    total: Counter[str] = Counter()
    cases = []
    for sample in samples:
        ctx = prompt_ctx(image_sizes=((200, 100),) * len(sample.images))
        turn = getattr(tasks, task)(sample, ctx)
        record = Record(
            fields={
                "completion": answers.frame(turn),
                "answer": turn.answer,
                "target": sample.target,
                "meta": sample.meta,
                "profile": ctx.profile.name,
                "image_sizes": [list(size) for size in ctx.image_sizes],
                "input_sizes": [list(size) for size in ctx.input_sizes],
            },
            own=True,
        )
        cases.append(rule.read(record, rule.answer(record)))
    for counts in rule.tally(cases):
        total.update(counts)
    return rule.published(total)


def test_the_reader_follows_from_columns_and_first_row_not_from_names(save, load, group):
    root = save("a/x", {"question": "Which?", "groundtruth": "AID"})
    save("a/y", {"question": f"{RGB}Is it?", "groundtruth": "yes", "ttype": "presence"})
    save("b", {"question": "[refer] A", "groundtruth": "[[1, 1, 9, 9, 0]]", **group})
    save("c", {"question": "[identify] A", "groundtruth": "a ship", **group})
    save("d", {"question": "A", **dict.fromkeys(CAPTIONS, "a wide road")})
    save(
        "e", {"question": PAIR, **dict.fromkeys(CAPTIONS, "a wide road")}, images=("jpg_A", "jpg_B")
    )
    several = {
        "series": ("How many? Please answer none, one, two or many.", "two"),
        "locate": ("Locate all large <ref>buildings</ref>", "[[1, 1, 9, 9, 0]]"),
        "damage": ("Please describe the damage observed", "There has been a fire disaster, ..."),
    }
    for name, (question, truth) in several.items():
        save(name, {"question": question, "groundtruth": truth}, images=("jpg_pre", "jpg_post"))
    kinds = ("classify", "vqa", "refer", "region", "caption", "change", "series", "locate")
    found = {kind: [each.id for each in load(kind, root)[0]] for kind in (*kinds, "damage")}
    assert found == {
        "classify": ["a/x/0"],
        "vqa": ["a/y/0"],
        "refer": ["b/0"],
        "region": ["c/0"],
        "caption": ["d/0"],
        "change": ["e/0"],
        "series": ["series/0"],
        "locate": ["locate/0"],
        "damage": ["damage/0"],
    }


def test_four_images_come_in_their_order(save, load):
    names = ("jpg_A", "jpg_B", "jpg_C", "jpg_D")
    pictures = {
        name: _jpeg(Image.new("RGB", (8, 8), (60 * at, 0, 0))) for at, name in enumerate(names)
    }
    root = save(
        "f", {"question": "Classes:  zoo, dam.", "groundtruth": "zoo"} | pictures, images=names
    )
    (sample,), _ = load("series", root)
    reds = [Image.open(path).getpixel((4, 4))[0] for path in sample.images]
    assert reds == sorted(reds)
    assert len(set(reds)) == 4


def test_only_reads_the_folders_that_are_named(save, load):
    root = save("Classification/UCM/test", {"question": "?", "groundtruth": "river"})
    save("Classification/AID/test", {"question": "?", "groundtruth": "Port"})
    (sample,), _ = load("classify", root, only=("ucm",))
    assert (sample.id, sample.target["type"]) == ("Classification/UCM/test/0", "UCM")
    with pytest.raises(DatasetNotFoundError) as error:
        load("classify", root, only=("WHU",))
    assert "one of WHU in its path" in error.value.hint


def test_bands_and_unknown_columns_are_refused_with_the_folder_named(save, load):
    root = save("LCZ", {"question": "?", "groundtruth": "a", "tif_ms": "x"}, images=())
    save("odd", {"text": "a"})
    save("fine", {"question": "?", "groundtruth": "a"})
    _, skipped = load("classify", root)
    assert skipped == {
        "folder of images with more than three bands: LCZ: tif_ms": 1,
        "folder of unknown columns: odd: jpg, text": 1,
    }


def test_an_image_of_another_form_is_refused_with_the_row_named(save, load):
    root = save("x", {"question": "?", "groundtruth": "a", "jpg": {"bytes": b"RIFF", "path": None}})
    reason = "image that is not the bytes of a JPEG, PNG or TIFF file: jpg, row 0 of x"
    assert load("classify", root) == ([], {reason: 1})


def test_absent_folders_are_named_with_their_columns(tmp_path, load):
    with pytest.raises(DatasetNotFoundError) as error:
        load("refer", tmp_path)
    assert "question, groundtruth, ttype and size_group" in error.value.hint


def test_images_lie_in_the_cache_once(save, load):
    row = {"question": "?", "groundtruth": "river"}
    samples, _ = load("classify", save("x", row, row))
    assert len({each.images for each in samples}) == 1


def test_classes_are_spelt_as_the_answer_is(save, load):
    question = "Classify. Classes: Medium Residential, Bare Land, Beach. "
    root = save("x", {"question": question, "groundtruth": '"MediumResidential"'})
    (sample,), _ = load("classify", root)
    assert sample.target["answer"] == "MediumResidential"
    assert sample.target["vocabulary"] == ["MediumResidential", "Bare Land", "Beach"]


def test_an_answer_outside_the_options_is_kept_or_dropped_and_counted(save, load):
    row = {"question": "Classes: no-damage, destroyed.", "groundtruth": "un-classified"}
    root = save("x", row, images=("jpg_A", "jpg_B"))
    (sample,), skipped = load("series", root)
    assert sample.target["vocabulary"] == ["no-damage", "destroyed", "un-classified"]
    assert skipped == {}
    reason = "answer that is not among the classes in the question: row 0 of x"
    assert load("series", root, outside="drop") == ([], {reason: 1})


@pytest.mark.parametrize(
    ("question", "listed"),
    [
        ("Species:  Quercus robur, Alnus spec., Cleared, ", "Quercus robur|Alnus spec|Cleared"),
        ("Options:  fire, wind.", "fire|wind"),
        ('Please answer none, one, two or many."Answer in', "none|one|two|many"),
        ("Classes:  zoo, dam. \\nAnswer in one word", "zoo|dam"),
        ("Is there a road?", ""),
    ],
)
def test_classes_of_a_question(question, listed):
    assert "|".join(grammar.classes(question)) == listed


def test_boxes_are_pixels_of_the_image_and_those_without_area_are_counted(save, load, group):
    truth = "[[-5, 10, 20, 30, 0]][[50, 50, 50, 60, 0]]"
    question = "[refer] <ref>2 ships</ref>"
    root = save(
        "x", {"question": question, "groundtruth": truth, **group | {"size_group": "large"}}
    )
    (sample,), skipped = load("refer", root)
    assert sample.target == {"boxes": [[0.0, 10.0, 40.0, 30.0]], "label": "2 ships"}
    assert sample.meta["size_group"] == "large"
    assert skipped == {"box without area in the image: row 0 of x": 1}


def test_the_list_of_sysu_is_its_captions(save, load):
    question = f"{PAIR}are there any semantic change detected"
    root = save(
        "x", {"question": question, "groundtruth": '["A road."]'}, images=("jpg_A", "jpg_B")
    )
    (sample,), _ = load("change", root)
    assert sample.target == {"captions": ["A road."], "changed": True}


def test_blank_references_count(save, load):
    said = dict(zip(CAPTIONS, ("a wide road .", " .", "a road", "b", ""), strict=True))
    (sample,), _ = load("caption", save("x", {"question": "?", **said}))
    assert sample.target["captions"] == ["a wide road .", " .", "a road", "b", ""]


def test_facts_of_a_region_leave_out_what_its_box_gives_away(save, load, group):
    truth = "1 gray medium airplane at the top left"
    root = save("x", {"question": "[identify]", "groundtruth": truth, **group})
    (sample,), _ = load("region", root)
    assert sample.target["facts"] == {"object": "airplane", "size": "medium", "colour": "gray"}


def test_a_description_has_its_boxes_after_the_phrases(save, prompt_ctx, load):
    truth = (
        "In the satellite image, there is  <ref>1 gray car </ref> <box>[[[10, 10, 20, 20, 0]]]"
        "</box> located at top left,  <ref>2 red car </ref> <box>[[[40, 40, 50, 50, 0]]"
        "[[60, 60, 70, 70, 0]]]</box> located at center."
    )
    root = save("x", {"question": "?", "groundtruth": truth, "obj_ids": "[]", "size_group": "[]"})
    (sample,), _ = load("ground", root)
    turn = tasks.ground(sample, prompt_ctx(image_sizes=((200, 100),)))
    text = "In the satellite image, there is 1 gray car located at top left, 2 red car located at"
    assert sample.target["text"] == f"{text} center."
    assert boxes.strip(turn.answer) == sample.target["text"]
    assert len(sample.target["boxes"]) == 3


TURNS = [
    ("refer", "[refer] where?", "[[1, 1, 9, 9, 0]]"),
    ("region", "[identify] what?", "a ship"),
    ("caption", "[caption] what?", "a wide road"),
    ("classify", "Classes: zoo, dam.", "dam"),
    ("vqa", "Is it? Answer the question using a single word.", "yes"),
    ("ground", "[grounding]", "there is <ref>a car</ref> <box>[[[1, 1, 9, 9, 0]]]</box>"),
]


def test_conversations_are_cut_into_exchanges(save, load):
    turns = [
        {"from": who, "value": value}
        for _, question, answer in [*TURNS, ("", "Tell me more.", "It is a big place.")]
        for who, value in (("human", question), ("gpt", answer))
    ]
    rows = [{"conversations": json.dumps(turns)}, {"conversations": "{"}]
    root = save("x", *rows)
    found = {kind: load(kind, root, "train") for kind, _, _ in TURNS}
    assert {kind: [each.id for each in samples] for kind, (samples, _) in found.items()} == {
        kind: [f"x/0/{number}"] for number, (kind, _, _) in enumerate(TURNS)
    }
    assert found["vqa"][1] == {
        "exchange that no task asks: row 0 of x": 1,
        "row without question and answer: row 1 of x": 1,
    }


def test_correct_answers_score_everything(save, tmp_path, prompt_ctx, load, group):
    truth = "[[10, 10, 20, 20, 0]][[40, 40, 50, 50, 0]]"
    root = save("r", {"question": "[refer] <ref>a</ref>", "groundtruth": truth, **group})
    save("c", {"question": "Classes: zoo, dam.", "groundtruth": "dam"})
    save("d", {"question": "[identify]", "groundtruth": "1 ship at the right", **group})
    right = published_scores("earthdial/refer", "refer", load("refer", root)[0], prompt_ctx)
    assert right["small"] == right["multiple"] == right["ref"] == 1.0
    named = published_scores(
        "earthdial/classify", "classify", load("classify", root)[0], prompt_ctx
    )
    assert named == {"accuracy": 1.0}
    said = published_scores(
        "earthdial/region_caption", "region", load("region", root)[0], prompt_ctx
    )
    assert said["rougeL_f"] == pytest.approx(1.0)


def test_generated_folders_are_read_whole_and_a_limit_is_kept(tmp_path, load):
    make_classify(tmp_path, 5, 0)
    make_refer(tmp_path, 4, 0)
    assert [len(load("classify", tmp_path, split)[0]) for split in ("train", "test")] == [5, 5]
    assert len(load("refer", tmp_path, limit=3)[0]) == 3
