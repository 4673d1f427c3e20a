"""Predictions in this process, by whatever answers in the model's place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from geovlm import raster, registry
from geovlm.api import ModelProfile
from geovlm.config import RunConfig
from geovlm.engine import prediction
from geovlm.predict import images as pictures
from geovlm.predict import scenes
from geovlm.predict.job import Job, Request
from geovlm.predict.results import Results


@pytest.fixture
def predicted(tmp_path: Path) -> Callable[..., Results]:
    """`(paths, task, profile, respond, …)` -> results, without a process and without a model."""

    def make(
        paths: Sequence[Path],
        task: str,
        *,
        profile: ModelProfile,
        respond: prediction.Respond,
        said: dict | None = None,
        window: int | None = 112,
        overlap: int | None = None,
    ) -> Results:
        loaded = registry.load()
        folder = tmp_path / "job"
        folder.mkdir(exist_ok=True)
        scene = scenes.scene([pictures.reference(path) for path in paths], folder=folder)
        request = Request(
            task=task,
            images=tuple(raster.encode(image) for image in scene.images),
            area=scene.area,
            said=said or {},
            window=window,
            overlap=overlap,
            config=RunConfig(tasks={task: {}}).model_dump(mode="json"),
        )
        job = Job(folder)
        job.write_request(request)
        spec = loaded.task(task)
        plan = prediction.make_plan(request, spec, profile=profile)
        prediction.answer(job, plan, respond, registry=loaded)
        return Results(
            job=job,
            task=spec,
            request=request,
            plan=job.read_plan(),
            where=scene.georeference,
            model="oracle",
        )

    return make
