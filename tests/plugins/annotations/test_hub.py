"""Data sets of `datasets`: saved folders, Parquet with images and classes, the cache of the hub."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
from PIL import Image

from geovlm import raster
from geovlm.errors import ConfigError, DataError
from geovlm.plugins.annotations import guessing, readers
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.loading import Loader
from geovlm.plugins.annotations.records import Record
from geovlm.plugins.annotations.sources import hub
from geovlm.plugins.annotations.tables import features
from geovlm.plugins.described import FILES_VARIABLE
from tests.inside import geovlm

COMMIT = "ab" * 20


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOVLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def png(red: int, planted: tuple[int, int, int, int] = (0, 0, 0, 0)) -> bytes:
    """Return an image of 200 x 100 px with a white rectangle, as the bytes of a PNG."""
    image = Image.new("RGB", (200, 100), (red, 0, 0))
    image.paste((255, 255, 255), planted)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def detection() -> Any:
    """Return a detection set as the hub has them: bytes of images, boxes of COCO, classes."""
    from datasets import ClassLabel, Dataset, Features, List, Value
    from datasets import Image as Picture

    objects = {
        "bbox": List(List(Value("float32"), 4)),
        "category": List(ClassLabel(names=["car", "ship"])),
    }
    rows = [
        {
            "image": {"bytes": png(10, (10, 20, 40, 60)), "path": None},
            "objects": {"bbox": [[10, 20, 30, 40]], "category": [1]},
        },
        {
            "image": {"bytes": png(20), "path": None},
            "objects": {"bbox": [], "category": []},
        },
    ]
    return Dataset.from_list(rows, features=Features(image=Picture(), objects=objects))


def described(source: Path | str, **changes: Any) -> Description:
    """Describe a source as `geovlm data add` does."""
    place = hub.locate(source).folder if hub.is_named(source) else Path(source)
    draft = Description(
        name="own",
        folder=Path("/"),
        source=str(source),
        format=readers.recognise(place),
        task="vqa",
        **changes,
    )
    return guessing.complete(draft)


def read(own: Description, left_out: Counter[str] | None = None) -> list[Record]:
    counted = Counter() if left_out is None else left_out

    def skip(reason: str, item: str) -> None:
        counted[reason] += 1

    return list(readers.READERS[own.format].read(Loader(own).source, own, skip))


def check(own: Description) -> None:
    """Check the two records of `detection`."""
    assert (own.task, own.boxes) == ("detect", "xywh")
    full, empty = read(own)
    assert [tuple(each) for each in full.boxes or ()] == [((10.0, 20.0, 40.0, 60.0), "ship")]
    assert empty.boxes == ()
    picture = np.asarray(raster.open_image(full.images[0]))
    rows, columns = np.nonzero(picture[..., 1] == 255)
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [10, 20, 40, 60]


def test_a_saved_detection_set_is_read_with_its_images(tmp_path: Path) -> None:
    detection().save_to_disk(tmp_path / "set")
    own = described(tmp_path / "set")
    assert own.format == "datasets"
    check(own)


def test_images_are_kept_once_under_their_contents(tmp_path: Path) -> None:
    detection().save_to_disk(tmp_path / "set")
    own = described(tmp_path / "set")
    first, again = read(own), read(own)
    assert [each.images for each in first] == [each.images for each in again]
    assert len(list((tmp_path / "cache" / "images").rglob("*.png"))) == 2


def test_a_parquet_file_of_the_hub_names_its_classes(tmp_path: Path) -> None:
    detection().to_parquet(tmp_path / "set.parquet")
    check(described(tmp_path / "set.parquet"))


def test_classes_and_splits_of_a_saved_dict_are_read(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, DatasetDict, Features
    from datasets import Image as Picture

    kinds = Features(image=Picture(), label=ClassLabel(names=["forest", "river"]))
    rows = [{"image": {"bytes": png(i), "path": None}, "label": i % 2} for i in range(3)]
    whole = DatasetDict(
        train=Dataset.from_list(rows[:2], features=kinds),
        validation=Dataset.from_list(rows[2:], features=kinds),
    )
    whole.save_to_disk(tmp_path / "set")
    own = described(tmp_path / "set")
    assert own.task == "classify"
    assert [(each.label, each.split) for each in read(own)] == [
        ("forest", "train"),
        ("river", "train"),
        ("forest", "val"),
    ]


def test_questions_and_answers_are_read_as_of_any_table(tmp_path: Path) -> None:
    from datasets import Dataset, Features, Value
    from datasets import Image as Picture

    kinds = Features(image=Picture(), question=Value("string"), answer=Value("string"))
    rows = [
        {"image": {"bytes": png(1), "path": None}, "question": f"Is it {word}?", "answer": "no"}
        for word in ("red", "green")
    ]
    Dataset.from_list(rows, features=kinds).save_to_disk(tmp_path / "set")
    own = described(tmp_path / "set")
    found = read(own)
    assert own.task == "vqa"
    assert [each.question for each in found] == ["Is it red?", "Is it green?"]
    assert found[0].group == found[1].group  # one image


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    detection().save_to_disk(tmp_path / "set")
    (tmp_path / "set" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(DataError, match="cannot be read as a saved data set"):
        described(tmp_path / "set")


@pytest.mark.parametrize(
    ("feature", "value", "expected"),
    [
        ({"_type": "ClassLabel", "names": ["a", "b"]}, 1, "b"),
        ({"_type": "ClassLabel", "names": ["a", "b"]}, -1, None),
        ({"_type": "ClassLabel", "names": ["a", "b"]}, None, None),
        ([{"_type": "ClassLabel", "names": ["a"]}], [0, 0], ["a", "a"]),
        (
            {"_type": "Sequence", "feature": {"c": {"_type": "ClassLabel", "names": ["a"]}}},
            {"c": [0, 0]},
            {"c": ["a", "a"]},
        ),
        ({"x": {"_type": "Value", "dtype": "int64"}}, {"x": 1}, {"x": 1}),
    ],
)
def test_numbers_of_classes_become_their_names(feature: Any, value: Any, expected: Any) -> None:
    assert features.decoded(value, feature) == expected


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00002.parquet", "train"),
        ("default/validation/0000.parquet", "validation"),
        ("test.parquet", "test"),
        ("part-0.parquet", ""),
    ],
)
def test_the_name_of_a_file_says_its_split(name: str, split: str) -> None:
    assert features.split_of(Path(name)) == split


# -- the cache of the hub -------------------------------------------------------------------------


def cached(folder: Path) -> None:
    """Write `me/ships` as the hub's own cache has it: a snapshot of links to blobs."""
    place = folder / "hub" / "datasets--me--ships"
    data = place / "snapshots" / COMMIT / "data"
    data.mkdir(parents=True)
    (place / "blobs").mkdir()
    detection().to_parquet(place / "blobs" / "one")
    (data / "train-00000-of-00001.parquet").symlink_to(place / "blobs" / "one")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)


@pytest.mark.parametrize("name", ["hub:me/ships", f"hub:me/ships/data@{COMMIT}"])
def test_a_data_set_in_the_cache_of_the_hub_is_read(name: str, tmp_path: Path) -> None:
    cached(tmp_path)
    own = described(name)
    check(own)
    assert {each.split for each in read(own)} == {"train"}


def test_the_revision_that_was_found_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FILES_VARIABLE, raising=False)
    done = geovlm("data", "add", "ships", "hub:me/ships", "--split", "1/0/0")
    assert done.returncode == 0, done.stderr
    assert "boxes: xywh: a corner, width and height, as in COCO" in done.stdout
    assert f'source = "hub:me/ships@{COMMIT}"' in (tmp_path / "ships.toml").read_text()
    checked = geovlm("data", "check", "ships")
    assert "images unreadable: 0" in checked.stdout, checked.stderr


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("hub:me/gone", DataError, r"not on this machine \(hf download me/gone --repo-type dat"),
        ("hub:me/ships@v9", DataError, r"in revision v9 \(hf download me/ships .* --revision v9"),
        ("hub:me/ships/nope", DataError, r"has no nope on this machine \(.* holds data\)"),
        ("hub:ships", ConfigError, "names no data set of the hub"),
        ("hub:me/ships@", ConfigError, "names no data set of the hub"),
        ("hub:a..b/c", ConfigError, "names no data set of the hub"),
    ],
)
def test_a_data_set_that_is_absent_is_one_line(
    name: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    cached(tmp_path)
    with pytest.raises(error, match=message):
        hub.locate(name)
