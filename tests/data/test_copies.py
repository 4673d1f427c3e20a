"""Copies of data sets as people have them: each reads like the official layout."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from geovlm.data.loading import load_records, sample_root
from geovlm.errors import GeoVLMError
from geovlm.plugins import registry

SETS = (
    "bigearthnet",
    "captions/rsicd",
    "captions/nwpu",
    "geochat",
    "rsvqa/lr",
    "scenes/ucm",
    "fmow",
    "vhr10",
    "xbd",
)
IMAGES = (".jpg", ".png", ".tif")
LABELS = (".csv", ".json", ".txt")


def below(root: Path, endings: tuple[str, ...]) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.suffix in endings]


def begin_with_a_mark(root: Path) -> Path:
    for path in below(root, LABELS):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    return root


def write_utf_16(root: Path) -> Path:
    for path in below(root, LABELS):
        path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))
    return root


def end_lines_as_windows(root: Path) -> Path:
    for path in below(root, LABELS):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    return root


def capitalise_images(root: Path) -> Path:
    for path in below(root, IMAGES):
        path.rename(path.with_suffix(path.suffix.upper()))
    return root


def capitalise_labels(root: Path) -> Path:
    for path in below(root, LABELS):
        path.rename(path.with_suffix(path.suffix.upper()))
    return root


def copy_from_a_mac(root: Path) -> Path:
    for path in below(root, IMAGES + LABELS):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X\xff")
        (path.parent / ".DS_Store").write_bytes(b"\0\0\0\1Bud1\xff")
    (root / "__MACOSX").mkdir()
    return root


def unpack_into_its_own_folder(root: Path) -> Path:
    inner = root.with_name("downloads") / root.name
    inner.parent.mkdir()
    (inner.parent / "readme.txt").write_text("")
    (inner.parent / "__MACOSX").mkdir()
    root.rename(inner)
    return inner.parent


def link(root: Path) -> Path:
    links = root.with_name("links")
    links.mkdir()
    for path in root.iterdir():
        (links / path.name).symlink_to(path)
    return links


CHANGES = (
    begin_with_a_mark,
    write_utf_16,
    end_lines_as_windows,
    capitalise_images,
    capitalise_labels,
    copy_from_a_mac,
    unpack_into_its_own_folder,
    link,
)


def summary(name: str, root: Path) -> list[tuple[str, str, str]]:
    """Return id, question and target of all records; asserts that their images exist."""
    from geovlm.data.imagefiles import files

    spec = registry.load().dataset(name)
    found = [
        each for split in spec.splits for each in load_records(spec, root=root, split=split).records
    ]
    assert all(path.is_file() for each in found for image in each.images for path in files(image))
    return [(each.id, each.question, repr(dict(each.target))) for each in found]


@pytest.fixture(scope="module", params=SETS)
def official(request: pytest.FixtureRequest) -> tuple[str, Path]:
    name = request.param
    return name, sample_root(registry.load().dataset(name), n=1, seed=0)


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_reads_like_the_official_layout(
    tmp_path: Path, official: tuple[str, Path], change: Callable[[Path], Path]
) -> None:
    name, root = official
    copy = change(Path(shutil.copytree(root, tmp_path / "copy")))
    assert summary(name, copy) == summary(name, root)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "is a web page"),
        (gzip.compress(b"{}", mtime=0), "is compressed"),
        (b"", "is empty"),
    ],
)
def test_labels_that_are_something_else_are_called_what_they_are(
    tmp_path: Path, official: tuple[str, Path], data: bytes, problem: str
) -> None:
    name, root = official
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    labels = below(copy, LABELS)
    if not labels:
        pytest.skip(f"{name} has no label files: the folder of an image is its label")
    for path in labels:
        path.write_bytes(data)
    with pytest.raises(GeoVLMError, match=problem):
        summary(name, copy)
