"""The report of a run in Chromium: what it shows and asks for, and what hostile text can do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from geovlm.report import page as report
from geovlm.report import rendering
from tests.report import made
from tests.report.conftest import DESK, PHONE, Opened
from tools import axe

pytestmark = pytest.mark.browser
Open = Callable[..., Opened]

HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title = 'owned'\">",
    "<img src='https://example.org/x.png'>",
    "</dd></dl></article></main><h1>owned</h1>",
    "<a href=\"javascript:document.title='owned'\">javascript:document.title='owned'</a>",
    "<style>* { display: none }</style><meta http-equiv=refresh content='0; url=about:blank'>",
    "<think> \u202egnorw\u2066 \x00\x1b[31m \ud800 </think><answer> \u202edesrever </answer>",
    f"<think> {'long' * 50_000} </think><answer> {'wide' * 50_000} </answer>",
]
WINDOWS = [(DESK, False), (DESK, True), (PHONE, False), (PHONE, True)]
IDS = ["desk", "desk-dark", "phone", "phone-dark"]
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"
WIDTH = "document.documentElement.scrollWidth"
FAULTS = """async () => (await axe.run()).violations
    .filter(each => ["serious", "critical"].includes(each.impact))
    .map(each => `${each.id}: ${each.nodes[0].html}`)"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.write(made.run(tmp_path_factory.mktemp("plain")).path)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.write(made.run(tmp_path_factory.mktemp("hostile"), said=HOSTILE).path)


@pytest.mark.parametrize(("width", "dark"), WINDOWS, ids=IDS)
def test_the_page_is_silent_and_asks_for_nothing(
    opened: Open, plain: Path, width: int, dark: bool
) -> None:
    window = opened(plain, width=width, dark=dark)
    assert (window.messages, window.requests) == ([], [])


@pytest.mark.parametrize(("width", "dark"), WINDOWS, ids=IDS)
def test_axe_finds_nothing_serious(opened: Open, plain: Path, width: int, dark: bool) -> None:
    page = opened(plain, width=width, dark=dark).page
    page.evaluate(OPEN_ALL)
    page.evaluate(axe.script())
    assert page.evaluate(FAULTS) == []


def test_axe_would_find_a_fault(opened: Open, plain: Path) -> None:
    page = opened(plain).page
    page.evaluate("document.querySelector('h1').style.color = '#ddd'")
    page.evaluate(axe.script())
    (fault,) = page.evaluate(FAULTS)
    assert fault.startswith("color-contrast: ")


def test_a_phone_has_no_sideways_scroll(opened: Open, plain: Path, hostile: Path) -> None:
    for path in (plain, hostile):
        page = opened(path, width=PHONE).page
        page.evaluate(OPEN_ALL)
        assert page.evaluate(WIDTH) == PHONE


def test_dark_mode_is_dark(opened: Open, plain: Path) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    assert opened(plain).page.evaluate(colour) == "rgb(255, 255, 255)"
    assert opened(plain, dark=True).page.evaluate(colour) == "rgb(16, 22, 28)"


def test_a_click_on_a_column_sorts_the_table(opened: Open, plain: Path) -> None:
    page = opened(plain).page
    page.evaluate(OPEN_ALL)
    table = page.locator("#scores table.sortable").first
    first = table.locator("tbody th").first
    head = table.locator("thead th").nth(5)  # SFT: 0.875 and 0.625, their mean between
    head.locator("button").click()
    assert (head.get_attribute("aria-sort"), first.inner_text()) == ("ascending", "xbd/refer")
    head.locator("button").click()
    assert (head.get_attribute("aria-sort"), first.inner_text()) == ("descending", "xbd/disaster")


def test_samples_are_filtered_by_task_outcome_and_stage(opened: Open, plain: Path) -> None:
    page = opened(plain).page
    cards = page.locator(".card:visible")
    page.select_option("select[name=task]", "xbd/refer")
    assert page.locator("details.more").get_attribute("open") is not None
    assert set(cards.locator(".over bdi").all_inner_texts()) == {"xbd/refer"}
    page.select_option("select[name=outcome]", "now right")
    shown = cards.count()
    assert page.locator("form.filter output").inner_text().startswith(f"{shown} of ")
    assert shown == page.locator(".card[data-task='xbd/refer'][data-outcome='now right']").count()
    page.select_option("select[name=stage]", "SFT")
    assert set(cards.locator("dl dt:visible").all_inner_texts()) == {"correct", "SFT"}
    assert cards.locator("svg.boxes g.s1:visible").count() == shown
    assert cards.locator("svg.boxes g.s2:visible").count() == 0


def test_the_page_is_whole_without_scripts(opened: Open, plain: Path) -> None:
    page = opened(plain, scripts=False).page
    assert page.locator(".card:visible").count() == rendering.LEAD
    assert page.locator("form.filter").is_hidden()
    page.locator("#scores summary").first.click()
    assert page.locator("#scores table").first.is_visible()


def test_a_print_has_white_paper_and_no_controls(opened: Open, plain: Path) -> None:
    page = opened(plain, dark=True).page
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.locator("form.filter").is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_what_a_model_says_does_nothing(opened: Open, hostile: Path) -> None:
    window = opened(hostile)
    window.page.evaluate(OPEN_ALL)
    window.page.wait_for_timeout(200)
    assert (window.messages, window.requests) == ([], [])
    assert window.page.title() == "first-run · GeoVLM"
    assert window.page.locator("h1").count() == 1
    assert window.page.locator("script").count() == 1
    assert window.page.locator("main style, main meta, main iframe").count() == 0
    assert window.page.locator("a:not([href^='#']):not([href^='https://'])").count() == 0
    text = window.page.locator("body").inner_text()
    assert "<script>document.title = 'owned'</script>" in text
    assert "\\u202edesrever" in text
    assert "more characters" in text


def test_a_script_that_got_into_the_page_would_not_run(opened: Open, plain: Path) -> None:
    window = opened(plain)
    window.page.evaluate(
        "const made = document.createElement('script'); made.text = 'document.title = \"owned\"';"
        "document.body.append(made);"
        "const picture = new Image(); picture.src = 'https://example.org/x.png'"
    )
    window.page.wait_for_timeout(200)
    assert window.page.title() == "first-run · GeoVLM"
    assert sum("Content Security Policy" in message for message in window.messages) == 2
