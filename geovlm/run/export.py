"""Chooses the model to export, checks the disk, and compares the exported folder with the run.

```text
job.json     weights, dtype, and the samples to compare on
model/       the exported folder, until it has been loaded again
asks.json    the same samples for a program without GeoVLM: prompts and image files
own.json     answers of the model of the stage
stock.json   answers of the exported folder, loaded without GeoVLM
stderr.txt   output of the two processes
```
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.config import control_tokens
from geovlm.errors import ConfigError, RunFailedError
from geovlm.run import files
from geovlm.run.folder import RunDir

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig

BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of one weight."""
MARGIN_BYTES = 64 << 20
"""Space for tokenizer, images and other files next to the weights."""
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Chosen:
    """A finished stage."""

    index: int
    name: str
    """Name under which its model was scored: `sft`, `grpo`, `sft-2`."""
    model: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A held-out sample with the prompt of the run; every field survives JSON."""

    task: str
    sample_id: str
    images: tuple[Any, ...]
    """References, encoded by `geovlm.raster.reference.encode`."""
    input_sizes: tuple[tuple[int, int], ...]
    """(width, height) of the images as the model sees them, pixels."""
    picture_sizes: tuple[tuple[int, int], ...]
    """(width, height) of the pictures that the processor gets, pixels."""
    question: str
    answered: str
    """Greedy completion in the evaluation of the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One export, as the engine reads it."""

    model: Path
    dtype: str | None
    """Type of the exported weights; `None`: that of the stage's weights."""
    trust_remote_code: bool
    max_new_tokens: int
    """Longest completion in tokens, as in the evaluation."""
    asked: tuple[Asked, ...]

    def write(self, folder: Path) -> None:
        """Write `job.json`."""
        files.write_json(folder / "job.json", {**asdict(self), "model": str(self.model)})

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Return the job that `write` wrote."""
        fields = files.read_json(folder / "job.json")
        asked = tuple(_asked(each, each["answered"]) for each in fields["asked"])
        return cls(**{**fields, "model": Path(fields["model"]), "asked": asked})


def choose(run: RunDir, config: RunConfig, *, name: str | None) -> Chosen:
    """Return the stage whose model is exported: the named one, or the last one that trains.

    Raises:
        ConfigError: the run trains nothing, has no such stage or has not finished it.
    """
    trained = {
        config.evaluation_name(index): index
        for index, stage in enumerate(config.stages)
        if stage.kind != "probe"
    }
    if not trained:
        raise ConfigError(
            f"{run.path} trained nothing: it has neither an sft nor a grpo stage",
            hint="give the folder of a 'geovlm run'",
        )
    if name is not None and name not in trained:
        raise ConfigError(
            f"{run.path} has no stage {name!r}", hint=f"--stage takes {' or '.join(trained)}"
        )
    done = [each for each, index in trained.items() if run.is_done(index)]
    wanted = name if name is not None else list(trained)[-1]
    index = trained[wanted]
    if wanted not in done:
        instead = f", --stage {done[-1]} exports a finished stage" if done else ""
        line = shlex.join(["geovlm", "run", "--resume", "--output", str(run.path)])
        raise ConfigError(
            f"{run.path} is not finished: stage {run.stage(index).name} has no done.json",
            hint=f"to finish it: {line}{instead}",
        )
    folder = run.stage(index) / "model"
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"{folder} is missing: was the model of the stage deleted?",
            hint=f"--stage takes {' or '.join(trained)}; or train the run again",
        )
    return Chosen(index, wanted, folder)


def asked(run: RunDir, stage: str, *, task_names: Sequence[str], most: int) -> tuple[Asked, ...]:
    """Return held-out samples of the evaluation, from the tasks in turn, at least one of each.

    Raises:
        ConfigError: the answers after this stage are missing.
    """
    per_task: list[list[Asked]] = []
    for task in task_names:
        path = run.eval_file(task, stage)
        if not path.is_file():
            raise ConfigError(
                f"{path} is missing: the exported model is compared on these samples",
                hint="were the answers of the run deleted?",
            )
        with path.open(encoding="utf-8") as lines:
            records = [json.loads(line) for line, _ in zip(lines, range(most), strict=False)]
        per_task.append([_asked(record, record["completion"]) for record in records])
    in_turn = [each for each in chain.from_iterable(zip_longest(*per_task)) if each is not None]
    return tuple(in_turn[: max(most, len(task_names))])


def _asked(record: Mapping[str, Any], answered: str) -> Asked:
    return Asked(
        task=record["task"],
        sample_id=record["sample_id"],
        images=tuple(record["images"]),
        input_sizes=tuple((width, height) for width, height in record["input_sizes"]),
        picture_sizes=tuple(
            (width, height)
            for width, height in record.get("picture_sizes") or record["input_sizes"]
        ),
        question=record["question"],
        answered=answered,
    )


def check_target(out: Path) -> None:
    """Refuse a target that is a file or a folder with content."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not an empty folder", hint="give another --out")


def weight_bytes(model: Path, *, parameters: int | None, dtype: str | None) -> int:
    """Return the bytes of the exported weights; without `dtype` in the type of `config.json`.

    `parameters` is `None` if the weights are not in safetensors files.
    """
    stored = files.read_json(model / "config.json").get("dtype") or "float32"
    if parameters is None:
        return sum(path.stat().st_size for path in model.iterdir() if path.is_file())
    return parameters * BYTES.get(dtype or stored, 4)


def check_space(out: Path, *, needed: int) -> None:
    """Refuse a disk that is too full; the target need not exist.

    Raises:
        ConfigError: less than `needed` and a margin is free.
    """
    place = next(parent for parent in (out, *out.parents) if parent.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed + MARGIN_BYTES:
        raise ConfigError(
            f"{place} has {free / 1e9:.2f} GB free, the export takes "
            f"{(needed + MARGIN_BYTES) / 1e9:.2f} GB",
            hint="give an --out on another disk, or --dtype bfloat16",
        )


def compare(job: Job, own: Mapping[str, Any], stock: Mapping[str, Any]) -> None:
    """Refuse an export whose prompts (token ids) or answers differ from those of the stage's model.

    Raises:
        RunFailedError: they differ; names the first such sample.
    """
    unescape = control_tokens.of_folder(job.model).unescape
    stock = {**stock, "answers": [unescape(text) for text in stock["answers"]]}
    for what in ("prompts", "answers"):
        differing = [
            i for i, (a, b) in enumerate(zip(own[what], stock[what], strict=True)) if a != b
        ]
        if not differing:
            continue
        first = differing[0]
        where = job.asked[first]
        said = (repr(str(side[what][first])[:_SHOWN]) for side in (own, stock))
        raise RunFailedError(
            f"{len(differing)} of {len(job.asked)} {what} differ after reloading, first "
            f"{where.task} {where.sample_id!r}: {' became '.join(said)}",
            hint="the folder was not exported; this is a bug worth reporting",
        )
