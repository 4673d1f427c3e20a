"""Executes every command of the sections of docs/your-data.md on the files that the section shows.

A block such as ```csv questions.csv shows a file: it is written as it stands, and an image is drawn
for each `.png` that it names. `WRITERS` makes the files that a page cannot show.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from geovlm.plugins.annotations import description
from geovlm.plugins.described import FILES_VARIABLE
from tests.inside import geovlm
from tests.plugins.annotations import ground

PAGE = Path(__file__).parents[2] / "docs" / "your-data.md"


def roofs(folder: Path) -> None:
    """Write a layer with one roof over one scene."""
    roof = (40.0, 30.0, 70.0, 50.0)
    ground.scene(folder / "scenes" / "town.tif", [roof])
    shape = ground.feature(ground.polygon(roof), **{"class": "house"})
    ground.geojson(folder / "roofs.geojson", [shape], crs=ground.UTM)


def classes(folder: Path) -> None:
    """Write two folders with an image each."""
    for name in ("forest", "river"):
        (folder / "classes" / name).mkdir(parents=True)
        Image.new("RGB", (200, 100)).save(folder / "classes" / name / "a.png")


def saved(folder: Path) -> None:
    """Save a detection set of one image, as `datasets` does."""
    import io

    from datasets import ClassLabel, Dataset, Features, List, Value
    from datasets import Image as Picture

    stream = io.BytesIO()
    Image.new("RGB", (200, 100)).save(stream, "PNG")
    names = List(ClassLabel(names=["ship"]))
    objects = {"bbox": List(List(Value("float32"), 4)), "category": names}
    row = {
        "image": {"bytes": stream.getvalue(), "path": None},
        "objects": {"bbox": [[10, 20, 40, 30]], "category": [0]},
    }
    kinds = Features(image=Picture(), objects=objects)
    Dataset.from_list([row], features=kinds).save_to_disk(folder / "saved")


WRITERS: Mapping[str, Callable[[Path], object]] = {
    "roofs.geojson": roofs,
    "classes": classes,
    "saved": saved,
}
"""Source of a command -> writes it into a folder."""


class Command(NamedTuple):
    """A line of the page, and the files of its section."""

    line: str
    files: Mapping[str, str]


def commands() -> list[Command]:
    """The lines `geovlm data add …` below the headings of the page."""
    found = []
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]:
        blocks = re.findall(r"^```(.*?)\n(.*?)^```$", section, re.M | re.S)
        files = {info.split()[1]: text for info, text in blocks if " " in info}
        lines = [line for info, text in blocks if info == "text" for line in text.splitlines()]
        found += [Command(line, files) for line in lines if line.startswith("geovlm data add ")]
    return found


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.line)
def test_a_command_of_the_page_describes_the_file_above_it(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FILES_VARIABLE, raising=False)
    words = shlex.split(command.line)
    for name, text in command.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "images").mkdir()
    for name in set(re.findall(r"\w+\.png", " ".join(command.files.values()))) | {"harbour.png"}:
        Image.new("RGB", (200, 100)).save(tmp_path / "images" / name)
    WRITERS.get(words[4], lambda folder: None)(tmp_path)
    done = geovlm(*words[1:])
    assert done.returncode == 0, done.stderr
    file = tmp_path / f"{words[3]}.toml"
    assert description.read(file).name == words[3]
    assert len(file.read_text().splitlines()) <= 20
    checked = geovlm("data", "check", words[3])
    assert "images missing: 0" in checked.stdout, checked.stderr


def test_every_format_has_a_command() -> None:
    sources = {shlex.split(command.line)[4] for command in commands()}
    assert {"instances.json", "data.yaml", "Annotations", "questions.csv"} <= sources
