"""Draws the pictures of README from a run: the head of its report, and one sample.

    geovlm report runs/demo
    python -m tools.picture runs/demo --head docs/report.png --sample docs/sample.png

Needs Chromium on the path; it reads the one file `report.html` and uses no network.
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

SIZE_PX = (1100, 760)
"""Width and height of the part of the page that is drawn as its head."""
SHARPNESS = 1.5
"""Pixels of a picture per pixel of the page."""
COLOURS = 160
"""A palette keeps the file small; the page has few colours."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser() -> str:
    """Return the path of an installed Chromium.

    Raises:
        FileNotFoundError: no browser is installed.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise FileNotFoundError(f"none of {', '.join(BROWSERS)} is on the path: install Chromium")
    return found


def draw(run: Path, *, head: Path | None, sample: Path | None, task: str = "") -> None:
    """Write pictures of `run/report.html`: its `head`, and its first `sample` of a task.

    Raises:
        FileNotFoundError: the run has no report, or no browser is installed.
        playwright.sync_api.Error: the page has no sample of the task.
    """
    from playwright.sync_api import sync_playwright

    page_file = (run / "report.html").resolve(strict=True)
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        width, height = SIZE_PX
        page = program.new_page(
            viewport={"width": width, "height": height}, device_scale_factor=SHARPNESS
        )
        page.goto(page_file.as_uri())
        if head is not None:
            _save(page.screenshot(), head)
        if sample is not None:
            card = f'article.card[data-task="{task}"]' if task else "article.card"
            _save(page.locator(card).first.screenshot(timeout=10_000), sample)
        program.close()


def _save(shot: bytes, out: Path) -> None:
    with Image.open(io.BytesIO(shot)) as picture:
        picture.convert("RGB").quantize(COLOURS).save(out, optimize=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.picture", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run with a report")
    parser.add_argument("--head", type=Path, help="file for the head of the report")
    parser.add_argument("--sample", type=Path, help="file for one sample")
    parser.add_argument("--task", default="", help="task of the sample; default: any")
    given = parser.parse_args(arguments)
    draw(given.run, head=given.head, sample=given.sample, task=given.task)


if __name__ == "__main__":
    main()
