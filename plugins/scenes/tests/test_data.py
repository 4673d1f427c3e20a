from __future__ import annotations

import shutil
from collections import Counter

import pytest
import rasterio
from geovlm_scenes import data, sample, sets, splits

from geovlm import raster
from geovlm.api import LoadContext
from geovlm.data.loading import load_records
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm.plugins import registry
from geovlm.raster import checks

SPLITS = ("train", "val", "test")
NAMES = [each.name.partition("/")[2] for each in sets.ALL]


def every_name(scenes, ending):
    return [f"{f}/{stem}{ending}" for f in scenes.folders for stem in scenes.official(f)]


def every_split(read, name, root, **own):
    return {split: [each.id for each in read(name, root, split, **own)[0]] for split in SPLITS}


@pytest.mark.parametrize("name", NAMES)
def test_generated_images_have_the_official_names_and_sizes(name, tmp_path, read):
    scenes = next(each for each in sets.ALL if each.name == f"scenes/{name}")
    getattr(sample, f"make_{name}")(tmp_path, 3, 7)
    found = {split: read(name, tmp_path, split)[0] for split in SPLITS}
    assert [len(found[split]) for split in SPLITS] == [3, 3, 3]
    official = {f"{folder}/{stem}" for folder in scenes.folders for stem in scenes.official(folder)}
    for each in (each for many in found.values() for each in many):
        assert each.id in official
        assert raster.image_size(each.images[0]) == (scenes.side_px, scenes.side_px)


@pytest.mark.parametrize(
    ("scenes", "total", "test"),
    [
        (sets.AID, 10_000, 3_000),
        (sets.UCM, 2_100, 630),
        (sets.WHU, 1_005, None),
        (sets.RESISC45, 31_500, 9_450),
        (sets.EUROSAT, 27_000, 8_100),
        (sets.PATTERNNET, 30_400, 9_120),
        (sets.RSI_CB256, 24_747, 7_408),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_official_numbers(scenes, total, test):
    assert sum(scenes.counts.values()) == total
    assert splits.official_size(scenes, "test") == test


def test_the_test_split_of_aid_is_three_tenths_of_every_class():
    found = _hashed(sets.AID)
    assert [len(found[split]) for split in SPLITS] == [6_000, 1_000, 3_000]
    by_class = Counter(name.partition("/")[0] for name in found["test"])
    # EarthDial's AID.jsonl has 126 rows of Pond and 66 of BaseballField
    assert (by_class["Pond"], by_class["BaseballField"], by_class["Airport"]) == (126, 66, 108)
    assert len({name for names in found.values() for name in names}) == 10_000


def test_a_copy_of_some_images_has_them_in_the_same_splits(named, read):
    whole = {name: split for split, names in _hashed(sets.UCM).items() for name in names}
    root = named([f"{name}.tif" for name in list(whole)[::17]], below="Images")
    found = every_split(read, "ucm", root)
    assert {name: split for split, names in found.items() for name in names} == {
        name: whole[name] for name in list(whole)[::17]
    }


def _hashed(scenes):
    hashed = splits.Hashed(scenes)
    made = {split: [] for split in SPLITS}
    for folder in scenes.folders:
        for stem in scenes.official(folder):
            made[hashed.split(folder, stem)].append(f"{folder}/{stem}")
    return made


def test_without_splits_every_image_is_test(named, read):
    root = named(every_name(sets.UCM, ".tif"))
    found = every_split(read, "ucm", root, split_by="none")
    assert [len(found[split]) for split in SPLITS] == [0, 0, 2_100]


def test_classes_are_mixed_from_the_first_image_on(named, read):
    root = named(every_name(sets.UCM, ".tif"))
    first = [each.target["answer"] for each in read("ucm", root, limit=100)[0]]
    assert len(set(first)) > 15


def test_the_label_is_the_folder_whatever_the_file_is_called(named, read):
    root = named(["River/airport_1.jpg", "river_2/x.jpg", "Bare Land/1.PNG", "PORT/a.jpeg"])
    samples, skipped = read("aid", root, "test", split_by="none")
    found = {each.id: each.target["answer"] for each in samples}
    assert found == {"River/airport_1": "River", "BareLand/1": "Bare Land", "Port/a": "Port"}
    assert skipped == {}
    assert read("aid", root)[1] == {"folder that is none of the classes": 1}


def test_what_is_no_image_is_not_read(named, read):
    names = ["Port/Thumbs.db", "Port/._a.jpg", "Port/.DS_Store", "Port/a.txt", ".git/x.jpg"]
    root = named(["Port/a.jpg", *names])
    samples, skipped = read("whu_rs19", root, "test", split_by="none")
    assert ([each.id for each in samples], skipped) == (["Port/a"], {})


def test_folders_may_lie_below_and_apart(named, read):
    root = named(["water/river/river(1).tif", "woods/forest/forest(2).tif"], below="RSI-CB256")
    found = read("rsi_cb256", root, "test", split_by="none")[0]
    assert sorted(each.id for each in found) == ["forest/forest(2)", "river/river(1)"]


def test_the_two_forms_of_eurosat_are_told_apart_and_divided_alike(named, read):
    stems = [f"River/River_{n}" for n in range(1, 60)]
    named([f"{stem}.jpg" for stem in stems], below="2750")
    inner = "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"
    root = named([f"{stem}.tif" for stem in stems], below=inner)
    found = every_split(read, "eurosat", root)
    assert found == every_split(read, "eurosat_ms", root)
    assert sum(map(len, found.values())) == 59


def test_a_folder_without_classes_is_named(tmp_path, read):
    with pytest.raises(DatasetNotFoundError, match=r"Airport .*such as Airport/airport_1\.jpg"):
        read("aid", tmp_path)


def test_lists_choose_the_images_of_a_split(named, read, tmp_path):
    root = named(["Port/port_01.jpg", "Port/port_02.jpg", "Beach/beach-01.jpg"])
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists" / "whurs19_train.csv"
    path.write_text("image_path,label\nPort/port_02.jpg,Port\nbeach-01.png\nPort/port_9.jpg,Port\n")
    samples, skipped = read("whu_rs19", root, split_by="lists", splits="lists")
    assert sorted(each.id for each in samples) == ["Beach/beach-01", "Port/port_02"]
    assert skipped == {"image missing": 1}


def test_lists_that_are_absent_or_of_other_images_name_the_way_out(named, read, tmp_path):
    root = named(["Port/port_01.jpg"])
    with pytest.raises(DatasetNotFoundError, match=r"options\.splits=DIR"):
        read("whu_rs19", root, split_by="lists")
    (tmp_path / "train.txt").write_text("Port/port_77.jpg\n")
    with pytest.raises(DataError, match=r"train\.txt names none of the 1 images"):
        read("whu_rs19", root, split_by="lists")


def test_a_tile_of_13_bands_shows_what_the_views_say(tmp_path, read):
    sample.make_eurosat_ms(tmp_path, 10, 0)
    views = ("true_colour", "infrared", "ndvi")
    samples = read("eurosat_ms", tmp_path, "test", views=views)[0]
    forest = next(each for each in samples if each.target["answer"] == "forest")
    assert [image.bands for image in forest.images] == [
        ("B04", "B03", "B02"),
        ("B08", "B04", "B03"),
        ("NDVI", "NDVI", "NDVI"),
    ]
    with rasterio.open(forest.images[0].file) as file:
        near, red = file.read(8).astype(float), file.read(4).astype(float)
    shown = raster.open_image(forest.images[2]).getpixel((5, 9))[0]
    ndvi = (near - red) / (near + red)
    assert shown == pytest.approx((ndvi[9, 5] + 1) / 2 * 255, abs=1)
    assert all(checks.suspicions(image) == () for each in samples for image in each.images)


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ({"views": ()}, "views is empty"),
        ({"views": ("ndvi", "ndvi")}, "names one twice"),
        ({"views": ("ndvi",), "bands": ("B08", "B04", "B03")}, "in none of the views"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, read, own, reason):
    sample.make_eurosat_ms(tmp_path, 1, 0)
    with pytest.raises(DataError, match=reason):
        read("eurosat_ms", tmp_path, **own)


def names_in(path):
    return [line.partition(",")[0] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("name", "pattern", "count"),
    [
        ("whu_rs19", "scene_filelists/whurs19_*.csv", 1_005),
        ("patternnet", "scene_filelists/patternnet_*.csv", 6_080),
        ("rsi_cb256", "scene_filelists/rsicb256_*.csv", 4_950),
    ],
)
def test_every_official_name_is_accepted(realdata, named, read, name, pattern, count):
    listed = [each for path in sorted(realdata.glob(pattern)) for each in names_in(path)]
    assert len(listed) == count
    found = every_split(read, name, named(listed))
    assert sorted(i for ids in found.values() for i in ids) == sorted(
        each.rpartition(".")[0] for each in listed
    )


@pytest.mark.parametrize(
    ("scenes", "pattern"),
    [
        (sets.AID, "AID/aitlas_splits/aid_*.csv"),
        (sets.PATTERNNET, "scene_filelists/patternnet_*.csv"),
        (sets.RSI_CB256, "scene_filelists/rsicb256_*.csv"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_official_names_are_those_of_the_lists(realdata, scenes, pattern):
    listed = {each for path in realdata.glob(pattern) for each in names_in(path)}
    official = {name.rpartition(".")[0] for name in every_name(scenes, ".jpg")}
    assert {each.rpartition(".")[0] for each in listed} <= official


def test_the_lists_of_others_are_taken_as_they_are(realdata, named, read):
    lists = realdata / "scene_filelists"
    root = named([each for path in lists.glob("whurs19_*.csv") for each in names_in(path)])
    for path in lists.glob("whurs19_*.csv"):
        shutil.copy(path, root)
    found = every_split(read, "whu_rs19", root, split_by="lists")
    assert [len(found[split]) for split in SPLITS] == [603, 201, 201]


@pytest.mark.parametrize(
    ("name", "folder", "count", "classes", "size"),
    [
        ("aid", "AID", 90, 30, (150, 150)),  # a public copy of the official 600 x 600
        ("ucm", "UCMerced_LandUse", 26, 7, (256, 256)),
        ("resisc45", "NWPU-RESISC45", 30, 10, (256, 256)),
        ("eurosat", "EuroSAT_RGB", 150, 10, (64, 64)),
    ],
)
def test_real_images_are_read_as_they_lie(realdata, name, folder, count, classes, size):
    spec = registry.load().dataset(f"scenes/{name}")
    loaded = [load_records(spec, root=realdata / folder, split=split) for split in SPLITS]
    records = [each for part in loaded for each in part.records]
    assert (len(records), [part.skipped for part in loaded]) == (count, [{}, {}, {}])
    assert len({each.target["answer"] for each in records}) == classes
    assert {raster.image_size(each.images[0]) for each in records} == {size}
    assert raster.open_image(records[0].images[0]).mode == "RGB"


def test_the_number_of_the_release_is_known(tmp_path):
    own = registry.load().dataset("scenes/ucm").options

    def official(split, **fields):
        ctx = LoadContext(root=tmp_path, split=split, options=own(**fields))
        return data.official_ucm(ctx)

    assert [official(split) for split in SPLITS] == [1_260, 210, 630]
    assert [official(split, split_by="none") for split in SPLITS] == [0, 0, 2_100]
    assert official("test", split_by="lists") is None
