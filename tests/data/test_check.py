from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from geovlm.api import DatasetSpec, LoadContext, Raster, Sample
from geovlm.data import cache, imagefiles
from geovlm.data import check as inspection
from geovlm.data.findings import Report
from geovlm.errors import DataError
from geovlm.files.caches import cache_dir

Load = Callable[[LoadContext], Iterable[Sample]]


def quiet(items: Iterable[Any], *, label: str, total: int) -> Iterator[Any]:
    return iter(items)


def check(folder: Path, load: Load, **fields: Any) -> Report:
    spec = DatasetSpec(
        name="d",
        summary="",
        splits=("train", "test"),
        load=load,
        make_sample="a:b",
        folders=("d",),
        licence="",
        homepage="",
        citation="",
        **fields,
    )
    return inspection.inspect(spec, root=folder, progress=quiet)


def one(path: Path, split: str, **fields: Any) -> Sample:
    return Sample(id=f"{split}/{path.name}", images=(path,), **{"target": {}, **fields})


def write(path: Path, size: tuple[int, int] = (56, 56), shade: int = 0) -> Path:
    Image.new("RGB", size, (shade, 9, 9)).save(path)
    return path


def test_a_partial_copy_says_how_much_there_should_be(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png")
    report = check(
        tmp_path,
        lambda ctx: [one(path, ctx.split)] if ctx.split == "train" else [],
        official=lambda ctx: 57_223 if ctx.split == "train" else None,
    )
    assert report.official == {"train": 57_223}
    lines = dict(report.lines())
    assert (lines["train records"], lines["test records"]) == ("1 of 57,223, a part", "0")
    assert report.fit


def test_equal_files_in_two_splits_are_named(tmp_path: Path) -> None:
    files = {"train": write(tmp_path / "a.png"), "test": write(tmp_path / "b.png")}
    report = check(tmp_path, lambda ctx: [one(files[ctx.split], ctx.split)])
    assert report.shared.count == 1
    assert report.shared.first == [f"{files['train']} (train) = {files['test']} (test)"]


def test_equal_files_in_one_split_are_nobodys_business(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.png"), write(tmp_path / "b.png")]
    report = check(
        tmp_path,
        lambda ctx: [one(path, ctx.split) for path in files] if ctx.split == "train" else [],
    )
    assert report.shared.count == 0


def test_one_file_of_two_splits_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png")
    report = check(tmp_path, lambda ctx: [one(path, ctx.split)])
    assert report.shared.first == [f"{path} in train, test"]


def test_files_that_differ_in_the_middle_only_are_not_equal(tmp_path: Path) -> None:
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    other = noise.copy()
    other[100, 100] ^= 1
    files = {"train": tmp_path / "a.bmp", "test": tmp_path / "b.bmp"}
    Image.fromarray(noise).save(files["train"])
    Image.fromarray(other).save(files["test"])
    report = check(tmp_path, lambda ctx: [one(files[ctx.split], ctx.split)])
    assert report.shared.count == 0


def test_what_is_absent_is_missing_and_what_cannot_be_reached_unreadable(tmp_path: Path) -> None:
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    paths = [tmp_path / "absent.png", loop]
    report = check(tmp_path, lambda ctx: iter([one(path, ctx.split) for path in paths]))
    assert report.missing.first == [str(tmp_path / "absent.png")]
    assert report.unreadable.count == 1
    assert "loop.png: the image file cannot be read: Too many levels" in report.unreadable.first[0]


def test_absent_files_of_an_index_are_counted(tmp_path: Path) -> None:
    ref = {"bands": ("NDVI", "NDVI", "NDVI")}
    parts = {"B04": write(tmp_path / "red.png")}
    images = [
        Raster(file=tmp_path / "a.tif", **ref),
        Raster(files=parts, file=tmp_path / "b.tif", **ref),
    ]
    records = [Sample(id=str(i), images=(image,), target={}) for i, image in enumerate(images)]
    report = check(tmp_path, lambda ctx: records if ctx.split == "train" else [])
    assert report.missing.first == [str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]


def test_odd_shapes_are_found(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "thin.png", (402, 2)),
        write(tmp_path / "small.png", (56, 27)),
        write(tmp_path / "good.png", (56, 28)),
    ]
    report = check(tmp_path, lambda ctx: [one(path, ctx.split) for path in files])
    assert (report.narrow.count, report.small.count) == (1, 1)
    assert not report.fit


def test_a_size_other_than_declared_is_unfit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", (56, 56))
    report = check(tmp_path, lambda ctx: [one(path, ctx.split, image_sizes=((120, 120),))])
    assert report.resized.first[0] == "train/a.png: [56, 56], declared [120, 120]"
    assert not report.fit


def test_labels_are_held_against_their_vocabulary(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png")
    target = {"labels": ["water", "lava"], "vocabulary": ["water", "forest"]}
    report = check(tmp_path, lambda ctx: [one(path, ctx.split, target=target)])
    assert report.unknown.count == 2
    assert report.unused == ["forest"]
    assert report.labels == {"water": 2, "lava": 2}


def test_closed_answers_count_as_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png")
    target = {"answer": "yes", "vocabulary": ["yes", "no"]}
    report = check(tmp_path, lambda ctx: [one(path, ctx.split, target=target)])
    assert (report.labels, report.unused) == ({"yes": 2}, ["no"])


def test_a_raster_is_looked_at_again_when_its_bands_change(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png")
    ref = Raster(files={"B04": path}, bands=("B04", "B04", "B04"), band_index={"B04": 1}, high=9)

    def looked(image: Raster) -> Report:
        record = Sample(id="1", images=(image,), target={})
        return check(tmp_path, lambda ctx: [record] if ctx.split == "train" else [])

    assert looked(ref).unreadable.count == 0
    assert looked(replace(ref, band_index={"B04": 7})).unreadable.count == 1


def half_zero(path: Path, low: int = 500) -> Raster:
    values = np.zeros((40, 40), np.uint16)
    values[20:] = np.arange(low, low + 800).reshape(20, 40)
    Image.fromarray(values).save(path)
    return Raster(file=path, bands=("1", "1", "1"), band_index={"1": 1}, high=4000)


def test_what_is_assumed_about_images_is_told_once_with_their_number(tmp_path: Path) -> None:
    refs = [half_zero(tmp_path / f"{number}.tif") for number in range(3)]
    report = check(
        tmp_path,
        lambda ctx: [
            Sample(id=f"{ctx.split}{i}", images=(ref,), target={}) for i, ref in enumerate(refs)
        ],
    )
    (note,) = report.assumed
    assert note.startswith(f"{tmp_path / '0.tif'}: 50% of the pixels are 0 in 1, and nodata is not")
    assert "(as in 2 more of 3 images)" in note
    assert dict(report.lines())["assumed about images"] == note
    assert report.fit


def test_images_that_contradict_their_declaration_are_unfit(tmp_path: Path) -> None:
    ref = replace(half_zero(tmp_path / "a.tif"), bands=("B04",) * 3, band_index={"B04": 1})
    dark = replace(ref, reflectance=1e9)
    report = check(tmp_path, lambda ctx: [Sample(id=ctx.split, images=(dark,), target={})])
    assert "far too dark for reflectance=1e+09" in report.implausible
    assert not report.fit


# -- the cache ------------------------------------------------------------------------------------


def look(paths: list[Path], seen: list[Path]) -> list[bytes | DataError]:
    def work(path: Path, files: Sequence[Path]) -> bytes:
        seen.append(path)
        if path.stat().st_size == 0:
            raise DataError("empty")
        return path.read_bytes()

    found = cache.look(paths, kind=lambda path: "test", files=lambda path: [path], work=work)
    return [result for _, result in found]


def test_a_file_is_looked_at_once_until_it_changes(tmp_path: Path) -> None:
    path, seen = tmp_path / "a", []
    path.write_bytes(b"one")
    assert look([path], seen) == look([path], seen) == [b"one"]
    path.write_bytes(b"other")
    assert look([path], seen) == [b"other"]
    assert len(seen) == 2


def test_what_failed_is_looked_at_again(tmp_path: Path) -> None:
    path, seen = tmp_path / "a", []
    path.write_bytes(b"")
    assert isinstance(look([path], seen)[0], DataError)
    look([path], seen)
    assert len(seen) == 2


def test_a_look_that_was_broken_off_keeps_what_it_had(tmp_path: Path) -> None:
    paths, seen = [tmp_path / str(i) for i in range(300)], []
    for path in paths:
        path.write_bytes(b"x")
    found = cache.look(
        paths, kind=lambda path: "broken", files=lambda path: [path], work=lambda path, files: b"x"
    )
    for _ in range(200):
        next(found)
    found.close()  # as Ctrl-C does

    def work(path: Path, files: Sequence[Path]) -> bytes:
        seen.append(path)
        return b"x"

    assert len(list(cache.look(paths, kind=lambda p: "broken", files=lambda p: [p], work=work)))
    assert len(seen) == 300 - 256  # a round of 256 was kept


def test_a_cache_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOVLM_CACHE", str(tmp_path))
    (cache_dir() / "files.sqlite").write_bytes(b"no database, " * 100)
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(cache_dir() / "files.sqlite").execute("SELECT * FROM found")
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(DataError, match=r"files\.sqlite.*delete it"):
        look([tmp_path / "a"], [])


def test_below_an_absent_folder_no_file_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    looked = imagefiles.is_absent
    monkeypatch.setattr(imagefiles, "is_absent", lambda path: asked.append(path) or looked(path))
    paths = [tmp_path / "gone" / f"{i}" / f"{name}.png" for i in range(50) for name in "ab"]
    report = check(tmp_path, lambda ctx: [one(path, f"{ctx.split} {path}") for path in paths])
    assert (report.incomplete, report.images, report.missing.count) == (100, 100, 100)
    assert str(dict(report.lines())["images missing"]).startswith("100 of 100\n")
    assert len(asked) == len(set(asked)) <= len(tmp_path.parts) + 1


def many(folder: Path) -> Load:
    """Load more images than are looked for one by one, of the training split alone."""
    names = [f"{tile}/{number}.png" for tile in range(40) for number in range(30)]
    records = [one(folder / name, name) for name in names]
    return lambda ctx: records if ctx.split == "train" else []


def test_an_image_folder_that_is_absent_as_a_whole_is_told_by_one_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    looked = imagefiles.is_absent
    monkeypatch.setattr(imagefiles, "is_absent", lambda path: asked.append(path) or looked(path))
    folder = tmp_path / "patches" / "S2"
    report = check(tmp_path, many(folder))
    missing = tmp_path / "patches"
    sentence = f"{missing} does not exist, nor do the 1,200 images in it"
    assert dict(report.lines())["train images"] == sentence
    assert (report.images, report.incomplete, report.missing.first, report.fit) == (
        1200,
        1200,
        [str(folder / "0" / "0.png")],
        False,
    )
    assert len(asked) <= 40
    folder.mkdir(parents=True)
    (folder / "other").mkdir()
    assert check(tmp_path, many(folder)).gone == {
        "train": f"{folder} holds none of the 1,200 images"
    }


def test_a_folder_with_one_of_many_images_is_looked_through(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    write(tmp_path / "7" / "8.png")  # none of those that are looked for first
    report = check(tmp_path, many(tmp_path))
    assert (report.gone, report.incomplete, report.missing.count) == ({}, 1199, 1199)


def test_an_image_without_one_of_its_bands_is_missing_and_not_unreadable(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.png" for name in ("r", "g", "b")}
    write(files["r"])
    image = Raster(files=files, bands=("r", "g", "b"), high=255.0)
    record = Sample(id="a", images=(image,), target={})
    report = check(tmp_path, lambda ctx: [record] if ctx.split == "train" else [])
    assert (report.incomplete, report.missing.count, report.unreadable.count) == (1, 2, 0)
    assert str(dict(report.lines())["images missing"]).startswith("1 of 1, 2 files\n")
