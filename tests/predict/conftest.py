"""Predictions in this process, with a function in place of the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from geovlm.api import ModelProfile
from geovlm.config.schema import RunConfig
from geovlm.engine.programs import predict
from geovlm.plugins import registry
from geovlm.predict import images as pictures
from geovlm.predict import scenes
from geovlm.predict.job import Job, Request
from geovlm.predict.results import Results
from geovlm.raster import reference


@pytest.fixture
def predicted(tmp_path: Path) -> Callable[..., Results]:
    """`(paths, task, profile, respond, …)` -> results, without a process and without a model."""

    def make(
        paths: Sequence[Path],
        task: str,
        *,
        profile: ModelProfile,
        respond: predict.Respond,
        inputs: dict | None = None,
        window: int | None = 112,
        overlap: int | None = None,
    ) -> Results:
        loaded = registry.load()
        folder = tmp_path / "job"
        folder.mkdir(exist_ok=True)
        scene = scenes.scene([pictures.reference(path) for path in paths], folder=folder)
        request = Request(
            task=task,
            images=tuple(reference.encode(image) for image in scene.images),
            area=scene.area,
            inputs=inputs or {},
            window=window,
            overlap=overlap,
            config=RunConfig(tasks={task: {}}).model_dump(mode="json"),
        )
        job = Job(folder)
        job.write_request(request)
        spec = loaded.task(task)
        plan = predict.make_plan(request, spec, profile=profile)
        predict.answer(job, plan, respond, registry=loaded)
        return Results(
            job=job,
            task=spec,
            request=request,
            plan=job.read_plan(),
            where=scene.georeference,
            model="oracle",
        )

    return make
