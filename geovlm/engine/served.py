"""Evaluates a served model in this process, as `geovlm.engine.worker` evaluates a local one.

Arguments, exit status and last line are those of the worker. It loads no torch.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from geovlm.config import model as models
from geovlm.config.schema import RunConfig
from geovlm.engine import failures
from geovlm.engine.evaluation import evaluate
from geovlm.engine.evaluation.served import Served
from geovlm.engine.rows import precheck
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.stage import Stage
from geovlm.engine.stopping import RewardWatch, Stop, end_with_launcher
from geovlm.errors import GeoVLMError, RunFailedError, StoppedError
from geovlm.plugins import registry
from geovlm.run.folder import RunDir
from geovlm.run.status import meter


def main(argv: list[str] | None = None) -> int:
    """Evaluate; returns the exit status."""
    parser = argparse.ArgumentParser(prog="geovlm.engine.served")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--stage", choices=["eval"], required=True)
    parser.add_argument("--resume", action="store_true", help="answers are always kept")
    run = RunDir(parser.parse_args(argv).run)
    stop = Stop()
    stop.listen()
    end_with_launcher()
    try:
        work(run, stop=stop)
    except StoppedError as stopped:
        print(f"stopped: {stopped}", file=sys.stderr, flush=True)
    except GeoVLMError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except OSError as error:
        message = failures.explain(error, run, stage="eval")
        if message is None:
            raise
        print(message, file=sys.stderr, flush=True)
        return RunFailedError.exit_code
    finally:
        stop.close()
    return 0


def work(run: RunDir, *, stop: Stop | None = None) -> None:
    """Ask the endpoint, and score its answers.

    Raises:
        DataError: an image cannot be decoded.
        EndpointError: a request was not answered, or a limit of cost or tokens is reached; the
            answers so far are kept.
        StoppedError: on request; it can be resumed.
    """
    resolved = run.read_resolved()
    config = RunConfig.model_validate(resolved["config"])
    known = registry.load()
    facts = models.inspect(config, registry=known, served=True)
    name = models.served_name(config.model)
    assert name is not None
    assert facts.profile is not None
    stage = Stage(
        run=run,
        config=config,
        registry=known,
        index=-1,
        task_names=tuple(resolved["task_names"]),
        data_roots={name: Path(root) for name, root in resolved["data_roots"].items()},
        cache=ImageCache(),
        rank=0,
        world_size=1,
        stop=stop or Stop(),
        meter=meter.Meter(run.stage(-1) / meter.FILE),
        watch=RewardWatch(limit_s=config.timeout_s),
    )
    with contextlib.closing(stage.meter):
        for each in map(stage.task, stage.task_names):
            rows = stage.rows(
                each,
                split=config.eval_split(each.name),
                profile=facts.profile,
                limit=config.eval.limit,
            )
            precheck.audit_images(rows, cache=stage.cache)
        served = Served(model=name, profile=facts.profile, config=config)
        evaluate.evaluate(stage, served, name="base")


if __name__ == "__main__":
    sys.exit(main())
