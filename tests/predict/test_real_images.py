"""Real files through the real command and the built-in model: a pair of Joplin, Sentinel-2."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from geovlm import cli
from geovlm.predict import images, scenes
from geovlm.raster import open_window

REALDATA = Path(
    os.environ.get("GEOVLM_REALDATA", Path(__file__).parents[3] / "shared" / "realdata")
)
pytestmark = pytest.mark.skipif(
    not REALDATA.is_dir(), reason=f"no real files in {REALDATA} (GEOVLM_REALDATA)"
)
JOPLIN = [REALDATA / "joplin_geotiff_pair" / part for part in ("pre/0_pre.tif", "post/0_post.tif")]
SENTINEL = REALDATA / "BigEarthNet_v1/BigEarthNet-v1.0/S2A_MSIL2A_20170613T101031_87_48"


def test_the_pair_of_joplin_lies_on_one_grid(tmp_path: Path) -> None:
    scene = scenes.scene([images.reference(path) for path in JOPLIN], folder=tmp_path)
    # the newer image begins 0.79 px further east and 0.40 px further south
    assert scene.area == (1, 0, 1023, 1024)
    before, after = (
        np.asarray(open_window(each, (600, 20, 400, 80)).convert("L"), float)
        for each in scene.images
    )
    # the same street crosses both: rows correlate best where they are
    profile = [image.mean(axis=1) - image.mean() for image in (before, after)]
    shifts = range(-6, 7)
    fit = [float(np.dot(profile[0], np.roll(profile[1], shift))) for shift in shifts]
    assert abs(shifts[int(np.argmax(fit))]) <= 3


@pytest.mark.parametrize("path", sorted(REALDATA.rglob("*.tif")), ids=lambda path: path.name)
def test_a_real_file_is_neither_doubted_nor_suspect(path: Path, tmp_path: Path) -> None:
    scene = scenes.scene([images.reference(path)], folder=tmp_path)
    assert scene.georeference is None or scene.georeference.doubt() == ""
    assert [note for note in scene.notes if "georeference" not in note] == []


# bounds: the corners of the files in EPSG:32615 and EPSG:32633 by pyproj, rounded outwards
@pytest.mark.slow
@pytest.mark.usefixtures("engine_here")
@pytest.mark.parametrize(
    ("words", "bounds"),
    [
        (
            ("--task", "xbd/detect", "--window", "512", *JOPLIN),
            (-94.49986, 37.06889, -94.49282, 37.07521),
        ),
        (
            (
                *("--task", "rsvqa/lr", "--question", "Is there a road?", "--window", "60"),
                *("--bands", "B04,B03,B02", "--range", "0,2000", SENTINEL),
            ),
            (13.71273, 48.21681, 13.72916, 48.22780),
        ),
    ],
    ids=["joplin", "sentinel-2"],
)
def test_ogr_opens_what_is_predicted(words, bounds, tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio", reason="the extra geo has pyogrio")
    out = tmp_path / "a.geojson"
    with pytest.raises(SystemExit) as left:
        cli.main(["predict", "--model", "nano", "--out", str(out), *map(str, words)])
    assert left.value.code == 0
    found = pyogrio.read_info(out)
    written = json.loads(out.read_text(encoding="utf-8"))
    assert found["crs"] == "EPSG:4326"
    assert found["features"] == written["geovlm"]["features"]
    west, south, east, north = written.get("bbox", bounds)  # a model may find nothing
    assert bounds[0] <= west <= east <= bounds[2]
    assert bounds[1] <= south <= north <= bounds[3]
