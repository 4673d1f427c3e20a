from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from geovlm_vhr10 import Vhr10Options, Vhr10TaskOptions, data, groups, objects, rows, tasks
from geovlm_vhr10.groups import Group, Thing
from PIL import Image

from geovlm.api import LoadContext, Sample
from geovlm.boxes import Box
from geovlm.errors import DataError, DatasetNotFoundError

SIZE = (1000, 500)
ROW = {
    "question": "[refer] [hr_rgb_0.5] <image> \n Give me the location of <ref>1 white small ship "
    "at the top left</ref>",
    "gt_bbox": "[[1, 2, 5, 10, 0]]",
    "size_group": "small",
}
REGION = {
    "question": " [identify] [hr_rgb_0.5] <image> \\n what object is in this location "
    "<box>[[80, 20, 84, 30, 0]]</box>",
    "annotation": "1 teal small ship at the top right",
    "size_group": "small",
}
TEXT = "( 10, 10),(50,50),2 \r\n(800,100),(840, 150),2\r\n\r\n(400,200),(600,300),8\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One image with two ships and a harbor."""
    (tmp_path / objects.TEXTS[0]).mkdir()
    (tmp_path / data.FOLDER).mkdir()
    (tmp_path / objects.TEXTS[0] / "001.txt").write_bytes(TEXT.encode())
    picture = Image.new("RGB", SIZE, (120, 130, 140))
    picture.paste((0, 0, 130), (400, 200, 600, 300))
    picture.save(tmp_path / data.FOLDER / "001.jpg", quality=95)
    return tmp_path


def read(root: Path, **own: Any) -> tuple[list[Sample], Counter[str]]:
    skipped: Counter[str] = Counter()
    ctx = LoadContext(
        root=root,
        split="test",
        options=Vhr10Options(**{"split_by": "none", **own}),
        skip=lambda reason, item: skipped.update([reason]),
    )
    return list(data.load(ctx)), skipped


def write_rows(root: Path, *many: dict[str, str]) -> None:
    folder = root / rows.FOLDER
    folder.mkdir()
    (folder / "NWPU_VHR_10.jsonl").write_text("\n".join(map(json.dumps, many)), encoding="utf-8")


def phrases(record: Sample) -> list[str]:
    return [group["phrase"] for group in record.target["groups"]]  # type: ignore[union-attr]


def test_percent_divides_before_it_multiplies() -> None:
    assert groups.percent((377, 0, 650, 650), (650, 650)) == (57, 1, 99, 99)


@pytest.mark.parametrize(
    ("box", "size"),
    [((0, 0, 40, 48), "small"), ((0, 0, 40, 49), "medium"), ((0, 0, 100, 45), "large")],
)
def test_size_is_relative_to_the_class(box: Any, size: str) -> None:
    assert Thing("ship", box).size() == size  # up to 1932.5 and 4497.6 square pixels


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((0, 0, 100, 100), "top left"),
        ((298, 148, 302, 152), "center"),
        ((698, 348, 702, 352), "center"),
        ((700, 0, 704, 10), "top right"),
        ((300, 360, 400, 400), "bottom"),
    ],
)
def test_place_has_borders_at_30_and_70_percent(box: Any, place: str) -> None:
    assert groups.place_of(box, SIZE) == place


def test_text_files_are_read_with_their_quirks(root: Path) -> None:
    found = objects.from_texts(root, skip=lambda reason, item: pytest.fail(reason))
    assert found == {
        "001": [
            Thing("ship", (10, 10, 50, 50)),
            Thing("ship", (800, 100, 840, 150)),
            Thing("harbor", (400, 200, 600, 300)),
        ]
    }


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,2,3,4,5", "line that is no box '(x0,y0),(x1,y1),class'"),
        ("(1,1),(9,9),11", "object of an unknown class"),
        ("(9,9),(9,20),1", "box without area"),
        ("(900,400),(1001,450),1", "box that leaves the image"),
    ],
)
def test_faulty_lines_are_counted(root: Path, line: str, reason: str) -> None:
    file = root / objects.TEXTS[0] / "001.txt"
    file.write_text(f"{TEXT}{line}\n", encoding="utf-8")
    (record,), skipped = read(root)
    assert skipped == {reason: 1}
    assert len(record.target["boxes"]) == 3  # type: ignore[arg-type]


def test_without_rows_colours_are_those_of_the_pixels(root: Path) -> None:
    (record,), skipped = read(root)
    assert phrases(record) == [
        "1 gray small ship at the top left",
        "1 gray medium ship at the top right",
        "1 navy large harbor at the center",
    ]
    assert (record.meta["groups"], skipped) == ("rebuilt", {})


def test_without_colours_no_image_is_decoded(root: Path) -> None:
    path = root / data.FOLDER / "001.jpg"
    path.write_bytes(path.read_bytes()[:700])  # the header alone
    (record,), _ = read(root, colours="none")
    assert phrases(record)[0] == "1 small ship at the top left"


def test_rows_give_colours_and_tasks(root: Path) -> None:
    write_rows(root, ROW, REGION)
    (record,), skipped = read(root)
    assert phrases(record) == [
        "1 white small ship at the top left",
        "1 teal small ship at the top right",
    ]
    assert [len(list(tasks.refer_samples(record))), len(list(tasks.region_samples(record)))] == [
        1,
        1,
    ]
    assert skipped == {
        "object in no row of EarthDial": 1,
        # the second ship has 2,000 square pixels: medium
        "row of EarthDial with another size or place than its boxes (kept)": 1,
    }


def test_a_row_of_one_task_alone_is_refused(root: Path) -> None:
    write_rows(root, ROW)
    with pytest.raises(DataError, match="no row of EarthDial's region captions"):
        read(root)


def test_rows_of_another_data_set_are_refused(root: Path) -> None:
    moved = {**ROW, "gt_bbox": "[[2, 2, 5, 10, 0]]"}
    write_rows(root, moved, {**REGION, "question": REGION["question"].replace("80", "70")})
    with pytest.raises(DataError, match=r"no row of .* fits an image"):
        read(root)


def test_a_folder_of_rows_that_is_named_must_exist(root: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="elsewhere"):
        read(root, rows="elsewhere")


def test_absent_images_are_named_at_once(root: Path) -> None:
    (root / data.FOLDER / "001.jpg").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"positive image set.*001\.jpg"):
        read(root)


def test_the_nearest_rows_decide_between_two_images() -> None:
    ship, tank = Thing("ship", (10, 10, 50, 50)), Thing("storage tank", (800, 100, 840, 150))

    def row(kind: str, box: Any) -> rows.Row:
        fields = {"colour": "gray", "size": "small", "place": "top left", "item": "row"}
        return rows.Row(use="refer", kind=kind, boxes=(box,), **fields)

    found = rows.match(
        [row("ship", (1, 2, 5, 10)), row("storage tank", (80, 20, 84, 30))],
        {"001": [ship], "002": [ship, tank]},
        {"001": SIZE, "002": SIZE},
        skip=lambda reason, item: None,
    )
    assert [[g.kind for g in found[image]] for image in found] == [[], ["ship", "storage tank"]]


def test_several_objects_are_one_group_and_referred_to() -> None:
    ships = [Thing("ship", (10, 10, 50, 50)), Thing("ship", (20, 60, 60, 100))]
    (group,) = groups.rebuild(ships, ["white", "white"], SIZE, key="001")
    assert group == Group(
        kind="ship", colour="white", size="small", place="top left", members=(0, 1), use="refer"
    )
    assert group.phrase == "2 white small ship at the top left"


def test_coco_is_read_with_its_names(root: Path) -> None:
    content = {
        "images": [{"id": 0, "file_name": "001.jpg", "width": 1000, "height": 500}],
        "categories": [{"id": 3, "name": "storage_tank"}, {"id": 2, "name": "ships"}],
        "annotations": [
            {"id": 5, "image_id": 0, "category_id": 3, "bbox": [10.0, 20.0, 30.0, 40.0]},
            {"id": 6, "image_id": 0, "category_id": 2, "bbox": [100.0, 20.0, 30.0, 40.0]},
        ],
    }
    (root / objects.COCO).write_text(json.dumps(content), encoding="utf-8")
    (record,), _ = read(root, annotations="coco")
    assert record.target["boxes"] == [[10.0, 20.0, 40.0, 60.0], [100.0, 20.0, 130.0, 60.0]]
    assert record.target["box_labels"] == ["storage tank", "ship"]


def test_a_broken_coco_file_is_named(root: Path) -> None:
    (root / objects.COCO).write_text('{"images": []}', encoding="utf-8")
    with pytest.raises(DataError, match=r"annotations\.json is not of the form of COCO"):
        read(root, annotations="coco")


def test_percent_boxes_are_those_of_the_published_rows(root: Path, prompt_ctx: Any) -> None:
    write_rows(root, ROW, REGION)
    (record,), _ = read(root, boxes="percent")
    (sample,) = tasks.region_samples(record)
    assert sample.target["boxes"] == [[800.0, 100.0, 840.0, 150.0]]
    turn = tasks.region(sample, prompt_ctx(image_sizes=(SIZE,)))
    assert turn.question == REGION["question"].replace("<image>", "")


def test_questions_are_the_published_ones(root: Path, prompt_ctx: Any) -> None:
    write_rows(root, ROW, REGION)
    (record,), _ = read(root)
    ctx = prompt_ctx(image_sizes=(SIZE,))
    (referred,), (described,) = tasks.refer_samples(record), tasks.region_samples(record)
    assert tasks.refer(referred, ctx).question == ROW["question"].replace("<image>", "")
    assert tasks.region(described, ctx).question == REGION["question"].replace("<image>", "")
    assert tasks.region(described, ctx).answer == REGION["annotation"]
    assert tasks.GROUND == (
        "[grounding] [hr_rgb_0.5] <image> \n Describe the image in detail. Detect objects location."
        " Describe objects size. Where objects are located?. Describe relation between objects."
    )


def test_plain_wording_has_boxes_in_the_models_frame(root: Path, prompt_ctx: Any) -> None:
    (record,), _ = read(root)
    ctx = prompt_ctx(image_sizes=(SIZE,), options=Vhr10TaskOptions(wording="plain"))
    sample = Sample(
        id="x",
        images=record.images,
        target={"captions": ["1 gray small ship"], "boxes": [[10, 10, 50, 50]], "facts": {}},
    )
    assert tasks.region(sample, ctx).question.startswith("What object is at [10, 10, 50, 50]?")
    several = Sample(
        id="y",
        images=record.images,
        target={"phrase": "2 gray small ship at the top", "boxes": [[1, 1, 30, 30]] * 2},
    )
    asked = tasks.refer(several, ctx).question
    assert asked.startswith("Give the location of 2 gray small ships at the top. Answer with")


def test_a_description_names_groups_with_their_boxes(root: Path, prompt_ctx: Any) -> None:
    (record,), _ = read(root)
    (sample,) = tasks.ground_samples(record)
    turn = tasks.ground(sample, prompt_ctx(image_sizes=(SIZE,)))
    assert sample.target["text"] == (
        "In the satellite image, there is 1 gray small ship located at top left, 1 gray medium "
        "ship located at top right, 1 navy large harbor located at center."
    )
    assert "1 navy large harbor [400, 200, 600, 300] located at center." in turn.answer


def test_the_nearest_colour_is_one_of_css() -> None:
    assert data.nearest_colour(250, 160, 10) == "orange"
    assert data.nearest_colour(200, 200, 190) == "silver"


def test_splits_hold_every_image_once() -> None:
    names = ("train", "val", "test")
    hashed = [
        data.official(LoadContext(root=Path(), split=s, options=Vhr10Options())) for s in names
    ]  # type: ignore[arg-type]
    assert (sum(hashed), hashed[0] > 300) == (650, True)
    none = Vhr10Options(split_by="none")
    assert data.official(LoadContext(root=Path(), split="test", options=none)) == 650


def test_places_take_target_boxes() -> None:
    assert groups.place_of(Box(0, 0, 10, 10), SIZE) == "top left"
