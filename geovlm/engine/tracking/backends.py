"""The trackers: each is opened, fed and closed in the same way.

Read in trackio 0.43, wandb 0.31, tensorboard 2.21 with torch 2.13, and mlflow 3.17. None is told
anything that it cannot find out again: what a tracker must know on `--resume`, its run's id, is in
the `memory` that the caller keeps.
"""

from __future__ import annotations

import os
import re
import time
import uuid
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from geovlm.engine.tracking.about import About
from geovlm.engine.tracking.samples import Picture

End = Literal["done", "failed", "stopped"]
Memory = dict[str, str]
_LOST = re.compile("could not be persisted|may be dropped|could be lost")
"""Words of trackio about values that it has not written anywhere."""
_TOTAL = re.compile(r"[^/]+/reward")


class TrackerError(Exception):
    """The tracker has lost what it was given; it is to be opened again and given it again."""


class Backend(ABC):
    """One tracked run."""

    @abstractmethod
    def open(self, about: About, memory: Memory) -> str:
        """Begin the tracked run, or go on with that of `memory`; return where to look at it."""

    @abstractmethod
    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Log the values of one step of the run."""

    @abstractmethod
    def show(self, pictures: Sequence[Picture], *, step: int) -> None:
        """Log samples."""

    def flush(self) -> None:  # noqa: B027  # most trackers write at once
        """Wait until everything is written.

        Raises:
            TrackerError: something was lost.
        """

    @abstractmethod
    def close(self, end: End) -> None:
        """End the tracked run, so that it can go on later."""


class Trackio(Backend):
    """A local database, or the Space or server that its environment variables name."""

    def __init__(self) -> None:
        self._lost: list[str] = []

    def open(self, about: About, memory: Memory) -> str:
        """Begin or go on; a name that another run of the project has gets a number."""
        import trackio

        # trackio never raises: it warns, and goes on without what it could not write
        warnings.simplefilter("always")
        warnings.showwarning = self._note  # type: ignore[assignment]
        if "name" not in memory:
            memory["name"] = _free(about.name, taken=self._taken(about.project))
        self._run = trackio.init(
            project=about.project,
            name=memory["name"],
            group=about.group,
            config=about.facts,
            resume="allow",
            embed=False,
        )
        where = os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL")
        show = f"trackio show --project {about.project}"
        return f"project {about.project}, run {memory['name']}: {where or show}"

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Hand the values to trackio's thread."""
        self._run.log(dict(values), step=step)

    def show(self, pictures: Sequence[Picture], *, step: int) -> None:
        """Log one image per key, since trackio 0.43 shows no lists of images."""
        import trackio

        for each in pictures:
            image = trackio.Image(each.image, caption=each.caption)
            self._run.log({f"samples/{each.name}": image}, step=step)

    def flush(self) -> None:
        """Wait for the thread, which writes twice a second."""
        time.sleep(1.0)
        self._refuse_lost()

    def close(self, end: End) -> None:
        """Write the rest."""
        self._run.finish()
        self._refuse_lost()

    def _refuse_lost(self) -> None:
        if self._lost:
            raise TrackerError(self._lost.pop())

    def _note(self, message: object, category: type[Warning], *place: object) -> None:
        text = str(message)
        print(text, flush=True)
        if _LOST.search(text):
            self._lost.append(text)

    @staticmethod
    def _taken(project: str) -> set[str]:
        import trackio

        try:
            return {each.name for each in trackio.Api().runs(project)}
        except ValueError:  # there is no such project yet
            return set()


class Wandb(Backend):
    """Weights & Biases, online or with WANDB_MODE=offline; its folder is in the run folder."""

    def open(self, about: About, memory: Memory) -> str:
        """Begin or go on with the run of the same id."""
        import wandb

        memory.setdefault("id", uuid.uuid4().hex[:12])
        self._run = wandb.init(
            project=about.project,
            name=about.name,
            id=memory["id"],
            resume="allow",
            group=about.group,
            dir=os.environ.get("WANDB_DIR") or str(about.folder),
            config=about.facts,
            settings=wandb.Settings(
                # the process that sends is not the one that trains
                console="off",
                disable_git=True,
                disable_code=True,
                x_save_requirements=False,
                init_timeout=60,
            ),
        )
        self._run.define_metric("*", step_metric="step")
        if self._run.offline:
            return f"offline, to send it later: wandb sync {self._run.settings.sync_dir}"
        return str(self._run.url)

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Add the values to the row of this step.

        wandb ignores rows below its own step, which after a resume is above ours; the axis of all
        charts is therefore our own value `step`.
        """
        self._log(dict(values), step)

    def show(self, pictures: Sequence[Picture], *, step: int) -> None:
        """Log all images under one key."""
        import wandb

        images = [wandb.Image(each.image, caption=each.caption) for each in pictures]
        self._log({"samples": images}, step)

    def _log(self, values: dict[str, Any], step: int) -> None:
        self._run.log({**values, "step": step}, step=max(step, self._run.step))

    def close(self, end: End) -> None:
        """End the run with a status, and wait for the upload."""
        if end == "stopped":
            self._run.mark_preempting()
        self._run.finish(exit_code=0 if end == "done" else 1)


class Tensorboard(Backend):
    """Event files in the folder `tensorboard` of the run."""

    def open(self, about: About, memory: Memory) -> str:
        """Begin a file of events; on a resumed run a further one in the same folder."""
        import json

        from torch.utils.tensorboard import SummaryWriter

        folder = about.folder / "tensorboard"
        self._writer = SummaryWriter(str(folder))
        if "described" not in memory:
            text = json.dumps(about.facts, indent=1, sort_keys=True)  # noqa: TID251  # no file
            self._writer.add_text("configuration", _as_code(text), 0)
            memory["described"] = "yes"
        return f"in {folder}: tensorboard --logdir {about.folder}"

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Write one event per value."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def show(self, pictures: Sequence[Picture], *, step: int) -> None:
        """Write one image and one text per sample."""
        import numpy as np

        for each in pictures:
            pixels = np.asarray(each.image)
            self._writer.add_image(f"samples/{each.name}", pixels, step, dataformats="HWC")
            self._writer.add_text(f"samples/{each.name}", _as_code(each.caption), step)

    def flush(self) -> None:
        """Write events to the disk."""
        self._writer.flush()

    def close(self, end: End) -> None:
        """Close the file."""
        self._writer.close()


class Mlflow(Backend):
    """The server or store of MLFLOW_TRACKING_URI, else mlflow's own default."""

    def open(self, about: About, memory: Memory) -> str:
        """Begin or go on with the run of the same id."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        found = self._client.get_experiment_by_name(about.project)
        number = found.experiment_id if found else self._client.create_experiment(about.project)
        if "id" in memory:
            self._client.update_run(memory["id"], status="RUNNING")
        else:
            tags = {"group": about.group}
            run = self._client.create_run(number, run_name=about.name, tags=tags)
            memory["id"] = run.info.run_id
        self._id = memory["id"]
        if "described" not in memory:
            flat = [Param(name, text) for name, text in _flat(about.facts) if len(text) <= 500]
            for i in range(0, len(flat), 100):  # mlflow takes 100 at once
                self._client.log_batch(self._id, params=flat[i : i + 100])
            self._client.log_dict(self._id, about.facts, "configuration.json")
            memory["described"] = "yes"
        return f"experiment {about.project}, run {about.name}: {self._client.tracking_uri}"

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Log the values in batches.

        A file store keeps a metric as a file, so `grpo/reward` becomes `grpo/reward/all`: the
        folder `grpo/reward` holds the tasks.
        """
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(f"{name}/all" if _TOTAL.fullmatch(name) else name, value, now, step)
            for name, value in values.items()
        ]
        for i in range(0, len(metrics), 500):
            self._client.log_batch(self._id, metrics=metrics[i : i + 500])

    def show(self, pictures: Sequence[Picture], *, step: int) -> None:
        """Log images and captions as artifacts."""
        for each in pictures:
            self._client.log_image(self._id, each.image, f"samples/{each.name}.png")
            self._client.log_text(self._id, each.caption, f"samples/{each.name}.txt")

    def close(self, end: End) -> None:
        """Set the status of the run."""
        status = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}[end]
        self._client.set_terminated(self._id, status=status)


BACKENDS: Mapping[str, type[Backend]] = {
    "trackio": Trackio,
    "wandb": Wandb,
    "tensorboard": Tensorboard,
    "mlflow": Mlflow,
}


def _free(name: str, *, taken: set[str]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each value in tables."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(each, f"{path}/{key}" if path else str(key))
    elif value not in (None, "", []):
        yield path, str(value)


def _as_code(text: str) -> str:
    """Return a text as a block of Markdown, which shows hostile text as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def folder(run: Path) -> Path:
    """Return the folder of a run's trackers: their positions and outputs."""
    return run / "tracking"
