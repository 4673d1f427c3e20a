"""`geovlm plugins new`: a package that works before a line of it is changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from geovlm.plugins import scaffold
from tests.fake_plugins import geovlm

PROJECT = Path(__file__).parents[2]
FILES = [
    ".copier-answers.yml",
    ".github/workflows/test.yml",
    ".gitignore",
    "README.md",
    "geovlm_sea_ice/__init__.py",
    "geovlm_sea_ice/data.py",
    "geovlm_sea_ice/rewards.py",
    "pyproject.toml",
    "tests/test_sea_ice.py",
]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.1.0", ">=0.1,<0.2"),
        ("0.12.3", ">=0.12,<0.13"),
        ("0.2.0.dev3", ">=0.2,<0.3"),
        ("1.0.0", ">=1.0,<2"),
        ("3.7.1rc1", ">=3.7,<4"),
    ],
)
def test_the_range_ends_where_the_interface_may_break(version: str, expected: str) -> None:
    assert scaffold.compatible_range(version) == expected


@pytest.mark.parametrize("name", ["floods", "sea_ice", "s2", "a_1_b"])
def test_a_good_name_passes(name: str) -> None:
    scaffold.check_name(name, taken={"xbd": "plugin"})


@pytest.mark.parametrize(
    ("name", "near"),
    [("Sea-Ice", "sea_ice"), ("geovlm-floods", "floods"), ("a__b", "a_b"), ("2nd", "nd")],
)
def test_a_bad_name_is_answered_with_a_good_one(name: str, near: str) -> None:
    with pytest.raises(scaffold.ScaffoldError) as caught:
        scaffold.check_name(name, taken={})
    assert f"{name!r} is not a plugin name (did you mean {near!r}?" in str(caught.value)


def test_a_name_without_letters_gets_no_guess() -> None:
    with pytest.raises(
        scaffold.ScaffoldError, match=r"'42' is not a plugin name \(start with a letter"
    ):
        scaffold.check_name("42", taken={})


def test_a_taken_name_says_by_what_and_offers_a_free_one() -> None:
    with pytest.raises(scaffold.ScaffoldError) as caught:
        scaffold.check_name("xbd", taken={"xbd": "plugin", "xbd_2": "plugin"})
    expected = "the name 'xbd' is taken by a plugin (choose another one, such as 'xbd_3')"
    assert str(caught.value) == expected


def test_the_package_is_complete_and_names_its_needs(tmp_path: Path) -> None:
    files = scaffold.write("sea_ice", out=tmp_path / "new" / "ice", version="0.1.0")
    assert [str(path) for path in files] == FILES
    made = tomllib.loads((tmp_path / "new" / "ice" / "pyproject.toml").read_text())["project"]
    assert made["name"] == "geovlm-sea-ice"
    assert made["dependencies"][0] == "geovlm>=0.1,<0.2"
    assert made["entry-points"]["geovlm"] == {"sea_ice": "geovlm_sea_ice"}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "ice").mkdir()
    scaffold.write("sea_ice", out=tmp_path / "ice", version="0.1.0")
    assert (tmp_path / "ice" / "pyproject.toml").is_file()


def test_a_folder_with_files_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(scaffold.ScaffoldError, match=f"folder '{tmp_path}' is not empty"):
        scaffold.write("sea_ice", out=tmp_path, version="0.1.0")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "ice").write_text("mine")
    with pytest.raises(scaffold.ScaffoldError, match="ice' is a file"):
        scaffold.write("sea_ice", out=tmp_path / "ice", version="0.1.0")


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(scaffold.ScaffoldError, match="cannot be written"):
        scaffold.write("sea_ice", out=tmp_path / "file" / "ice", version="0.1.0")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    template = tmp_path / "template"
    (template / "project").mkdir(parents=True)
    (template / "copier.yml").write_text("_subdirectory: project\n")
    (template / "project" / "a.txt").write_text("fine")
    (template / "project" / "b.txt.jinja").write_text("{{ 1 / 0 }}")
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(ZeroDivisionError):
        scaffold.write("sea_ice", out=work / "x" / "ice", version="0.1.0", template=template)
    assert list(work.iterdir()) == []


def test_the_command_prints_the_folder_and_what_to_type_next(tmp_path: Path) -> None:
    out = tmp_path / "sea ice"
    done = geovlm("plugins", "new", "sea_ice", "--out", str(out), folder=tmp_path)
    assert done.returncode == 0
    assert done.stdout == f"{out}\n"
    assert done.stderr.splitlines() == [
        "9 files. Next:",
        f"  cd '{out}' && pip install -e '.[test]'",
        "  pytest",
        "  geovlm run --tasks sea_ice --dry-run",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("xbd", "error: the name 'xbd' is taken by a plugin"),
        ("format", "error: the name 'format' is taken by a reward"),
        ("accuracy", "error: the name 'accuracy' is taken by a metric"),
        ("Sea-Ice", "error: 'Sea-Ice' is not a plugin name (did you mean 'sea_ice'?"),
    ],
)
def test_the_command_refuses_a_name_in_one_line(tmp_path: Path, name: str, message: str) -> None:
    done = geovlm("plugins", "new", name, "--out", str(tmp_path / "new"), folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_the_package_passes_its_own_tests(tmp_path: Path) -> None:
    package, site = tmp_path / "package", tmp_path / "site"
    scaffold.write("sea_ice", out=package, version="0.1.0")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", "--target", site, package], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=package,
        env={"PYTHONPATH": str(site), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_a_package_follows_the_template_and_keeps_its_edits(tmp_path: Path) -> None:
    template, package = tmp_path / "geovlm", tmp_path / "package"
    source = template / scaffold.TEMPLATE.relative_to(PROJECT)
    shutil.copytree(scaffold.TEMPLATE, source)
    (template / "copier.yml").write_text((PROJECT / "copier.yml").read_text())
    _commit(template, tag="v0.1.0")
    scaffold.write("sea_ice", out=package, version="0.1.0")
    edited = package / "README.md"
    edited.write_text(edited.read_text() + "\nMine.\n")
    _commit(package, tag="made")
    ignored = source / "project" / ".gitignore.jinja"
    ignored.write_text(ignored.read_text() + "/wandb/\n")
    _commit(template, tag="v0.2.0")

    update = [sys.executable, "-m", "copier", "update", "--defaults", "--quiet"]
    subprocess.run(update, cwd=package, check=True)
    assert (package / ".gitignore").read_text().endswith("/wandb/\n")
    assert edited.read_text().endswith("\nMine.\n")
    answers = (package / ".copier-answers.yml").read_text()
    assert "_commit: v0.2.0" in answers
    assert "name: sea_ice" in answers


def _commit(folder: Path, *, tag: str) -> None:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", tag], ["tag", tag]):
        subprocess.run(["git", *command], cwd=folder, check=True)
