"""Splits that are read at once: one pass over the rows, with the same records and counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geovlm.api import DatasetSpec
from geovlm.data import loading
from geovlm.files import records as files
from geovlm.plugins.annotations import description
from geovlm.plugins.annotations.declaring import Declared
from tests.plugins.annotations import sets

BOXES = [[10, 20, 50, 50], [0, 0, 0, 5]]


def spec(folder: Path, *rows: Any, **more: str) -> DatasetSpec:
    sets.images(folder)
    (folder / "q.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    keys = {"name": "q", "source": "q.jsonl", "format": "jsonl", "images": "images", **more}
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    (found,) = Declared(
        description.parse(f"[dataset]\n{text}\n", folder / "q.toml")
    ).geovlm_datasets()
    return found


def rows() -> list[Any]:
    own = {"image": "a.png", "phrase": "a ship", "boxes": BOXES}
    bad = [
        {**own, "image": "gone.png", "place": "9"},
        "no object",
        {**own, "boxes": [], "phrase": ""},
    ]
    return [{**own, "id": f"{n}", "place": f"{n}"} for n in range(9)] + [
        {"place": "3", **each} if isinstance(each, dict) else each for each in bad
    ]


@pytest.mark.parametrize("limit", [None, 1])
def test_splits_at_once_are_what_each_is_alone(tmp_path: Path, limit: int | None) -> None:
    own = spec(tmp_path, *rows(), task="refer", split="1/1/1", group_by="place")
    assert loading.reads_at_once(own)
    together = loading.load_splits(own, root=tmp_path, splits=["train", "val", "test"], limit=limit)
    for split, found in together.items():
        alone = loading.load_records(own, root=tmp_path, split=split, limit=limit)
        assert found.records == alone.records
        assert limit is not None or found.reasons == alone.reasons
    assert all(found.records for found in together.values())
    if limit is None:
        counts = {each.skipped["row that is not a JSON object"].count for each in together.values()}
        assert counts == {1}


def test_every_row_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = spec(tmp_path, *rows(), task="refer", split="1/1/1", group_by="place")
    parsed: list[int] = []
    lines = files.json_lines

    def counted(*args: Any, **more: Any) -> Any:
        for number, value in lines(*args, **more):
            parsed.append(number)
            yield number, value

    monkeypatch.setattr(files, "json_lines", counted)
    loading.load_splits(own, root=tmp_path, splits=["train", "test"])
    # the first rows once more, for the names of their columns
    assert len(parsed) == 2 * len(rows())
