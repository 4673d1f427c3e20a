"""Imports and the end of a process are spared collections; all others take place."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from geovlm.engine import collecting


class Ring:
    """Refers to itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.parametrize("enabled", [True, False])
def test_what_is_imported_is_passed_over_and_what_comes_later_is_not(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(ImportError), collecting.imports():
            assert not gc.isenabled()
            kept = weakref.ref(Ring())
            raise ImportError
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
    later = weakref.ref(Ring())
    gc.collect()
    assert kept() is not None
    assert later() is None


def test_leaving_ends_with_the_status_and_walks_over_nothing() -> None:
    with pytest.raises(SystemExit) as left:
        collecting.leave(3)
    assert left.value.code == 3
    assert gc.get_freeze_count() > 0
