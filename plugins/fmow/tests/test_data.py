from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter

import pytest
from geovlm_fmow import FmowOptions, FmowTaskOptions, data, sample, tasks
from geovlm_fmow.categories import CATEGORIES
from PIL import Image, ImageChops

from geovlm import answers, raster
from geovlm.api import LoadContext, Raster
from geovlm.errors import DatasetNotFoundError
from geovlm.rewards import paper, robust


@pytest.fixture(scope="session")
def miniature(tmp_path_factory):
    root = tmp_path_factory.mktemp("fmow")
    sample.make_sample(root, 3, 7)
    return root


def read(root, split="train", *, limit=None, **own):
    skipped = Counter()
    ctx = LoadContext(
        root=root,
        split=split,
        limit=limit,
        options=FmowOptions(**own),
        skip=lambda reason, item: skipped.update([reason]),
    )
    return list(data.load(ctx)), skipped


def copied(miniature, tmp_path):
    return shutil.copytree(miniature, tmp_path / "fmow")


def brightness_apart(one, other):
    """Return the largest difference; GDAL and Pillow enlarge the coarser colours differently."""
    return ImageChops.difference(one.convert("L"), other.convert("L")).getextrema()[1]


@pytest.mark.parametrize("split", ["train", "test"])
def test_generated_places_are_read(miniature, split):
    samples, skipped = read(miniature, split)
    assert ([each.target["answer"] for each in samples], skipped) == (
        sorted(CATEGORIES[:3]),
        {},
    )
    for each in samples:
        assert each.meta["taken"] == sorted(each.meta["taken"])
        assert len(each.images) == 4
        assert tuple(map(raster.image_size, each.images)) == each.image_sizes


def test_ids_tell_the_splits_apart(miniature):
    ids = [each.id for split in ("train", "test") for each in read(miniature, split)[0]]
    assert len(set(ids)) == 6
    assert "val/smokestack_0" in ids


def test_a_crop_is_that_part_of_the_image(miniature):
    image = read(miniature, limit=1)[0][0].images[0]
    column, row, width, height = image.window
    box = (column, row, column + width, row + height)
    assert brightness_apart(raster.open_image(image), Image.open(image.file).crop(box)) <= 20


def test_the_coarser_images_are_an_option(miniature):
    (fine, *_), _ = read(miniature)
    (coarse, *_), _ = read(miniature, images="msrgb", min_side_px=1)
    assert coarse.id == fine.id
    assert coarse.images[0].file.name.endswith("_msrgb.jpg")
    assert coarse.image_sizes[0][0] == pytest.approx(fine.image_sizes[0][0] / 4, abs=2)


def test_a_place_with_fewer_than_four_images_is_left_out_and_counted(miniature, tmp_path):
    root = copied(miniature, tmp_path)
    folder = root / "train" / "smokestack" / "smokestack_0"
    for path in sorted(folder.glob("*_rgb.jpg"))[3:]:
        path.unlink()
    lost = len(list(folder.glob("*_rgb.json"))) - 3
    samples, skipped = read(root)
    assert [each.target["answer"] for each in samples] == ["aquaculture", "educational_institution"]
    assert skipped == {"image missing": lost, "place with fewer than 4 images": 1}


def test_metadata_without_a_date_cost_one_image(miniature, tmp_path):
    root = copied(miniature, tmp_path)
    folder = root / "train" / "smokestack" / "smokestack_0"
    first = next(iter(sorted(folder.glob("*_rgb.json"))))
    first.write_text(json.dumps(json.loads(first.read_text()) | {"timestamp": ""}))
    assert read(root)[1]["metadata without a timestamp"] == 1


def test_folders_that_are_no_category_are_counted(miniature, tmp_path):
    root = copied(miniature, tmp_path)
    (root / "val" / "false_detection").mkdir()
    assert read(root, "test")[1] == {"folder that is none of the categories": 1}


def test_a_folder_without_categories_is_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"airport/airport_0/airport_0_0_rgb\.jpg"):
        read(tmp_path)


# hiyamdebary/EarthDial, src/earthdial/eval/rs_change_detection/results/FMoW.jsonl, 92c1260: the
# question of all 25 rows
PUBLISHED = (
    "[hr_rgb_temp_0.5]  <image>  <image> <image> <image> \\n Classify the given images in one of "
    "the following classes. Classes:  smokestack, educational_institution, aquaculture, zoo, "
    "storage_tank, helipad, multi-unit_residential, office_building, toll_booth, burial_site, "
    "hospital, impoverished_settlement, crop_field, ground_transportation_station, stadium, "
    "nuclear_powerplant, archaeological_site, golf_course, electric_substation, waste_disposal, "
    "debris_or_rubble, swimming_pool, tunnel_opening, solar_farm, fire_station, race_track, "
    "railway_bridge, lighthouse, car_dealership, interchange, shipyard, oil_or_gas_facility, "
    "surface_mine, dam, police_station, port, parking_lot_or_garage, single-unit_residential, "
    "flooded_road, place_of_worship, road_bridge, airport_terminal, construction_site, runway, "
    "prison, military_facility, barn, factory_or_powerplant, wind_farm, shopping_mall, tower, "
    "amusement_park, park, gas_station, fountain, border_checkpoint, water_treatment_facility, "
    "airport_hangar, lake_or_pond, recreational_facility, airport, space_facility. \\nAnswer in "
    "one word or a short phrase. "
)


def test_the_question_is_published_byte_for_byte(miniature, prompt_ctx):
    assert tasks.PUBLISHED == PUBLISHED
    asked = read(miniature, limit=1)[0][0]
    question = tasks.prompt(asked, prompt_ctx(options=FmowTaskOptions())).question
    assert question == PUBLISHED.replace("<image>", "")
    plain = tasks.prompt(asked, prompt_ctx(options=FmowTaskOptions(wording="plain"))).question
    assert plain.endswith(f"{', '.join(CATEGORIES)}. Answer in one word or a short phrase.")


def test_every_category_is_read_as_itself():
    assert len(set(CATEGORIES)) == 62
    spoken = {name: answers.labels(name.replace("_", " "), CATEGORIES) for name in CATEGORIES}
    assert spoken == {name: (name,) for name in CATEGORIES}


@pytest.mark.parametrize("reward", [paper.recall, robust.exact])
def test_the_gold_answer_earns_the_most(miniature, prompt_ctx, reward_ctx, reward):
    asked = read(miniature, limit=1)[0][0]
    turn = tasks.prompt(asked, prompt_ctx())
    ctx = reward_ctx(target=asked.target, answer=turn.answer)
    assert reward(answers.frame(turn), ctx) == 1.0


def test_importing_the_plugin_imports_nothing_heavy():
    heavy = "{'numpy', 'PIL', 'torch', 'pydantic', 'rasterio'}"
    code = f"import sys, geovlm_fmow; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_part_of_a_real_image_is_read(realdata):
    path = realdata / "fMoW" / "fmow-rgb/train/airport/airport_0/airport_0_0_msrgb.jpg"
    index = {"red": 1, "green": 2, "blue": 3}
    image = Raster(
        file=path,
        bands=("red", "green", "blue"),
        high=255,
        band_index=index,
        window=(900, 700, 400, 300),
    )
    shown, expected = raster.open_image(image), Image.open(path).crop((900, 700, 1300, 1000))
    assert shown.size == (400, 300)
    assert brightness_apart(shown, expected) <= 8
