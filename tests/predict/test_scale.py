"""Scenes of tens of thousands of pixels, in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from geovlm import nano
from geovlm.boxes import Box
from geovlm.config.schema import RunConfig
from geovlm.engine.generation import generate
from geovlm.engine.models.processor import load_processor
from geovlm.engine.programs import predict
from geovlm.plugins import registry
from geovlm.predict import scenes
from geovlm.predict.job import Job, Request
from geovlm.predict.results import Counts, Results
from geovlm.raster import reference
from tests.predict.planted import QWEN, UTM, Oracle

PROFILE = replace(QWEN, max_pixels=1008 * 1008)
PREPARED = 3  # batches whose inputs are made as for a model; all others only read


def write_large(path: Path, size: tuple[int, int]) -> None:
    """A tiled GeoTIFF of one grey, written block row by block row."""
    width, height = size
    options = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    with rasterio.open(
        path, "w", width=width, height=height, transform=UTM, zlevel=1, **options, **layout
    ) as file:
        for top in range(0, height, 512):
            rows = min(512, height - top)
            values = np.full((3, rows, width), 90, "uint8")
            file.write(values, window=Window(0, top, width, rows))


def measure(path: str, folder: str, width: int, height: int) -> dict[str, float]:
    """Predict over a scene with an oracle; the memory is that of a process of its own."""
    import resource

    truth = [
        Box(10, 10, 60, 60),
        Box(width / 2 - 30, height / 2 - 40, width / 2 + 30, height / 2 + 40),
        Box(width - 100, height - 80, width - 20, height - 10),
    ]
    oracle, batches = Oracle(truth, PROFILE, []), []
    processor = load_processor(str(nano.path()), min_pixels=112 * 112, max_pixels=1008 * 1008)
    loaded = registry.load()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def respond(rows, cache):
        batches.append(len(rows))
        if len(batches) <= PREPARED:
            generate.encode(processor, rows, cache=cache)
        return oracle(rows, cache)

    scene = scenes.scene([Path(path)], folder=Path(folder))
    request = Request(
        task="geochat/refer",
        images=tuple(reference.encode(image) for image in scene.images),
        area=scene.area,
        inputs={"phrase": "ships"},
        window=1008,
        overlap=120,
        config=RunConfig(tasks={"geochat/refer": {}}).model_dump(mode="json"),
    )
    job = Job(Path(folder))
    job.write_request(request)
    task = loaded.task("geochat/refer")
    plan = predict.make_plan(request, task, profile=PROFILE)
    predict.answer(job, plan, respond, registry=loaded)
    results = Results(
        job=job, task=task, request=request, plan=plan, where=scene.georeference, model="oracle"
    )
    features = sum(1 for _ in results.features(Counts()))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"features": features, "windows": len(oracle.asked), "added_mb": (after - before) / 1024}


def measured(tmp_path: Path, size: tuple[int, int]) -> dict[str, float]:
    path = tmp_path / "large.tif"
    write_large(path, size)
    (tmp_path / "job").mkdir()
    code = (
        "import json, sys\nfrom tests.predict.test_scale import measure\n"
        "print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))"
    )
    words = [str(path), str(tmp_path / "job"), *map(str, size)]
    made = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return json.loads(made.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_scene_of_20000_px_takes_less_than_one_and_a_half_gigabytes(tmp_path: Path) -> None:
    found = measured(tmp_path, (20_000, 20_000))
    assert found["features"] == 3
    assert found["windows"] == 23 * 23  # (20000 - 120) / 888 = 22.4
    assert found["added_mb"] < 1500


@pytest.mark.slow
def test_a_scene_of_13817_by_8511_px_is_covered_to_its_corner(tmp_path: Path) -> None:
    write_large(tmp_path / "large.tif", (13_817, 8_511))
    (tmp_path / "job").mkdir()
    found = measure(str(tmp_path / "large.tif"), str(tmp_path / "job"), 13_817, 8_511)
    assert found["features"] == 3
    assert found["windows"] == 16 * 10  # (13817 - 120) / 888 = 15.4, (8511 - 120) / 888 = 9.4
