"""Chooses the prompts of the controls: blind baselines, orders of choices, pairs of images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from geovlm.config.schema import EvalConfig
from geovlm.engine.evaluation import blind, orders, pairs
from geovlm.engine.generation.answering import PromptSet
from geovlm.engine.rows.rows import Row
from geovlm.engine.stage import drawn


def prompt_sets(
    rows: Mapping[str, Sequence[Row]],
    *,
    bitemporal: Collection[str] = (),
    permuted: Sequence[Row] = (),
    settings: EvalConfig,
    last: bool,
    seed: int,
) -> list[PromptSet]:
    """Return the prompts that the model answers in addition to those of the tasks.

    The two images of `bitemporal` tasks show one place before and after. `permuted` are the rows of
    multiple choice with their choices in another order, see `orders.permuted`.
    """
    made = []
    chosen = {task: drawn(many, settings.control_limit, seed=seed) for task, many in rows.items()}
    everything = [row for many in chosen.values() for row in many]
    if asks_the_model(settings, last=last):
        mixed: list[Row] = []
        for task, many in chosen.items():
            mixed += blind.shuffled(many, pool=rows[task], seed=seed) or []
        made += [
            PromptSet(name="text_only", rows=blind.text_only(everything)),
            PromptSet(name="shuffled", rows=mixed),
        ]
        if permuted:
            made.append(PromptSet(name=orders.PROBE, rows=permuted))
    if settings.probes and last:
        twos = [row for row in everything if row.task in bitemporal and len(row.images) == 2]
        made += [
            PromptSet(name=probe, rows=pairs.altered(twos, probe, seed=seed))
            for probe in pairs.PROBES
        ]
    return made


def asks_the_model(settings: EvalConfig, *, last: bool) -> bool:
    """Return True if the model answers blind baselines and other orders of choices."""
    return settings.blind == "all" or (settings.blind == "last" and last)
