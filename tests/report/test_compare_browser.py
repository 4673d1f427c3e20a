"""A comparison of runs in Chromium: silent, readable, and filtered by who is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from geovlm.report.compare import comparison, page
from geovlm.run import files
from tests.report import made
from tests.report.conftest import DESK, PHONE, Opened
from tests.report.test_browser import FAULTS, HOSTILE, IDS, OPEN_ALL, WIDTH, WINDOWS
from tools import axe

pytestmark = pytest.mark.browser
Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a comparison with three answers per sample, some of them hostile."""
    folder = tmp_path_factory.mktemp("compare")
    words = []
    for name, said in (("plain", ()), ("hostile", HOSTILE)):
        run = made.run(folder / name, said=said)
        for task in made.TASKS:
            metrics = run.read_metrics()
            for entry in metrics["tasks"][task]["stages"].values():
                entry["task_version"] = 1
            files.write_json(run.metrics, metrics)
        words.append(str(run.path))
    out = folder / "compare.html"
    page.write(comparison.of([f"{words[0]}:base", *words]), out)
    return out


@pytest.mark.parametrize(("width", "dark"), WINDOWS, ids=IDS)
def test_the_page_is_silent_readable_and_as_wide_as_its_window(
    opened: Open, both: Path, width: int, dark: bool
) -> None:
    window = opened(both, width=width, dark=dark)
    window.page.evaluate(OPEN_ALL)
    assert window.page.evaluate(WIDTH) == width
    assert (window.messages, window.requests) == ([], [])
    window.page.evaluate(axe.script())
    assert window.page.evaluate(FAULTS) == []


def test_samples_are_filtered_by_who_is_right(opened: Open, both: Path) -> None:
    window = opened(both, width=DESK).page
    kinds = window.locator("select[name=outcome] option").all_inner_texts()
    _, kind, *others = kinds  # the first one is all
    assert others
    window.select_option("select[name=outcome]", kind)
    whys = window.locator(".card:visible .why").all_inner_texts()
    assert set(whys) == {kind}
    assert window.locator("form.filter output").inner_text().startswith(f"{len(whys)} of ")


def test_one_run_alone_can_be_shown(opened: Open, both: Path) -> None:
    window = opened(both, width=PHONE).page
    name = window.locator("select[name=stage] option").last.inner_text()
    window.select_option("select[name=stage]", name)
    assert set(window.locator(".card:visible dl dt:visible").all_inner_texts()) == {"correct", name}
