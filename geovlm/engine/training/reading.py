"""Says which rows the stages of a run read, before any of them begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from geovlm.engine.models import load
from geovlm.engine.stage import Stage, numbers
from geovlm.engine.training import grpo, probe, sft


def rows_read(stages: Iterable[Stage], samples: Mapping[str, int]) -> dict[str, set[int]]:
    """Return task -> numbers of its training samples that a stage trains on or probes.

    Args:
        stages: stages as they will run, each with its processes.
        samples: task -> number of its training samples.
    """
    found: dict[str, set[int]] = {name: set() for name in samples}
    for stage in stages:
        settings, config = stage.settings, stage.config
        on_cpu = load.device(config) == "cpu"
        parts = {
            task.name: numbers(samples[task.name], settings.limit, seed=config.seed)
            for task in stage.tasks
        }
        if settings.kind == "sft":
            picks, _ = sft.plan(stage, parts, on_cpu=on_cpu)
        elif settings.kind == "probe":
            picks = probe.plan(stage, parts)
        elif any(each.kind == "probe" for each in config.stages[: stage.index]):
            continue  # its rows are among those of the probe
        else:
            picks, _ = grpo.plan(stage, parts, on_cpu=on_cpu)
        for name, number in picks:
            found[name].add(parts[name][number])
    return found
