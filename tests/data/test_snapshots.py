"""The records of a split in a file of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geovlm.api import Raster, Sample
from geovlm.data import snapshots


def sample(name: str = "a", **more: Any) -> Sample:
    given: dict[str, Any] = {"id": name, "images": (Path("/data/a.png"),), "target": {}}
    return Sample(**given | more)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    shared = {
        "answer": "ja\tnein",
        "labels": ["Häuser", 2.5, True, None],
        "boxes": [[0.1, 1, 2, 3]],
    }
    records = [
        sample(
            "1", target=shared, question="¿Qué\nhay?", meta={"where": "a.jsonl:1", "gsd_m": 0.5}
        ),
        sample("2", target=shared, images=(Path("/data/b.png"), Path("/data/ü.png"))),
        sample("3", images=(), image_sizes=((3, 4), (5, 6))),
    ]
    assert snapshots.write(tmp_path / "of" / "run", records, contents="d1")
    found = snapshots.read(tmp_path / "of" / "run", contents="d1")
    assert found is not None
    assert list(found) == records
    assert found[1:] == records[1:]
    assert found[-1] == records[2]
    with pytest.raises(IndexError):
        found[3]


def test_only_the_records_that_are_asked_for_are_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots.write(tmp_path / "run", [sample(f"{n}") for n in range(100)], contents="d1")
    parsed: list[str] = []
    scan = snapshots._SCAN
    monkeypatch.setattr(snapshots, "_SCAN", lambda *text: parsed.append(text[0]) or scan(*text))
    found = snapshots.read(tmp_path / "run", contents="d1")
    assert found is not None
    assert (len(found), found[70].id, len(set(parsed))) == (100, "70", 1)


@pytest.mark.parametrize(
    "record",
    [
        sample(target={"size": (1, 2)}),
        sample(target={"names": {1: "a"}}),
        sample(meta={"when": Path("a")}),
        sample(images=(Raster(files={}, file=Path("/a.tif"), bands=("1",), low=0, high=1),)),
    ],
    ids=["tuple", "key", "path", "raster"],
)
def test_what_json_would_change_is_not_kept(tmp_path: Path, record: Sample) -> None:
    assert not snapshots.write(tmp_path / "run", [sample(), record], contents="d1")
    assert not list(tmp_path.iterdir())


def test_other_contents_and_torn_files_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "run"
    snapshots.write(path, [sample()], contents="d1")
    assert snapshots.read(path, contents="d2") is None
    path.write_bytes(path.read_bytes()[1:])
    assert snapshots.read(path, contents="d1") is None
    path.write_bytes(b"")
    assert snapshots.read(path, contents="d1") is None
    assert snapshots.read(tmp_path / "absent", contents="d1") is None


def test_without_a_place_for_it_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not snapshots.write(tmp_path / "file" / "run", [sample()], contents="d1")
