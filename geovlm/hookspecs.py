"""Declares the hooks of GeoVLM, in the order in which a run meets them.

A plugin is a module named by an entry point of group `geovlm`; it implements any of these with
`@geovlm.hookimpl`. Implementations may take fewer arguments than the specification, never others.
Hooks return frozen dataclasses of `geovlm.api`; none receives a mutable trainer, config or model.
Names begin with the plugin's entry-point name (`floods`, `floods/map`); bare names belong to the
core.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import typer
    from transformers import TrainerCallback

    from geovlm.api import (
        DatasetSpec,
        MetricSpec,
        ModelProfile,
        RewardSpec,
        StageInfo,
        TaskSetSpec,
        TaskSpec,
    )

hookspec = pluggy.HookspecMarker("geovlm")


# -- declarations: called once per process, before any data is touched ----------------------------


@hookspec
def geovlm_datasets() -> Iterable[DatasetSpec]:
    """Data sets that this plugin can read.

    Called once per process. A wrong type, a name without the plugin's prefix or an exception makes
    the plugin broken: a row in `geovlm plugins list`, never a crash.

    Example::

        @hookimpl
        def geovlm_datasets():
            yield DatasetSpec(
                name="floods",
                summary="256 px tiles, one folder per class.",
                splits=("train", "val", "test"),
                load="geovlm_floods.data:load",
                make_sample="geovlm_floods.data:make_sample",
                folders=("floods",),
                licence="CC-BY-4.0",
                homepage="https://example.org/floods",
                citation="Doe et al. 2026",
            )

    Returns:
        The specs, in the order in which they are listed.
    """
    raise AssertionError("a specification is never called")


@hookspec
def geovlm_tasks() -> Iterable[TaskSpec]:
    """Tasks: a question over a data set, with two sets of rewards and with metrics.

    The names of data set, rewards and metrics may point into other plugins; a task whose names do
    not resolve is listed as unusable, with the reason.

    Example::

        @hookimpl
        def geovlm_tasks():
            yield TaskSpec(
                name="floods",
                summary="Is the tile flooded?",
                dataset="floods",
                prompt="geovlm_floods.data:prompt",
                rewards={"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}},
                metrics=("accuracy",),
                primary_metric="accuracy",
            )

    Returns:
        The specs, in the order in which they are listed.
    """
    raise AssertionError("a specification is never called")


@hookspec
def geovlm_rewards() -> Iterable[RewardSpec]:
    """Rewards: one number per completion.

    A reward never raises on model text: text that cannot be parsed is worth 0. An exception or a
    value outside `[low, high]` ends the run, with an error that names reward, task and sample.

    Example::

        @hookimpl
        def geovlm_rewards():
            yield RewardSpec(
                name="floods/depth",
                summary="1 - |depth - true| / true, at least 0.",
                score="geovlm_floods.rewards:depth",
            )

    Returns:
        The specs.
    """
    raise AssertionError("a specification is never called")


@hookspec
def geovlm_metrics() -> Iterable[MetricSpec]:
    """Corpus metrics over all predictions of a task.

    Example::

        @hookimpl
        def geovlm_metrics():
            yield MetricSpec(
                name="floods/rmse",
                summary="Root mean square error of the depth, metres.",
                compute="geovlm_floods.rewards:rmse",
                higher_is_better=False,
            )

    Returns:
        The specs.
    """
    raise AssertionError("a specification is never called")


@hookspec
def geovlm_task_sets() -> Iterable[TaskSetSpec]:
    """Named sets of tasks: all benchmarks of a paper, for example.

    The tasks may be those of other plugins. `geovlm tasks list --set NAME` lists a set, and
    `--tasks NAME` chooses its tasks.

    Example::

        @hookimpl
        def geovlm_task_sets():
            yield TaskSetSpec(
                name="floods/exam",
                summary="The benchmarks of Doe et al. 2026.",
                entries="geovlm_floods.exam:entries",
            )

    Returns:
        The specs.
    """
    raise AssertionError("a specification is never called")


@hookspec(firstresult=True)
def geovlm_model_profile(model_type: str) -> ModelProfile | None:
    """The profile of a model family; the first result that is not `None` counts.

    The built-in profiles come last, so a plugin may override them. A plugin that raises or returns
    a wrong type is skipped, with a warning.

    Example::

        @hookimpl
        def geovlm_model_profile(model_type):
            if model_type == "earth_vl":
                return ModelProfile(
                    name="earth-vl", model_types=("earth_vl",), box_frame="norm1000"
                )

    Args:
        model_type: `model_type` of the checkpoint's `config.json`, such as `qwen2_5_vl`.

    Returns:
        The profile, or `None` if this plugin does not know the family.
    """
    raise AssertionError("a specification is never called")


# -- the command line -----------------------------------------------------------------------------


@hookspec
def geovlm_commands(app: typer.Typer) -> None:
    """Add sub-commands to `geovlm`.

    Called only for `geovlm --help` or when the first argument is not a core command, so that core
    commands never wait for a plugin. A plugin cannot replace a core command.

    Example::

        @hookimpl
        def geovlm_commands(app):
            @app.command("floods-download")
            def download(out: Path) -> None:
                ...

    Args:
        app: the application to register with, by `app.command` or `app.add_typer`.
    """
    raise AssertionError("a specification is never called")


# -- training -------------------------------------------------------------------------------------


@hookspec
def geovlm_callbacks(stage: StageInfo) -> Iterable[TrainerCallback]:
    """Trainer callbacks for one stage.

    Called on every rank; every rank must return the same callbacks. After an exception or a wrong
    type the run continues without the callbacks of this plugin, with a warning; it stops if the
    stage trains a task of this plugin.

    Example::

        @hookimpl
        def geovlm_callbacks(stage):
            from geovlm_floods.callbacks import Announce

            if stage.kind == "grpo":
                yield Announce(stage.output)

    Args:
        stage: number, kind, tasks and folder of the stage.

    Returns:
        The callbacks.
    """
    raise AssertionError("a specification is never called")
