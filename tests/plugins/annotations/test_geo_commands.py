"""A layer over scenes from the command line: added, drawn, checked, and free of leaks."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio

from geovlm.plugins.described import FILES_VARIABLE
from tests.inside import geovlm
from tests.plugins.annotations import ground


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with six scenes in EPSG:32615 and one layer in degrees, as of QGIS."""
    features = []
    for number in range(6):
        placing = rasterio.Affine(0.5, 0, 500_000 + 200 * number, 0, -0.5, 4_100_000)
        planted = (20.0 + 5 * number, 30.0, 60.0, 50.0)
        path = tmp_path / "scenes" / f"s{number}.tif"
        ground.scene(path, [planted], transform=placing, seed=number)
        shape = ground.moved(ground.polygon(planted, transform=placing))
        features.append(ground.feature(shape, **{"class": "roof"}))
    ground.geojson(tmp_path / "roofs.geojson", features)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FILES_VARIABLE, raising=False)
    return tmp_path


def run(*words: str) -> str:
    done = geovlm(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


ADD = "data add roofs roofs.geojson --images scenes --label-field class --tile 100 --overlap 20"


def test_windows_of_scenes_are_added_drawn_and_checked(folder: Path) -> None:
    added = run(*ADD.split(), "--split", "50/25/25")
    assert "objects: roof 6" in added
    assert 'columns = {label = "class"}' in (folder / "roofs.toml").read_text()
    assert len((folder / "roofs.toml").read_text().splitlines()) <= 20
    run("tasks", "preview", "roofs", "--out", "seen", "-n", "2", "--split", "train")
    assert len(list((folder / "seen").glob("roofs-*.png"))) == 2
    checked = run("data", "check", "roofs")
    assert "images unreadable: 0" in checked
    assert "boxes that leave the image: 0" in checked
    assert "leaks: 0" in run("data", "leaks", "roofs", "--fail")


def test_few_scenes_without_one_for_validation_are_fit(folder: Path) -> None:
    added = geovlm(*ADD.split(), "--split", "1/0/0")
    assert added.returncode == 0
    assert "note: no r" in added.stdout
    checked = run("data", "check", "roofs")
    assert "val records: 0" in checked
    assert "val skipped, window without objects" in checked  # found before its split is known


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--overlap", "512", "--tile", "512"], "overlap must be below dataset.tile"),
        (["--label-field", "klass"], "no feature has a field 'klass' (did you mean 'class'?)"),
        (["--format", "geotiff"], "format must be one of coco, yolo, voc, geojson"),
        (["--labels", "barn", "--label-field", "class"], "no object has the label 'barn'"),
    ],
)
def test_a_wrong_option_is_refused(folder: Path, words: list[str], message: str) -> None:
    done = geovlm("data", "add", "roofs", "roofs.geojson", "--images", "scenes", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (folder / "roofs.toml").exists()


def test_one_label_is_named_where_the_layer_has_none(folder: Path) -> None:
    added = run("data", "add", "r", "roofs.geojson", "--images", "scenes", "--labels", "roof")
    assert "objects: roof 6" in added
