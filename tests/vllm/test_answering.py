"""Evaluation, probe and prediction by vLLM in the process, by a server and by its chat endpoint."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest
from PIL import Image

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

ROWS = 96
SERVED = "openai:mine"
"""Name of the model behind `geovlm serve --name mine`."""


class Server(NamedTuple):
    process: subprocess.Popen[str]
    url: str
    said: list[str]
    """Lines on standard output."""

    def child(self) -> int:
        """Return the process id of `vllm serve`."""
        (found,) = psutil.Process(self.process.pid).children()
        return int(found.pid)


def serve(*words: str) -> Server:
    """Start `geovlm serve nano` and return when it has printed its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "geovlm.cli", "serve", "nano", "--port", str(port), "--name", "mine"]
    process = subprocess.Popen(
        [sys.executable, *command, "--set", "device=cpu", *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(3)]
    assert said[0].startswith("model mine at"), said
    return Server(process, f"http://127.0.0.1:{port}", said)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = serve()
    yield made
    if made.process.poll() is None:
        made.process.send_signal(signal.SIGTERM)
    made.process.wait(60)


@pytest.fixture(scope="module", autouse=True)
def one_start() -> Iterator[None]:
    """Let all tests of this file use the vLLM in this process that the first one starts."""
    from geovlm.engine.writers import vllm

    build, forget, kept = vllm._engine, vllm._forget, {}

    def once(folder: Path, config: Any, **given: Any) -> Any:
        files = [folder / "model.safetensors", *sorted(folder.glob("*.json"))]
        named = tuple((each.name, each.read_bytes()) for each in files)
        if named not in kept:
            kept[named] = build(folder, config, **{**given, "length": 512, "images": 2})
        return kept[named]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vllm, "_engine", once)
        patch.setattr(vllm, "_forget", lambda: None)
        yield
    kept.clear()
    forget()


def ways(url: str) -> dict[str, list[str]]:
    """Return the settings of every way to answer."""
    return {
        "transformers": [],
        "vllm": ["answering.generation=vllm"],
        "server": ["answering.generation=vllm", f"answering.url={url}"],
        "endpoint": [
            f"model={SERVED}",
            f"served.base_url={url}/v1",
            "served.family=qwen2_5_vl",
            "min_pixels=7056",
            "max_pixels=7056",
            "served.parameters.mm_processor_kwargs.min_pixels=1",
            "served.parameters.mm_processor_kwargs.max_pixels=200000",
        ],
    }


def stage(folder: Path, *overrides: str, index: int = -1) -> Any:
    from geovlm.config import load
    from geovlm.engine.rows.images import ImageCache
    from geovlm.engine.stage import Stage
    from geovlm.plugins import registry
    from geovlm.run import files
    from geovlm.run.folder import RunDir

    sets = ["device=cpu", "max_new_tokens=24", *overrides]
    config = load.load(None, tasks=["xbd/count"], overrides=sets)
    run = RunDir(folder)
    files.write_json(run.resolved, {"stage_folders": config.stage_folders()})
    return Stage(
        run=run,
        config=config,
        registry=registry.load(),
        index=index,
        task_names=("xbd/count",),
        data_roots={},
        cache=ImageCache(),
        rank=0,
        world_size=1,
    )


def evaluated(folder: Path, rows: list[Any], overrides: list[str]) -> dict[str, str]:
    """Return the greedy answers of an evaluation: row key -> text."""
    from geovlm.config.model import served_name, source
    from geovlm.engine.evaluation.local import Local
    from geovlm.engine.evaluation.served import Served
    from geovlm.engine.generation.answering import PromptSet
    from geovlm.engine.writers import opening

    at = stage(folder, *overrides)
    prompts = [PromptSet(name="model", rows=rows)]
    name = served_name(at.config.model)
    with opening.writer(source(at.config.model), at.config, registry=at.registry) as writer:
        answerer: Any = (
            Local(writer)
            if name is None
            else Served(model=name, profile=writer.profile, config=at.config)
        )
        found = answerer.answer(at, prompts, folder=folder / "answers", name="base")
    return {key: texts[0] for key, texts in found["model"].items()}


def probed(folder: Path, rows: list[Any], overrides: list[str]) -> list[dict[str, list[str]]]:
    """Return the completions of a probe whose answers are greedy, so that ways can be compared."""
    from geovlm.config.model import source
    from geovlm.engine.training import probe
    from geovlm.engine.writers import opening

    at = stage(folder, "stages.1.generations=2", *overrides, index=1)
    stages = list(at.config.stages)
    stages[1] = stages[1].model_copy(update={"temperature": 0.0})  # vLLM has none in (0, 0.01)
    at = dataclasses.replace(at, config=at.config.model_copy(update={"stages": stages}))
    with opening.writer(source(at.config.model), at.config, registry=at.registry) as writer:
        return probe._rollouts(at, writer, rows)


def predicted(folder: Path, scene: Path, overrides: list[str]) -> list[str | None]:
    """Return the answers to the windows of a scene, in their order."""
    from geovlm.config import load
    from geovlm.engine.programs import predict
    from geovlm.predict.job import Job, Request
    from geovlm.predict.windows.tiles import Window
    from geovlm.raster import reference

    sets = ["device=cpu", "max_new_tokens=24", *overrides]
    config = load.load(None, tasks=["geochat/refer"], overrides=sets, stages=[])
    folder.mkdir()
    job = Job(folder)
    job.write_request(
        Request(
            task="geochat/refer",
            images=(reference.encode(scene),),
            area=Window(0, 0, *Image.open(scene).size),
            inputs={"phrase": "the lake"},
            window=84,
            overlap=0,
            config=config.model_dump(mode="json"),
        )
    )
    predict.work(job)
    return [each.text for each in job.read()]


def received(text: str) -> str:
    """Return an answer as it is read from any endpoint, whose template may begin a thought."""
    from geovlm.run.served import reply

    return reply.completion({"content": text}, cut=False)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A scene of 12 x 8 windows of 84 px."""
    coarse = np.random.default_rng(1).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    path = tmp_path / "scene.png"
    Image.fromarray(coarse).resize((1008, 672), Image.Resampling.BICUBIC).save(path)
    return path


def test_evaluations_are_answered_alike_in_four_ways(server: Server, tmp_path: Path) -> None:
    from tests.vllm.rows import mixed

    rows = mixed(tmp_path, number=ROWS)
    found = {
        way: evaluated(tmp_path / way, rows, overrides)
        for way, overrides in ways(server.url).items()
    }
    assert len(found["transformers"]) == ROWS
    assert len(set(found["transformers"].values())) > 3
    assert found["vllm"] == found["transformers"]
    assert found["server"] == found["transformers"]
    assert found["endpoint"] == {key: received(text) for key, text in found["transformers"].items()}


def test_probes_are_answered_alike(server: Server, tmp_path: Path) -> None:
    from tests.vllm.rows import mixed

    rows = mixed(tmp_path, number=ROWS)
    three = {way: each for way, each in ways(server.url).items() if way != "endpoint"}
    found = {way: probed(tmp_path / way, rows, overrides) for way, overrides in three.items()}
    assert sum(map(len, found["transformers"])) == 2 * ROWS
    assert found["vllm"] == found["transformers"]
    assert found["server"] == found["transformers"]


def test_predictions_are_answered_alike_in_four_ways(
    server: Server, tmp_path: Path, scene: Path
) -> None:
    found = {
        way: predicted(tmp_path / way, scene, overrides)
        for way, overrides in ways(server.url).items()
    }
    assert len(found["transformers"]) >= ROWS
    assert found["vllm"] == found["transformers"]
    assert found["server"] == found["transformers"]
    assert found["endpoint"] == [received(text or "") for text in found["transformers"]]


def test_a_sampled_answer_depends_on_its_row_and_the_seed_alone(tmp_path: Path) -> None:
    from geovlm import nano
    from geovlm.engine.writers import opening
    from tests.vllm.rows import mixed

    at, rows = stage(tmp_path / "run", "answering.generation=vllm"), mixed(tmp_path, number=8)
    given: dict[str, Any] = {"cache": at.cache, "max_new_tokens": 24, "temperature": 0.9}
    with opening.writer(str(nano.path()), at.config, registry=at.registry) as writer:
        together = writer.complete(rows, seed=1, **given)
        alone = writer.complete(rows[4:6], seed=1, **given)
        other = writer.complete(rows, seed=2, **given)
    assert together[4:6] == alone
    assert together != other


def test_a_server_with_other_weights_is_refused_before_the_first_answer(
    server: Server, tmp_path: Path
) -> None:
    import torch

    from geovlm import nano
    from geovlm.engine.models import load
    from geovlm.engine.writers import opening
    from geovlm.errors import RunFailedError
    from tests.vllm.rows import mixed

    sets = ["answering.generation=vllm", f"answering.url={server.url}"]
    at, rows = stage(tmp_path / "run", *sets), mixed(tmp_path, number=2)
    loaded = load.load(str(nano.path()), at.config, registry=at.registry)
    head: Any = loaded.model.get_output_embeddings()
    with torch.no_grad():
        head.weight += 0.05 * head.weight.std() * torch.randn_like(head.weight)
    load.save(loaded.model, loaded.processor, tmp_path / "trained")
    with (
        opening.writer(str(tmp_path / "trained"), at.config, registry=at.registry) as writer,
        pytest.raises(RunFailedError, match=r"transformers differ: .*another model"),
    ):
        writer.complete(rows, cache=at.cache, max_new_tokens=4)


def test_other_pixel_limits_are_refused_before_the_first_answer(
    server: Server, tmp_path: Path
) -> None:
    from geovlm import nano
    from geovlm.engine.writers import opening, prompts
    from geovlm.engine.writers import server as servers
    from geovlm.errors import RunFailedError
    from tests.vllm.rows import mixed

    sets = ["answering.generation=vllm", f"answering.url={server.url}"]
    at, rows = stage(tmp_path / "run", *sets), mixed(tmp_path, number=2)
    with opening.writer(str(nano.path()), at.config, registry=at.registry) as writer:
        assert isinstance(writer, servers.Server)
        writer.complete(rows, cache=at.cache, max_new_tokens=1)
        small = {"min_pixels": 784, "max_pixels": 1568}
        writer._parameters["mm_processor_kwargs"] = small
        expected = len(prompts.ids_of(writer.processor, rows)[0]) + 2 * (36 - 1)
        with pytest.raises(RunFailedError, match=f"tokens in place of {expected} in sample '0'"):
            writer.complete(rows, cache=at.cache, max_new_tokens=1)


class Failing:
    """A writer before whose second batch a process gets a signal."""

    def __init__(self, writer: Any, *, to: int, number: int) -> None:
        self._writer, self._to, self._number, self._batches = writer, to, number, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def complete(self, *args: Any, **given: Any) -> Any:
        self._batches += 1
        if self._batches == 2:
            os.kill(self._to, self._number)
        return self._writer.complete(*args, **given)


def test_a_server_that_hangs_or_is_killed_ends_with_one_line_and_nothing_is_lost(
    server: Server, tmp_path: Path
) -> None:
    from geovlm import nano
    from geovlm.engine.evaluation.local import Local
    from geovlm.engine.generation.answering import PromptSet
    from geovlm.engine.writers import opening
    from geovlm.run.served.faults import EndpointError
    from tests.vllm.rows import mixed

    rows = mixed(tmp_path, number=24)
    prompts = [PromptSet(name="model", rows=rows)]
    batches = ["eval.batch_size=4"]
    asked = [*ways(server.url)["server"], *batches, "served.retries=0", "served.timeout_s=20"]
    kept, child = tmp_path / "run" / "answers" / "model.0.jsonl", server.child()

    def answer(sets: list[str], *, to: int = 0, number: int = 0) -> Any:
        at = stage(tmp_path / "run", *sets)
        with opening.writer(str(nano.path()), at.config, registry=at.registry) as writer:
            failing: Any = Failing(writer, to=to, number=number) if to else writer
            return Local(failing).answer(at, prompts, folder=kept.parent, name="base")

    started = time.monotonic()
    with pytest.raises(EndpointError, match="did not answer within 20 s") as hung:
        answer(asked, to=child, number=signal.SIGSTOP)
    os.kill(child, signal.SIGCONT)
    first = kept.read_text(encoding="utf-8")
    assert len(first.splitlines()) == 4
    with pytest.raises(EndpointError, match=r"no server answers at|connection broke") as killed:
        # the command alone: the kernel ends the server
        answer(asked, to=server.process.pid, number=signal.SIGKILL)
    assert "\n" not in f"{hung.value}{killed.value}"
    while psutil.pid_exists(child):
        assert time.monotonic() < started + 300
        time.sleep(0.2)
    second = kept.read_text(encoding="utf-8")
    assert second.startswith(first)
    resumed = answer(batches)["model"]
    assert kept.read_text(encoding="utf-8").startswith(second)
    assert {key: each[0] for key, each in resumed.items()} == evaluated(
        tmp_path / "anew", rows, batches
    )
