"""`geovlm predict` as a user calls it, with an oracle in the model's place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.transform import Affine
from rasterio.windows import Window as RasterWindow

from geovlm import cli
from geovlm.boxes import Box
from geovlm.cli.commands import predict as command
from geovlm.engine.programs import predict
from geovlm.errors import RunFailedError
from geovlm.plugins import registry
from geovlm.predict import writing
from geovlm.predict.job import Job
from tests.predict.planted import QWEN, Oracle, write_scene

TRUTH = [Box(20, 20, 40, 44), Box(100, 20, 118, 40), Box(150, 150, 190, 180)]


def status(*words: object) -> object:
    with pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in words])
    return left.value.code


@pytest.fixture
def answered_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[predict.Respond], None]:
    """Put something in the place of the model's process."""

    def use(respond: predict.Respond) -> None:
        def run_model(folder: Job, *, config: object) -> None:
            request = folder.read_request()
            loaded = registry.load()
            plan = predict.make_plan(request, loaded.task(request.task), profile=QWEN)
            predict.answer(folder, plan, respond, registry=loaded, batch_pixels=4 * 112 * 112)

        monkeypatch.setattr(command, "run_model", run_model)

    return use


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    return [write_scene(tmp_path / name, (300, 300)) for name in ("before.tif", "after.tif")]


DETECT = ("predict", "--model", "nano", "--task", "xbd/detect", "--window", "112")


def test_what_is_assumed_about_an_image_is_told_and_written(
    tmp_path: Path, answered_by, capsys: pytest.CaptureFixture[str]
) -> None:
    answered_by(Oracle([], QWEN, []))
    scene, out = write_scene(tmp_path / "a.tif", (56, 56), bands=4), tmp_path / "a.geojson"
    with rasterio.open(scene, "r+") as file:
        # near infrared that GDAL calls alpha
        file.write(np.arange(56 * 56).reshape(56, 56).astype("uint8"), 4)
        file.colorinterp = (*file.colorinterp[:3], ColorInterp.alpha)
    words = ("--question", "Is there water?", "--out", out)
    assert status("predict", "--model", "nano", "--task", "rsvqa/lr", scene, *words) in (0, 1)
    expected = f"{scene}: band 4 is called alpha, but its values are those of no mask"
    assert capsys.readouterr().err.count(f"note: {expected}") == 1
    (note,) = json.loads(out.read_text(encoding="utf-8"))["geovlm"]["notes"]
    assert note.startswith(expected)


def test_geojson_tells_all_of_itself(
    tmp_path: Path, pair, answered_by, capsys: pytest.CaptureFixture[str]
) -> None:
    answered_by(Oracle(TRUTH, QWEN, []))
    out = tmp_path / "found.geojson"
    assert status(*DETECT, *pair, "--out", out, "--json") == 0
    written = json.loads(out.read_text(encoding="utf-8"))
    assert [each["properties"]["label"] for each in written["features"]] == ["damaged building"] * 3
    assert written["features"][0]["properties"] == {
        "label": "damaged building",
        "task": "xbd/detect",
        "model": "nano",
        "reasoning": "I looked.",
        "tile": [0, 0, 112, 112],
    }
    printed = json.loads(capsys.readouterr().out)
    assert printed["counts"] == {"damaged building": 3}
    assert (printed["windows"], printed["unread_answers"]) == (16, 0)
    assert printed["coordinates"] == "longitude, latitude (WGS 84)"
    assert written["geovlm"]["features"] == 3
    assert not list(tmp_path.glob(".*"))


def test_without_out_geojson_goes_to_standard_output(
    pair, answered_by, capsys: pytest.CaptureFixture[str]
) -> None:
    answered_by(Oracle(TRUTH, QWEN, []))
    assert status(*DETECT, *pair) == 0
    assert len(json.loads(capsys.readouterr().out)["features"]) == 3


def test_ogr_opens_what_is_written_in_both_formats(tmp_path: Path, pair, answered_by) -> None:
    pyogrio = pytest.importorskip("pyogrio", reason="the extra geo has pyogrio")
    answered_by(Oracle(TRUTH, QWEN, []))
    assert status(*DETECT, *pair, "--out", tmp_path / "a.geojson") == 0
    assert status(*DETECT, *pair, "--out", tmp_path / "a.gpkg") == 0
    found = pyogrio.read_info(tmp_path / "a.geojson")
    assert (found["features"], found["crs"], found["geometry_type"]) == (3, "EPSG:4326", "Polygon")
    found = pyogrio.read_info(tmp_path / "a.gpkg")
    assert (found["features"], found["crs"]) == (3, "EPSG:32633")
    assert found["geometry_type"] == "MultiPolygon"
    # 20..40 px across and 20..44 px down at 10 m, from 404400, 5342400
    bounds = pyogrio.read_bounds(tmp_path / "a.gpkg")[1][:, 0]
    assert bounds == pytest.approx([404600, 5341960, 404800, 5342200])


def test_a_picture_shows_the_boxes(tmp_path: Path, pair, answered_by) -> None:
    answered_by(Oracle(TRUTH, QWEN, []))
    assert status(*DETECT, *pair, "--out", tmp_path / "a.png") == 0
    image = Image.open(tmp_path / "a.png")
    assert image.size == (2 * 640 + 12, 640)
    # the left side of the third box, x = 150 of 300 px, in the second panel
    assert image.getpixel((652 + 320, round(165 * 640 / 300))) == (255, 208, 0)
    assert image.getpixel((320, round(165 * 640 / 300))) == (90, 90, 90)


def test_pixels_are_warned_of_where_there_is_no_georeference(
    tmp_path: Path, answered_by, capsys: pytest.CaptureFixture[str]
) -> None:
    answered_by(lambda rows, cache: ["<answer> yes </answer>"] * len(rows))
    path = tmp_path / "a.png"
    Image.new("RGB", (51, 31), (50, 60, 70)).save(path)
    words = ("predict", "--model", "nano", "--task", "rsvqa/lr", "--question", "Is there a road?")
    assert status(*words, path, "--out", tmp_path / "a.json") == 0
    assert "warning: without georeference, coordinates are pixels" in capsys.readouterr().err
    written = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert written["geovlm"]["coordinates"].startswith("pixels of the first image")
    ring = written["features"][0]["geometry"]["coordinates"][0]
    assert ring == [[0, 0], [51, 0], [51, 31], [0, 31], [0, 0]]
    assert written["features"][0]["properties"]["label"] == "yes"


DISK = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +datum=WGS84 +units=m"
DISK_GRID = Affine(36e3, 0, -54e5, 0, -36e3, 54e5)
"""The whole earth on 300 x 300 px, its corners beside it."""


def test_a_feature_beside_the_earth_is_left_out_and_counted(
    tmp_path: Path, answered_by, capsys: pytest.CaptureFixture[str]
) -> None:
    answered_by(Oracle([Box(2, 2, 20, 20), Box(150, 150, 190, 180)], QWEN, []))
    image = write_scene(tmp_path / "a.tif", (300, 300), crs=DISK, transform=DISK_GRID)
    out = tmp_path / "found.geojson"
    assert status(*DETECT, image, image, "--out", out) == 0
    written = json.loads(out.read_text(encoding="utf-8"))
    assert len(written["features"]) == written["geovlm"]["features"] == 1
    assert written["geovlm"]["features_outside"] == 1
    assert "warning: 1 features have no longitude and latitude" in capsys.readouterr().err


def test_a_picture_needs_no_longitude(
    tmp_path: Path, answered_by, capsys: pytest.CaptureFixture[str]
) -> None:
    answered_by(Oracle([Box(2, 2, 20, 20)], QWEN, []))
    image = write_scene(tmp_path / "a.tif", (300, 300), crs=DISK, transform=DISK_GRID)
    assert status(*DETECT, image, image, "--out", tmp_path / "a.png") == 0
    said = capsys.readouterr().err
    assert "1 features from 16 windows" in said
    assert "longitude" not in said


def test_labels_of_windows_are_counted(tmp_path: Path, answered_by) -> None:
    answers = iter(["Pastures; Urban fabric", "Pastures", "Inland waters", "Pastures"])
    answered_by(lambda rows, cache: [f"<answer> {next(answers)} </answer>" for _ in rows])
    image = write_scene(tmp_path / "a.tif", (224, 224))
    words = ("predict", "--model", "nano", "--task", "bigearthnet", "--window", "112")
    assert status(*words, image, "--out", tmp_path / "a.geojson") == 0
    written = json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))
    assert written["geovlm"]["counts"] == {"Pastures": 3, "Urban fabric": 1, "Inland waters": 1}
    assert written["features"][0]["properties"]["labels"] == ["Pastures", "Urban fabric"]


def test_each_marked_box_is_one_question_and_one_feature(tmp_path: Path, pair, answered_by) -> None:
    questions: list[str] = []

    def respond(rows, cache):
        questions.extend(row.question for row in rows)
        return ["<answer> destroyed </answer>"] * len(rows)

    answered_by(respond)
    words = ("predict", "--model", "nano", "--task", "xbd/assess", "--window", "112")
    marked = ("--box", "200,200,220,230", "--box", "0,0,20,20")
    assert status(*words, *marked, *pair, "--out", tmp_path / "a.geojson") == 0
    written = json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))
    assert [each["properties"]["labels"] for each in written["features"]] == [["destroyed"]] * 2
    # the window of the first begins at (154, 159): 210 - 56 and 215 - 56
    assert "building at [46, 41, 66, 71] between" in questions[0]
    assert "building at [0, 0, 20, 20] between" in questions[1]


def test_windows_of_dark_ground_are_asked_about(tmp_path: Path, answered_by) -> None:
    oracle = Oracle([], QWEN, [])
    answered_by(oracle)
    image = write_scene(tmp_path / "a.tif", (224, 112), bands=1, dtype="uint16", value=60)
    with rasterio.open(image, "r+") as file:  # water at the left, land at the right
        file.write(np.full((1, 112, 112), 900, "uint16"), window=RasterWindow(112, 0, 112, 112))
    words = (*DETECT, "--overlap", "0", image, image, "--out", tmp_path / "a.geojson")
    assert status(*words) == 0
    assert oracle.asked == ["0", "1"]


def test_black_windows_are_not_asked_about(
    tmp_path: Path, answered_by, capsys: pytest.CaptureFixture[str]
) -> None:
    oracle = Oracle(TRUTH, QWEN, [])
    answered_by(oracle)
    before = write_scene(tmp_path / "a.tif", (300, 300))
    after = write_scene(tmp_path / "b.tif", (300, 300), value=0)
    assert status(*DETECT, before, after, "--out", tmp_path / "a.geojson") == 0
    assert oracle.asked == []
    assert "16 windows were skipped: an image has no data there" in capsys.readouterr().err


def test_answers_that_cannot_be_read_are_counted_and_shown(
    tmp_path: Path, pair, answered_by, capsys: pytest.CaptureFixture[str]
) -> None:
    answered_by(lambda rows, cache: ["<answer> [1, 2, </answer>"] * len(rows))
    out = tmp_path / "a.geojson"
    assert status(*DETECT, *pair, "--out", out) == 1
    said = capsys.readouterr().err
    assert "16 of 16 answers could not be read; the first, of window [0, 0, 112, 112]" in said
    assert "was the model trained on this task?" in said
    assert json.loads(out.read_text(encoding="utf-8"))["geovlm"]["unread_answers"] == 16


def test_an_interrupted_prediction_goes_on_where_it_was(
    tmp_path: Path, pair, answered_by, capsys: pytest.CaptureFixture[str]
) -> None:
    oracle, calls = Oracle(TRUTH, QWEN, []), []

    def breaks(rows, cache):
        calls.append(len(rows))
        if len(calls) == 3:
            raise RunFailedError("killed")
        return oracle(rows, cache)

    answered_by(breaks)
    words = (*DETECT, *pair, "--out", tmp_path / "a.geojson")
    assert status(*words) == 1
    assert "to continue: the same command with --resume" in capsys.readouterr().err
    assert status(*words) == 2
    assert "--resume continues it, --overwrite starts again" in capsys.readouterr().err
    assert status(*words, "--resume", "--overlap", "30") == 2
    assert "was begun with another overlap" in capsys.readouterr().err
    answered_by(oracle)
    assert status(*words, "--resume") == 0
    assert [int(each) for each in oracle.asked] == list(range(16))
    assert len(json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))["features"]) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "a.shp"), "unknown ending (one of .geojson, .json, .gpkg, .png)"),
        (("--out", "there.geojson"), "there.geojson exists (--overwrite replaces it)"),
        (("--out", "no/a.geojson"), "no is not a folder"),
        (("--out", "folder.geojson"), "folder.geojson is a folder (name a file)"),
        (("--out", "folder.geojson", "--overwrite"), "folder.geojson is a folder (name a file)"),
        (("--out", "/proc/a.geojson"), "/proc/a.geojson cannot be written: No such file"),
        (("--out", "there.geojson/a.json"), "there.geojson is not a folder"),
        (("--json",), "--json and GeoJSON both go to standard output (give --out)"),
        (("--crs", "source"), "GeoJSON is in longitude and latitude (RFC 7946)"),
        (("--out", "a.json", "--resume"), "nothing to resume"),
        (("--range", "5,5"), "--range '5,5': the first number must be below the second"),
        (("--box", "1,2,3"), "--box '1,2,3' is not 4 or 5 numbers"),
        (("--ask", "level"), "--ask 'level' is not of the form KEY=TEXT"),
        (("--box", "1,2,3,4"), "does not ask for 'boxes'"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(
    words, message: str, tmp_path: Path, pair, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.geojson").write_text("mine", encoding="utf-8")
    (tmp_path / "folder.geojson").mkdir()
    assert status(*DETECT, *pair, *words) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "there.geojson").read_text(encoding="utf-8") == "mine"


def test_a_picture_never_replaces_the_image_that_it_is_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64), (9, 9, 9)).save(path)
    held = path.read_bytes()
    words = ("predict", "--model", "nano", "--task", "rsvqa/lr", "--question", "Is it?", path)
    assert status(*words, "--out", path, "--overwrite") == 2
    assert "a.png is an input image (name another file)" in capsys.readouterr().err
    assert path.read_bytes() == held


def test_a_full_disk_loses_no_answer(
    tmp_path: Path, pair, answered_by, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    oracle = Oracle([Box(10, 12, 30, 28)], QWEN, [])
    answered_by(oracle)
    out = tmp_path / "a.geojson"

    def full(number: int) -> None:
        raise OSError(28, "No space left on device", str(out))

    with monkeypatch.context() as patched:  # the answers reach the disk, the result does not
        patched.setattr(writing, "os", SimpleNamespace(fsync=full, getpid=os.getpid))
        assert status(*DETECT, *pair, "--out", out) != 0
    said = capsys.readouterr().err
    assert "cannot be written: No space left on device" in said
    assert "the same command with --resume" in said
    asked = len(oracle.asked)
    assert status(*DETECT, *pair, "--out", out, "--resume") == 0
    assert len(oracle.asked) == asked
    assert len(json.loads(out.read_text(encoding="utf-8"))["features"]) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such image file"), (b"", "0 bytes"), (b"II*\x00half", "not a readable raster")],
)
def test_a_bad_file_is_named(
    content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.tif"
    if content is not None:
        path.write_bytes(content)
    words = ("predict", "--model", "nano", "--task", "bigearthnet", path)
    assert status(*words, "--out", tmp_path / "a.geojson") == 2
    said = capsys.readouterr().err
    assert message in said
    assert "bad.tif" in said


def test_a_place_of_unknown_accuracy_is_warned_of_and_written_into_the_file(
    tmp_path: Path, answered_by, capsys: pytest.CaptureFixture[str]
) -> None:
    answered_by(lambda rows, cache: ["<answer> yes </answer>"] * len(rows))
    grid = Affine(10, 0, 500_000, 0, -10, 1_300_000)
    scene = write_scene(tmp_path / "a.tif", (60, 60), crs="EPSG:3148", transform=grid)
    words = ("predict", "--model", "nano", "--task", "rsvqa/lr", "--question", "Is there a road?")
    assert status(*words, scene, "--out", tmp_path / "a.geojson") == 0
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "warning" in each]
    assert line.startswith(f"warning: coordinates of {scene} may be off by tens of metres: Indian")
    member = json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))["geovlm"]
    assert (member["operation"], member["accuracy_m"]) == ("Indian 1960 to WGS 84 (2)", None)
    assert f"warning: {member['accuracy_note']}" == line


def test_coordinates_of_the_scenes_own_crs_need_no_operation(
    tmp_path: Path, answered_by, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyogrio", reason="the extra geo has pyogrio")
    answered_by(lambda rows, cache: ["<answer> yes </answer>"] * len(rows))
    grid = Affine(10, 0, 500_000, 0, -10, 1_300_000)
    scene = write_scene(tmp_path / "a.tif", (60, 60), crs="EPSG:3148", transform=grid)
    words = ("predict", "--model", "nano", "--task", "rsvqa/lr", "--question", "Is there a road?")
    assert status(*words, scene, "--out", tmp_path / "a.gpkg", "--json") == 0
    said = capsys.readouterr()
    assert "warning" not in said.err
    assert "accuracy_m" not in json.loads(said.out)


def test_the_proj_of_another_program_is_one_line_before_the_model_is_loaded(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", (64, 64))
    words = ["predict", "--model", "nano", "--task", "bigearthnet", str(scene)]
    code = f"from geovlm.cli import main; main({words!r})"
    ended = subprocess.run(  # PROJ reads the variable once per process
        [sys.executable, "-c", code],
        env={**os.environ, "PROJ_LIB": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: PROJ_LIB={tmp_path} belongs to another installation of PROJ: ")
    assert line.endswith("(unset PROJ_LIB)")
