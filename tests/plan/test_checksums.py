from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from geovlm import nano
from geovlm.api import Sample
from geovlm.plan import checksums


def folder_of(path: Path, *, n: int = 3) -> Path:
    path.mkdir()
    for number in range(n):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(path / f"{number}.png")
    return path


def records(root: Path, *, label: str = "x", n: int = 3) -> list[Sample]:
    return [
        Sample(id=str(i), images=(root / f"{i}.png",), target={"labels": [label]}) for i in range(n)
    ]


def test_a_data_set_copied_elsewhere_has_the_same_checksums(tmp_path: Path) -> None:
    first = folder_of(tmp_path / "first")
    other = Path(shutil.copytree(first, tmp_path / "other", copy_function=shutil.copyfile))
    os.utime(other / "0.png", (1, 1))
    found = [checksums.of_split(records(root), root=root) for root in (first, other)]
    assert found[0] == found[1]


def test_images_in_a_cache_elsewhere_have_the_same_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("one", "other"):
        monkeypatch.setenv("GEOVLM_CACHE", str(tmp_path / name))
        folder_of(tmp_path / name)
        found.append(checksums.of_split(records(tmp_path / name), root=tmp_path / "data"))
    assert found[0] == found[1]


def test_a_linked_data_set_has_the_same_checksums(tmp_path: Path) -> None:
    first = folder_of(tmp_path / "first")
    link = tmp_path / "link"
    link.symlink_to(first)
    found = [checksums.of_split(records(root), root=root) for root in (first, link)]
    assert found[0] == found[1]


def test_another_label_and_another_image_change_their_record_only(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "data")
    before = checksums.of_split(records(root), root=root)
    relabelled = [*records(root)[:2], records(root, label="y")[2]]
    labels = checksums.of_split(relabelled, root=root)
    shutil.copy(root / "1.png", root / "0.png")
    images = checksums.of_split(records(root), root=root)
    assert labels["sha256"] != before["sha256"]
    assert [k for k in "012" if labels["checked"][k] != before["checked"][k]] == ["2"]
    assert images["sha256"] == before["sha256"]
    assert [k for k in "012" if images["checked"][k] != before["checked"][k]] == ["0"]


def test_a_missing_image_has_no_hash_and_is_reported_by_others(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "data")
    (root / "1.png").unlink()
    found = checksums.of_split(records(root), root=root)
    assert found["checked"]["1"]["images"] == {"1.png": None}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_every_file_of_a_model_counts(name: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(nano.path(), tmp_path / "copy"))
    before = checksums.of_model(nano.path())
    assert checksums.of_model(copy) == before
    data = bytearray((copy / name).read_bytes())
    data[-3] ^= 1  # weights, and the last characters of JSON
    (copy / name).write_bytes(data)
    found = checksums.of_model(copy)
    assert [each for each in before if found[each] != before[each]] == [name]
