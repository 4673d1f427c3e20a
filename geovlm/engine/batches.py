"""The rows of an optimiser step, kept when a run goes on with another number of processes.

Steps, learning rates and the place in the mixture then stay what they were.
"""

from __future__ import annotations

from typing import Any

from geovlm.errors import ConfigError

_DEFAULTS = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
"""Those of transformers' `TrainingArguments`."""


def spread(
    trainer: dict[str, Any], *, before: int, processes: int, where: str = "the stage"
) -> dict[str, Any]:
    """Return the trainer's arguments with which other processes take as many rows per step.

    Batches of a process never grow, as memory may not allow it; accumulation makes up for them.

    Args:
        trainer: arguments of `TrainingArguments`, meant for `before` processes.
        before: processes with which the run was started.
        processes: those of today.
        where: names the stage in errors.

    Raises:
        ConfigError: the rows cannot be shared evenly.
    """
    if before == processes:
        return trainer
    batch, accumulated = (int(trainer.get(key, value)) for key, value in _DEFAULTS.items())
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
