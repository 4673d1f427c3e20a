"""Does the work of one stage and turns its errors into exit statuses."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors import SafetensorError

from geovlm.config.model import source
from geovlm.config.schema import RunConfig
from geovlm.engine import checks, failures
from geovlm.engine.evaluation import evaluate
from geovlm.engine.evaluation.local import Local
from geovlm.engine.models import load
from geovlm.engine.programs.main import quiet_libraries
from geovlm.engine.progress import memory
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.stage import Stage
from geovlm.engine.stopping import RewardWatch, Stop, end_with_launcher
from geovlm.engine.training import (
    checkpoints,
    groups,
    grpo,
    probe,
    sft,
    sharded,
)
from geovlm.engine.writers import opening
from geovlm.errors import GeoVLMError, RunFailedError, StoppedError
from geovlm.plugins import registry
from geovlm.run import files
from geovlm.run.folder import RunDir
from geovlm.run.status import meter
from geovlm.run.vllm import stage as vllm_stage

_LISTENING_S = 5.0
"""A rank that lost another one waits, so that the launcher sees the lost one's end first."""


def main(run: RunDir, *, stage: str, resume: bool) -> int:
    """Do the work of a stage, a number or `eval`; returns the status of `geovlm.engine.worker`."""
    stop = Stop()
    stop.listen()
    end_with_launcher()
    quiet_libraries()
    try:
        work(run, stage=stage, resume=resume, stop=stop)
    except StoppedError as stopped:
        if failures.place().local_rank == 0:
            _report(f"stopped: {stopped}")
    except GeoVLMError as error:
        _report(f"error: {failures.who()}{error}")
        return error.exit_code
    except (OSError, RuntimeError, SafetensorError) as error:
        message = failures.explain(error, run, stage=stage)
        if message is None:
            raise
        _report(message)
        if not message.startswith("error: "):
            time.sleep(_LISTENING_S)
        elif stage != "eval" and failures.place().rank == 0:
            checkpoints.remove_unfinished(run.stage(int(stage)) / "checkpoints")
        return RunFailedError.exit_code
    finally:
        stop.close()
    return 0


def _report(line: str) -> None:
    """Write a line at once, so that those of two ranks do not mix."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def work(run: RunDir, *, stage: str, resume: bool, stop: Stop | None = None) -> None:
    """Train, probe or evaluate as the stage configures, and write `done.json` last.

    Raises:
        StoppedError: `stop` was requested, and the stage can be resumed.
        RunFailedError: the number of processes is not that of the run.
        GeoVLMError: the stage finds something impossible.
    """
    started = time.monotonic()
    resolved = run.read_resolved()
    config = RunConfig.model_validate(resolved["config"])
    state = PartialState(
        cpu=load.device(config) == "cpu", timeout=timedelta(seconds=config.timeout_s)
    )
    index = -1 if stage == "eval" else int(stage)
    expected = resolved["world_sizes"][stage]
    if state.num_processes != expected:
        raise RunFailedError(
            f"stage {stage} runs on {state.num_processes} processes, {expected} were asked for",
            hint="the launcher did not start all ranks; see accelerate.yaml in the stage's folder, "
            "or start the run by geovlm run",
        )
    if state.device.type == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    current = Stage(
        run=run,
        config=config,
        registry=registry.load(),
        index=index,
        task_names=tuple(resolved["task_names"]),
        data_roots={name: Path(root) for name, root in resolved["data_roots"].items()},
        cache=ImageCache(),
        rank=state.process_index,
        world_size=state.num_processes,
        started_with=checks.started_with(resolved)[stage],
        stop=stop or Stop(),
        meter=meter.Meter(
            run.stage(index) / meter.FILE if state.is_main_process else None, memory=memory
        ),
        watch=RewardWatch(limit_s=config.timeout_s, rank=failures.who()),
    )
    with contextlib.closing(current.meter):
        if index == -1:
            checks.check(current)
            with opening.writer(source(config.model), config, registry=current.registry) as writer:
                evaluate.evaluate(current, Local(writer), name="base")
            return
        checks.check_once(current)
        steps = _stage(current, resume=resume)
        if current.is_main:
            files.write_json(
                current.folder / "done.json",
                {
                    "kind": config.stages[index].kind,
                    "steps": steps,
                    "seconds": round(time.monotonic() - started, 1),
                    "world_size": state.num_processes,
                    "images_opened": current.cache.opened,
                },
            )
    state.wait_for_everyone()


def _stage(stage: Stage, *, resume: bool) -> int:
    """Train or probe, with the evaluations that belong to it; returns the number of steps."""
    config, index = stage.config, stage.index
    start = vllm_stage.start_weights(stage.run, config=config, index=index)
    kind = config.stages[index].kind
    if kind == "probe":
        return probe.run(stage, start=start)
    trains_first = all(each.kind == "probe" for each in config.stages[:index])
    if trains_first and config.eval.base:
        with opening.writer(start, config, registry=stage.registry) as writer:
            evaluate.evaluate(stage, Local(writer), name="base")
        del writer
        load.free()
    finished = stage.folder / "model"
    steps = 0
    if not finished.is_dir():
        train = sft.train if kind == "sft" else grpo.train
        steps = train(stage, start=start, resume=resume)
        if sharded.is_sharded(stage):
            sharded.release()
        else:
            load.free()
    name = config.evaluation_name(index)
    if kind == "grpo" and stage.is_main:
        stage.run.write_across_tasks("signal", name, groups.measure(stage.folder))
    with opening.writer(str(finished), config, registry=stage.registry) as writer:
        evaluate.evaluate(stage, Local(writer), name=name)
    return steps
