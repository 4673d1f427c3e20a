"""The plugin tutorial: its files are those of the template or work as edits of them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from geovlm.plugins import scaffold
from tests.fake_plugins import geovlm

PAGE = Path(__file__).parents[2] / "docs" / "plugins" / "tutorial.md"
LESSON = PAGE.read_text(encoding="utf-8")
SHOWN = {
    (path, how): text
    for path, how, text in re.findall(
        r"^`(\S+)`, (as generated|replaced|edited)\n\n```\w+\n(.*?)^```", LESSON, re.M | re.S
    )
}
TRY = re.search(r"^\$ geovlm (rewards try .*)$", LESSON, re.M)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated") / "geovlm-floods"
    scaffold.write("floods", out=folder, version="0.1.0")
    return folder


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package after all edits of the page, and next to it `site`, where it is installed."""
    folder = tmp_path_factory.mktemp("edited") / "geovlm-floods"
    scaffold.write("floods", out=folder, version="0.1.0")
    for (path, how), text in SHOWN.items():
        if how == "replaced":
            (folder / path).write_text(text, encoding="utf-8")
        if how == "edited":
            apply = ["git", "apply", "-"]
            subprocess.run(apply, cwd=folder, input=text, text=True, check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    site = folder.parent / "site"
    subprocess.run([*pip, "--no-build-isolation", "--target", site, folder], check=True)
    return folder


def test_the_page_shows_one_generated_file_and_four_edits() -> None:
    assert sorted(SHOWN) == [
        ("geovlm_floods/__init__.py", "edited"),
        ("geovlm_floods/data.py", "replaced"),
        ("geovlm_floods/rewards.py", "as generated"),
        ("geovlm_floods/rewards.py", "replaced"),
        ("tests/test_floods.py", "replaced"),
    ]


def test_a_file_shown_as_generated_is_what_the_template_yields(generated: Path) -> None:
    path = "geovlm_floods/rewards.py"
    assert SHOWN[path, "as generated"] == (generated / path).read_text(encoding="utf-8")


def test_the_page_lists_every_file_of_the_template(generated: Path) -> None:
    (listed,) = re.findall(r"^```text\n(.*?)^```", LESSON, re.M | re.S)
    named = set(re.findall(r"(?:^|(?<=  ))[\w./-]+\.\w+|\.gitignore", listed, re.M))
    files = {str(p.relative_to(generated)) for p in generated.rglob("*") if p.is_file()}
    assert named == files


def test_the_edited_package_passes_its_tests(edited: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=edited,
        env={"PYTHONPATH": str(edited.parent / "site"), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_edited_task_is_listed(edited: Path) -> None:
    done = geovlm("tasks", "list", "--json", folder=edited.parent / "site")
    assert "floods" in [row["name"] for row in json.loads(done.stdout)]


def test_the_reward_of_the_page_gives_what_the_page_says(edited: Path) -> None:
    assert TRY is not None
    done = geovlm(*shlex.split(TRY.group(1)), folder=edited.parent / "site")
    assert done.returncode == 0, done.stderr
    assert "`rewards try` prints 0.6" in LESSON
    assert re.search(r"\b0\.6\b", done.stdout)


def test_the_generated_data_of_the_page_are_fit_for_training(edited: Path, tmp_path: Path) -> None:
    site, out = edited.parent / "site", str(tmp_path / "sample")
    assert geovlm("data", "sample", "floods", "--out", out, "-n", "4", folder=site).returncode == 0
    assert geovlm("data", "check", "floods", "--data", out, folder=site).returncode == 0
