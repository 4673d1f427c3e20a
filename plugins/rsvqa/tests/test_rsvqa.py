from __future__ import annotations

import pytest
from geovlm_rsvqa import tasks

from geovlm.data import loading
from geovlm.plugins import registry
from geovlm.plugins.references import resolve


@pytest.mark.parametrize("name", ["rsvqa/lr", "rsvqa/hr"])
def test_the_same_seed_writes_the_same_bytes_that_load_without_a_skip(tmp_path, name):
    spec = registry.load().dataset(name)
    make = resolve(spec.make_sample)
    first, second = tmp_path / "first", tmp_path / "second"
    make(first, 3, 7)
    make(second, 3, 7)
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files
    assert all((first / p).read_bytes() == (second / p).read_bytes() for p in files)
    loaded = [loading.load_records(spec, root=first, split=split) for split in spec.splits]
    assert [dict(each.skipped) for each in loaded] == [{}, {}, {}]
    assert all(s.images[0].is_file() for each in loaded for s in each.records)


@pytest.mark.parametrize(
    ("raw", "place"),
    [("0", 0), ("1", 1), ("10", 1), ("11", 2), ("100", 2), ("101", 3), ("1000", 3), ("1001", 4)],
)
def test_numbers_at_the_borders_fall_into_the_official_classes(raw, place):
    assert tasks.number_class(raw, tasks.COUNT_CLASSES) == tasks.COUNT_CLASSES[place]
    assert tasks.number_class(f"{raw}m2", tasks.AREA_CLASSES) == tasks.AREA_CLASSES[place]
