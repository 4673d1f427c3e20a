"""One stage of a run: its configuration, folder, tasks and rows, for SFT, probe and GRPO."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from geovlm.api import DatasetSpec, ModelProfile, Sample, Split, StageInfo, TaskSpec
from geovlm.config.schema import RunConfig
from geovlm.config.stages import TRL_DEFAULTS
from geovlm.config.tasks import configured, instruction_of, weights_of
from geovlm.data import loading, mixture, snapshots
from geovlm.data.leaks import LeftOut
from geovlm.data.prompts import Prompter
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Rows
from geovlm.engine.stopping import RewardWatch, Stop
from geovlm.errors import ConfigError, DataError
from geovlm.plugins.registry import Registry
from geovlm.run import resuming
from geovlm.run.folder import RunDir
from geovlm.run.status.meter import Meter

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Everything that a stage's process works with."""

    run: RunDir
    config: RunConfig
    registry: Registry
    index: int
    """Position in `config.stages`; -1 for an evaluation without training."""
    task_names: tuple[str, ...]
    """All tasks of the run."""
    data_roots: Mapping[str, Path]
    """Data set -> folder, as resolved at launch."""
    cache: ImageCache
    rank: int
    world_size: int
    started_with: int | None = None
    """Processes of this stage when the run was started; `None` if as many as today."""
    stop: Stop = field(default_factory=Stop, repr=False)
    """Holds the request that the run stops."""
    watch: RewardWatch | None = field(default=None, repr=False)
    """Ends a reward that does not return; `None` waits for ever."""
    meter: Meter = field(default_factory=Meter, repr=False)
    """Counts what the stage does, on the main process."""
    records: dict[tuple[str, Split], Sequence[Sample]] = field(default_factory=dict, repr=False)
    """Data set and split -> records, read once for all tasks on them."""

    @property
    def settings(self) -> Any:
        """The stage's table of the configuration."""
        return self.config.stages[self.index]

    @property
    def folder(self) -> Path:
        """Its folder under `stages/`."""
        return self.run.stage(self.index)

    @property
    def is_main(self) -> bool:
        """True on the process that writes."""
        return self.rank == 0

    @cached_property
    def tasks(self) -> list[TaskSpec]:
        """The tasks that this stage trains on: the run's, or those that it names."""
        return [self.task(name) for name in self.config.tasks_of(self.index, self.task_names)]

    def task(self, name: str) -> TaskSpec:
        """Return a task as the run's configuration has it."""
        return configured(self.registry.task(name), self.config)

    def info(self) -> StageInfo:
        """Return the facts about the stage that plugins receive."""
        return StageInfo(
            index=self.index,
            kind=self.settings.kind,
            tasks=tuple(task.name for task in self.tasks),
            output=self.folder,
            is_main_process=self.is_main,
        )

    def rows(
        self, task: TaskSpec, *, split: Split, profile: ModelProfile, limit: int | None = None
    ) -> Rows:
        """Return the task's rows of one split, at most `limit`, drawn with the run's seed.

        Each row is built when it is read, so a split may have any size. The training split is
        without what `deduplicate` leaves out.

        Raises:
            DataError: the split holds no sample of the task.
        """
        records = self._records(self.registry.dataset(task.dataset), split)
        if split == "train" and self.config.deduplicate != "off":
            records = LeftOut.read(self.run.deduplicated).keep(records)
        samples = loading.task_samples(task, records)
        resuming.check_samples(task.name, split, len(samples), before=self.run.read_resolved())
        if not samples:
            raise DataError(
                f"task {task.name!r} has no samples in split {split!r} of "
                f"{self.data_roots[task.dataset]}",
                hint="choose another split with --set eval.split=…, or leave the task out",
            )
        prompter = Prompter(
            configured(task, self.config, profile=profile),
            profile=profile,
            options=self.config.task_options(task),
        )
        chosen = drawn(samples, limit, seed=self.config.seed)
        instruction = instruction_of(task, self.config)
        return Rows(samples=chosen, prompter=prompter, instruction=instruction)

    def _records(self, spec: DatasetSpec, split: Split) -> Sequence[Sample]:
        """Return the records of a split, as the run was planned with them."""
        key = (spec.name, split)
        if key not in self.records:
            contents = self.run.read_checksum(*key) or ""
            kept: Sequence[Sample] | None = snapshots.read(
                self.run.records(*key), contents=contents
            )
            if kept is None:  # on another machine, or of windows and bands
                options = self.config.data_options(spec)
                root = self.data_roots[spec.name]
                loaded = loading.load_records(spec, root=root, split=split, options=options)
                kept = loaded.records
            self.records[key] = kept
        return self.records[key]

    def max_new_tokens(self, tasks: Sequence[TaskSpec]) -> int:
        """Return the longest completion that a batch of these tasks may have, tokens."""
        longest = max(task.max_answer_tokens for task in tasks)
        return min(longest, self.config.max_new_tokens or longest)

    def train_rows(self, profile: ModelProfile) -> dict[str, Rows]:
        """Return task -> the rows that this stage trains on, at most its `limit`."""
        given: dict[str, Any] = {"profile": profile, "limit": self.settings.limit}
        return {task.name: self.rows(task, split="train", **given) for task in self.tasks}

    def plan(self, parts: Mapping[str, Sized], *, n: int) -> list[tuple[str, int]]:
        """Return `n` (task, row number) pairs: the mixture of this stage."""
        sizes = {name: len(rows) for name, rows in parts.items()}
        weights = weights_of(self.config, sizes, stage=self.index)
        return mixture.plan(sizes, weights=weights, n=n, seed=self.config.seed + self.index)

    def trl_arguments(self, *, on_cpu: bool) -> dict[str, Any]:
        """Return the arguments that the engine sets for every trainer."""
        return {
            "output_dir": str(self.folder / "checkpoints"),
            "seed": self.config.seed,
            "remove_unused_columns": False,
            "report_to": "none",  # the run has trackers of its own: geovlm.engine.tracking
            "disable_tqdm": True,
            "use_cpu": on_cpu,
            "dataloader_pin_memory": not on_cpu,
            "save_strategy": "steps",
            # adapters do not train the routers that this loss balances, and TRL 1.16 cannot compute
            # it for GLM-4.5V
            "router_aux_loss_coef": 0.0,
            # GRPO loads its reference by name
            "trust_remote_code": self.config.trust_remote_code,
        }

    def spread(self, trainer: dict[str, Any]) -> dict[str, Any]:
        """Return the trainer's arguments with the batch that the run was started with.

        Raises:
            ConfigError: today's processes cannot share it evenly.
        """
        return spread(
            trainer,
            before=self.started_with or self.world_size,
            processes=self.world_size,
            where=f"stage {self.folder.name}",
        )


def drawn(items: Sequence[T], limit: int | None, *, seed: int) -> Sequence[T]:
    """Return at most `limit` items in their order: drawn, as VQA sets repeat their types."""
    if limit is None or limit >= len(items):
        return items
    return [items[number] for number in numbers(len(items), limit, seed=seed)]


def numbers(n: int, limit: int | None, *, seed: int) -> Sequence[int]:
    """Return the numbers of those of `n` items that `drawn` gives, in their order."""
    if limit is None or limit >= n:
        return range(n)
    return sorted(random.Random(seed).sample(range(n), limit))


def spread(
    trainer: dict[str, Any], *, before: int, processes: int, where: str = "the stage"
) -> dict[str, Any]:
    """Return arguments meant for `before` processes so that `processes` take as many rows in all.

    A run that is resumed with them keeps its steps, its learning rates and its place in the
    mixture. The batch of a process never grows, as memory may not allow it: accumulation makes up
    for it.

    Raises:
        ConfigError: the rows cannot be shared evenly.
    """
    if before == processes:
        return trainer
    keys = ("per_device_train_batch_size", "gradient_accumulation_steps")
    batch, accumulated = (int(trainer.get(key, TRL_DEFAULTS[key])) for key in keys)
    rows = batch * accumulated * before
    share = rows // processes
    if share * processes != rows:
        fit = ", ".join(str(n) for n in range(1, rows + 1) if rows % n == 0 and n <= 4 * before)
        raise ConfigError(
            f"{where} was started with {rows} rows per step, which {processes} processes cannot "
            "share evenly",
            hint=f"resume on so many processes: {fit}",
        )
    own = max(n for n in range(1, min(batch, share) + 1) if share % n == 0)
    changed: dict[str, Any] = {
        "per_device_train_batch_size": own,
        "gradient_accumulation_steps": share // own,
    }
    if trainer.get("steps_per_generation"):
        generated = batch * before * int(trainer["steps_per_generation"])
        if generated % (own * processes):
            raise ConfigError(
                f"{where} was started with {generated} rows per generation, which batches of "
                f"{own} on {processes} processes cannot share evenly",
                hint="resume on as many processes as before",
            )
        changed["steps_per_generation"] = generated // (own * processes)
    return {**trainer, **changed}
