"""Draw the top of a run's report as a PNG, for README.

    geovlm report runs/demo
    python -m tools.picture runs/demo docs/report.png

Needs Chromium on the path; it reads the one file `report.html` and uses no network.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

SIZE_PX = (1100, 966)
"""Width and height of the part of the page that is drawn."""
COLOURS = 128
"""A palette keeps the file small; the page has few colours."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def browser() -> str:
    """Return the path of an installed Chromium.

    Raises:
        FileNotFoundError: no browser is installed.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise FileNotFoundError(f"none of {', '.join(BROWSERS)} is on the path: install Chromium")
    return found


def draw(run: Path, out: Path) -> None:
    """Write the picture of `run/report.html` to `out`.

    Raises:
        FileNotFoundError: the run has no report, or no browser is installed.
        subprocess.CalledProcessError: the browser failed.
    """
    page, program = (run / "report.html").resolve(strict=True), browser()
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        width, height = SIZE_PX
        size = f"--window-size={width},{height}"
        profile = f"--user-data-dir={folder}/profile"
        command = [program, *FLAGS, size, profile, f"--screenshot={shot}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        with Image.open(shot) as picture:
            picture.convert("RGB").quantize(COLOURS).save(out, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
