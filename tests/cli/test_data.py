from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fake_plugins import TOY, install
from tests.inside import geovlm


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A folder with the toy plugin and three generated records per split in `eo/Toy_v1`."""
    install(tmp_path, "toy", TOY)
    root = tmp_path / "eo" / "Toy_v1"
    assert geovlm("data", "sample", "toy", "--out", str(root), "-n", "3", folder=tmp_path).stdout
    return tmp_path


def check(folder: Path, *flags: str, code: int) -> dict:
    done = geovlm(
        "data", "check", "toy", "--data", str(folder / "eo"), "--json", *flags, folder=folder
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def change(folder: Path, name: str, **values: object) -> None:
    path = folder / "eo" / "Toy_v1" / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_sample_writes_the_real_layout(toy: Path) -> None:
    assert len(list((toy / "eo" / "Toy_v1" / "train").glob("*.png"))) == 3


def test_sample_never_overwrites(toy: Path) -> None:
    done = geovlm("data", "sample", "toy", "--out", str(toy / "eo"), folder=toy)
    assert done.returncode == 2
    assert "is not an empty folder (nothing is overwritten" in done.stderr


def test_a_good_copy_is_fit_and_counted(toy: Path) -> None:
    report = check(toy, code=0)
    assert report["fit"] is True
    assert report["records"] == {"train": 3, "test": 3}
    assert (report["images"], report["boxes"]) == (6, 6)
    assert report["labels"] == {"water": 6}
    assert report["licence"] == "CC0-1.0"


def test_the_folder_itself_may_be_named(toy: Path) -> None:
    done = geovlm("data", "check", "toy", "--data", str(toy / "eo" / "Toy_v1"), folder=toy)
    assert done.returncode == 0
    assert "train records: 3" in done.stdout.splitlines()


def test_a_missing_image_is_named_and_makes_the_copy_unfit(toy: Path) -> None:
    gone = toy / "eo" / "Toy_v1" / "train" / "1.png"
    gone.unlink()
    assert check(toy, code=1)["missing"] == {"count": 1, "first": [str(gone)]}


def test_an_empty_image_is_unreadable(toy: Path) -> None:
    (toy / "eo" / "Toy_v1" / "train" / "1.png").write_bytes(b"")
    assert check(toy, code=1)["unreadable"]["count"] == 1


def test_a_cut_off_image_is_found_only_by_decoding(toy: Path) -> None:
    path = toy / "eo" / "Toy_v1" / "train" / "1.png"
    path.write_bytes(path.read_bytes()[:-40])
    assert check(toy, code=0)["unreadable"]["count"] == 0
    assert check(toy, "--decode", code=1)["unreadable"]["count"] == 1


def test_skipped_records_carry_their_reason(toy: Path) -> None:
    change(toy, "train/0.json", label="cloud")
    report = check(toy, code=0)
    assert report["skipped"]["train"] == {"cloudy": {"count": 1, "first": ["0.json"]}}


def test_boxes_that_leave_the_image_or_have_no_area_are_counted(toy: Path) -> None:
    change(toy, "train/0.json", boxes=[[0, 0, 56, 56], [0, 0, 57, 20], [9, 9, 9, 12]])
    report = check(toy, code=0)
    assert (report["outside"]["count"], report["degenerate"]["count"]) == (1, 1)


def test_an_id_in_two_splits_is_a_duplicate(toy: Path) -> None:
    change(toy, "test/0.json", id="train-0")
    assert check(toy, code=1)["duplicates"] == {"count": 1, "first": ["train-0"]}


def test_an_unknown_option_of_the_data_set_is_refused(toy: Path) -> None:
    flags = ["--data", str(toy / "eo"), "--option", "shoot=true"]
    done = geovlm("data", "check", "toy", *flags, folder=toy)
    assert done.returncode == 2
    assert "did you mean 'shout'" in done.stderr


def test_a_folder_that_is_not_there_is_one_line(toy: Path) -> None:
    done = geovlm("data", "check", "toy", "--data", str(toy / "nowhere"), folder=toy)
    assert done.returncode == 2
    assert done.stderr.startswith("error: data set 'toy': ")
    assert len(done.stderr.splitlines()) == 1


def test_options_may_be_set_as_in_every_command(toy: Path) -> None:
    flags = ["--data", f"toy={toy / 'eo' / 'Toy_v1'}", "--set", "data.toy.options.shoot=true"]
    done = geovlm("data", "check", "toy", *flags, folder=toy)
    assert done.returncode == 2
    assert "did you mean 'shout'" in done.stderr
