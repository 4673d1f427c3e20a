from __future__ import annotations

from pathlib import Path

import pytest

from geovlm.files import Images, find, listed
from geovlm.files.images import only_folder


def laid(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("there", "name"),
    [
        ("a.png", "a.png"),
        ("a.PNG", "a.png"),
        ("a.tif", "a.png"),
        ("a.TIF", "a.png"),
        ("a.jpeg", "a.jpg"),
        ("P0001.PNG", "p0001.png"),
        ("x.1.png", "x.1"),
        ("x.1.tif", "x.1.png"),
        ("b/a.png", "b\\a.png"),
        ("b/a.png", "images/b/a.png"),
        ("b/a.png", "/data/images/b/a.png"),
        ("b/a.png", "C:\\data\\images\\b\\a.png"),
        ("images/a.png", "a.png"),
        ("images/b/a.png", "b/a.png"),
        ("b/b/a.png", "b/a.png"),
    ],
)
def test_an_image_is_found_as_copies_spell_it(tmp_path, there, name):
    root = laid(tmp_path / "images", there)
    assert Images([root]).find(name) == root / there


@pytest.mark.parametrize(
    "name", ["../a.png", "b/../../a.png", "", "b", "/a.png", "c/a.png", "aa.png", "a"]
)
def test_another_image_is_never_found(tmp_path, name):
    laid(tmp_path, "a.png")
    root = laid(tmp_path / "images", "._a.png", "b/x.png", "readme.txt")
    assert Images([root]).find(name) in (None, root / "b")


def test_the_file_itself_goes_before_other_spellings(tmp_path):
    root = laid(tmp_path, "a.tif", "a.png", "a.TIF", "b.tif", "b.png")
    images = Images([root])
    assert [images.find(name) for name in ("a.tif", "a.TIF", "b.jpg")] == [
        root / "a.tif",
        root / "a.TIF",
        root / "b.png",
    ]


def test_a_folder_among_others_stands_for_itself_only(tmp_path):
    root = laid(tmp_path, "images/a.png", "labels/a.json")
    assert Images([root]).find("a.png") is None


def test_what_systems_leave_behind_does_not_hide_the_only_folder(tmp_path):
    root = laid(tmp_path, "images/a.png", "__MACOSX/._images", ".DS_Store", "Thumbs.db")
    assert Images([root]).find("a.png") == root / "images" / "a.png"
    assert Images([root]).names() == ["a.png"]


def test_links_are_followed(tmp_path):
    laid(tmp_path, "elsewhere/a.png")
    (tmp_path / "images").symlink_to(tmp_path / "elsewhere")
    assert Images([tmp_path / "images"]).find("a.png") == tmp_path / "images" / "a.png"


def test_a_file_is_found_in_other_capitals(tmp_path):
    laid(tmp_path, "Labels.JSON")
    assert find(tmp_path, "labels.json") == tmp_path / "Labels.JSON"
    assert find(tmp_path, "absent.json") == tmp_path / "absent.json"


def test_files_are_listed_by_ending_without_what_systems_leave_behind(tmp_path):
    laid(tmp_path, "b_post.json", "a_post.JSON", "._a_post.json", "notes.txt")
    assert listed(tmp_path, ending="_post.json") == ["a_post.JSON", "b_post.json"]
    assert listed(tmp_path / "absent") == []


def test_files_beside_the_only_folder_do_not_count(tmp_path):
    laid(tmp_path, "xBD/train/a.json", "readme.txt", "__MACOSX/a")
    assert only_folder(tmp_path) == tmp_path / "xBD"
    laid(tmp_path, "other/a.json")
    assert only_folder(tmp_path) is None
