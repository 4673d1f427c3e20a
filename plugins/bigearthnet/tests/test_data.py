from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from geovlm_bigearthnet import data
from geovlm_bigearthnet.classes import CLASSES_19, CLASSES_43, FAMILY_OF, TO_19

from geovlm import raster
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm.raster import reference

SPLITS = ("train", "val", "test")


def test_eleven_of_the_43_classes_are_dropped_and_the_others_give_19():
    kept = [new for new in TO_19.values() if new is not None]
    assert len(CLASSES_43) == 43
    assert len(kept) == 32
    assert set(kept) == set(CLASSES_19)
    assert len(CLASSES_19) == 19
    assert set(FAMILY_OF) == {*CLASSES_43, *CLASSES_19}


def test_generated_bands_have_the_official_sizes_and_type(miniature):
    folder = next((miniature / "BigEarthNet-v1.0").iterdir())
    shapes = {}
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as file:
            assert file.dtypes == ("uint16",)
            assert file.crs.to_epsg() == 32633
            shapes[path.stem.rsplit("_", 1)[1]] = file.shape
    ten = dict.fromkeys(("B02", "B03", "B04", "B08"), (120, 120))
    twenty = dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), (60, 60))
    assert shapes == ten | twenty | dict.fromkeys(("B01", "B09"), (20, 20))


def test_generated_labels_have_the_official_keys(miniature):
    path = next(miniature.glob("BigEarthNet-v1.0/*/*_labels_metadata.json"))
    record = json.loads(path.read_text(encoding="utf-8"))
    official = ["acquisition_date", "coordinates", "labels", "projection", "tile_source"]
    assert sorted(record) == official
    assert sorted(record["coordinates"]) == ["lrx", "lry", "ulx", "uly"]
    assert set(record["labels"]) <= set(CLASSES_43)


def test_the_same_seed_writes_the_same_data(tmp_path, miniature):
    from geovlm_bigearthnet.sample import make_sample

    make_sample(tmp_path, 4, 7)
    name = next((tmp_path / "BigEarthNet-v1.0").iterdir()).name
    band = f"BigEarthNet-v1.0/{name}/{name}_B08.tif"
    assert (tmp_path / band).read_bytes() == (miniature / band).read_bytes()


def test_ids_are_unique_over_the_splits(miniature, read):
    ids = [sample.id for split in SPLITS for sample in read(miniature, split)[0]]
    assert len(set(ids)) == len(ids) == 12


def test_limit_stops_early(miniature, read):
    assert len(read(miniature, limit=2)[0]) == 2


def test_red_is_band_4_stretched_to_2000(miniature, read):
    image = read(miniature, limit=1)[0][0].images[0]
    with rasterio.open(image.files["B04"]) as file:
        stored = file.read(1)
    expected = np.clip(stored / 2000 * 255, 0, 255)
    assert np.abs(np.asarray(raster.open_image(image))[..., 0] - expected).max() <= 1  # rounding


def test_other_bands_may_be_chosen(miniature, read):
    image = read(miniature, limit=1, bands=("B08", "B11", "B04"), high=4000.0)[0][0].images[0]
    assert image.bands == ("B08", "B11", "B04")
    assert raster.open_image(image).size == (120, 120)


def test_the_reference_of_a_row_holds_the_bands_that_are_shown(miniature, read):
    image = read(miniature, limit=1)[0][0].images[0]
    back = reference.decode(reference.encode(image))
    assert len(image.files) == 12
    assert back.files == {band: image.files[band] for band in ("B04", "B03", "B02")}
    assert raster.open_image(back).tobytes() == raster.open_image(image).tobytes()


def test_19_classes_follow_from_the_43(miniature, read):
    before = read(miniature, classes=43)[0]
    after = read(miniature)[0]
    for old, new in zip(before, after, strict=True):
        assert {TO_19[label] for label in old.target["labels"]} == set(new.target["labels"])


def test_missing_split_files_name_the_way_out(miniature, read, tmp_path):
    (tmp_path / "BigEarthNet-v1.0").symlink_to(miniature / "BigEarthNet-v1.0")
    with pytest.raises(DatasetNotFoundError, match="split_by=hash"):
        read(tmp_path)


def test_split_files_of_other_patches_name_the_way_out(miniature, read, tmp_path):
    (tmp_path / "BigEarthNet-v1.0").symlink_to(miniature / "BigEarthNet-v1.0")
    (tmp_path / "train.csv").write_text("S2B_MSIL2A_20180515T094029_54_65\n")
    with pytest.raises(DataError, match=r"none of the 12 patches.*split_by=hash"):
        read(tmp_path)


def test_the_inner_folder_finds_the_split_files_beside_it(miniature, read):
    assert len(read(miniature / "BigEarthNet-v1.0")[0]) == 4


def test_split_files_may_have_two_columns_and_snow_is_left_out(miniature, read, tmp_path):
    (tmp_path / "BigEarthNet-v1.0").symlink_to(miniature / "BigEarthNet-v1.0")
    names = sorted(path.name for path in (miniature / "BigEarthNet-v1.0").iterdir())
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.csv").write_text(f"{names[0]},S1A\r\n{names[1]},S1A\r\nS2A_MSIL2A_gone,S1A\r\n")
    (lists / "patches_with_seasonal_snow.csv").write_text(f"{names[1]}\n")
    samples, skipped = read(tmp_path, splits="lists")
    assert [sample.id for sample in samples] == [names[0]]
    assert skipped == {"patches with seasonal snow": 1, "patch missing": 1}
    assert len(read(tmp_path, splits="lists", drop_snow_cloud=False)[0]) == 2


def test_a_patch_without_any_of_the_19_classes_is_left_out(miniature, read, tmp_path):
    name = (miniature / "train.csv").read_text().split()[0]
    shutil.copytree(miniature / "BigEarthNet-v1.0" / name, tmp_path / "BigEarthNet-v1.0" / name)
    path = tmp_path / "BigEarthNet-v1.0" / name / f"{name}_labels_metadata.json"
    path.write_text('{"labels": ["Airports", "Burnt areas"]}')
    (tmp_path / "train.csv").write_text(name)
    assert read(tmp_path) == ([], {"none of the 19 classes": 1})
    assert read(tmp_path, classes=43)[0][0].target["labels"] == ["Airports", "Burnt areas"]


@pytest.mark.parametrize(
    ("n", "sizes"), [(3, [1, 1, 1]), (6, [4, 1, 1]), (20, [14, 3, 3]), (1000, [700, 150, 150])]
)
def test_hash_splits_have_exact_shares(n, sizes):
    parts = data._by_hash(f"S2A_MSIL2A_{i}" for i in range(n))
    assert [len(part) for part in parts.values()] == sizes
    assert len(set().union(*parts.values())) == n


def test_version_2_reads_its_parquet(second, read):
    samples, skipped = read(second)
    patch = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
    assert [sample.id for sample in samples] == [patch]
    assert samples[0].target["labels"] == ["Arable land", "Transitional woodland, shrub"]
    tile = second / "BigEarthNet-S2" / "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
    assert samples[0].images[0].files["B04"] == tile / patch / f"{patch}_B04.tif"
    assert skipped == {"contains seasonal snow": 1, "not a name of a patch": 1}


def test_val_of_version_2_is_called_validation(second, read):
    assert read(second, "val")[0][0].target["labels"] == ["Pastures"]


def test_absent_bands_are_left_out_when_asked(second, read):
    assert read(second, "test", check_files=True) == ([], {"band file missing": 1})


def test_version_2_has_no_43_classes(second, read):
    with pytest.raises(DataError, match="classes=19"):
        read(second, classes=43)


def test_a_parquet_that_is_none_is_named(tmp_path, read):
    (tmp_path / "metadata.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"metadata\.parquet"):
        read(tmp_path)


def test_an_empty_folder_is_not_the_data_set(tmp_path, read):
    with pytest.raises(DatasetNotFoundError, match=r"BigEarthNet-v1\.0"):
        read(tmp_path)


def test_real_patches_are_read(realdata, read):
    root = realdata / "BigEarthNet_v1"
    parts = [read(root, split, split_by="hash")[0] for split in SPLITS]
    assert [len(part) for part in parts] == [4, 1, 1]
    images = [raster.open_image(sample.images[0]) for part in parts for sample in part]
    assert {image.size for image in images} == {(120, 120)}
    by_id = {sample.id: sample.target["labels"] for part in parts for sample in part}
    assert by_id["S2A_MSIL2A_20170613T101031_87_48"] == [
        "Arable land",
        "Land principally occupied by agriculture, with significant areas of natural vegetation",
    ]


def rewritten(root, **columns):
    path = root / "metadata.parquet"
    table = pq.read_table(path)
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, column(table[name]))
    pq.write_table(table, path)


def test_metadata_of_polars_read_like_the_official_ones(second, read):
    expected = [read(second, split) for split in ("train", "val", "test")]
    words = pa.dictionary(pa.uint32(), pa.large_string())
    rewritten(
        second,
        patch_id=lambda column: column.cast(pa.large_string()),
        labels=lambda column: column.cast(pa.large_list(pa.large_string())),
        split=lambda column: pa.array(column.to_pylist(), words),
    )
    found = [read(second, split) for split in ("train", "val", "test")]
    assert [[each.target for each in samples] for samples, _ in found] == [
        [each.target for each in samples] for samples, _ in expected
    ]
    assert [skipped for _, skipped in found] == [skipped for _, skipped in expected]


@pytest.mark.parametrize("marks", [[0, 0, 0, 1, 0], [0.0, 0.0, 0.0, 1.0, 0.0], list("FFFTF")])
def test_snow_may_be_marked_by_numbers(second, read, marks):
    if isinstance(marks[0], str):
        marks = [{"F": "False", "T": "True"}[mark] for mark in marks]
    rewritten(second, contains_seasonal_snow=lambda _: pa.array(marks))
    assert read(second)[1]["contains seasonal snow"] == 1


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("patch_id", None, "not a name of a patch"),
        ("labels", None, "none of the 19 classes"),
        ("labels", ["Pastures", None], "label that is not one of the 19 classes"),
        ("labels", ["Moon"], "label that is not one of the 19 classes"),
        ("split", None, "row without a split"),
    ],
)
def test_a_faulty_row_costs_one_patch(second, read, name, value, reason):
    before = read(second)[1][reason]
    rewritten(second, **{name: lambda column: pa.array([value, *column.to_pylist()[1:]])})
    samples, skipped = read(second)
    assert (samples, skipped[reason]) == ([], before + 1)


def test_val_may_be_called_val(second, read):
    words = ["train", "val", "test", "train", "train"]
    rewritten(second, split=lambda _: pa.array(words))
    assert len(read(second, "val")[0]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "S2_name,S1_name\n{0},S1A\n{1},S1B\n",
        '"{0}";"x"\r\n"{1}";"x"\r\n',
        ",patch\n0,{0}\n1,{1}/\n",
    ],
)
def test_split_files_are_read_as_tables_are_written(miniature, read, tmp_path, text):
    (tmp_path / "BigEarthNet-v1.0").symlink_to(miniature / "BigEarthNet-v1.0")
    names = (miniature / "train.csv").read_text().split()
    (tmp_path / "train.csv").write_text(text.format(*names))
    assert [sample.id for sample in read(tmp_path)[0]] == names[:2]


def test_a_line_without_a_patch_is_counted(miniature, read, tmp_path):
    (tmp_path / "BigEarthNet-v1.0").symlink_to(miniature / "BigEarthNet-v1.0")
    name = (miniature / "train.csv").read_text().split()[0]
    (tmp_path / "train.csv").write_text(f"{name}\nS1A_other\n")
    assert read(tmp_path)[1] == {"line without a name of a patch": 1}


@pytest.mark.parametrize("text", ["{", "[]", '{"labels": null}', '{"labels": ["Moon"]}'])
def test_an_unreadable_label_file_costs_one_patch(miniature, read, tmp_path, text):
    shutil.copytree(miniature, tmp_path / "copy")
    name = (miniature / "train.csv").read_text().split()[0]
    path = tmp_path / "copy" / "BigEarthNet-v1.0" / name / f"{name}_labels_metadata.json"
    path.write_text(text)
    samples, skipped = read(tmp_path / "copy")
    assert (len(samples), skipped) == (3, {"label file unreadable": 1})
