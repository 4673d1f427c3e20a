"""Refuses runs that cannot work: one ordered list, which everything that plans a run goes through.

`geovlm run`, its `--dry-run` and `--resume`, `geovlm eval` and `geovlm plan` all call `run`. A
check raises, or leaves in the `Context` what later checks and the plan read.

Three kinds of refusals stand elsewhere. Options that contradict each other are refused by the
command line, before there is a configuration. A run folder that is taken, cannot be written or was
started otherwise is refused by `geovlm.run`: a dry run writes nothing. What needs every row or
every image is refused by the first stage before it trains, in `geovlm.engine.checks`: rows longer
than the model's context, images that cannot be decoded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from geovlm.api import TaskSpec
from geovlm.config import extras, trackers
from geovlm.config import model as models
from geovlm.config.model import ModelFacts
from geovlm.config.options import near
from geovlm.errors import ConfigError, DataError, DatasetNotFoundError, GeoVLMError
from geovlm.plan import leaks, needs, sizes
from geovlm.plan.data import EmptySplitError, Reader, TaskPlan
from geovlm.plan.trials import preflight, process, trainers
from geovlm.plugins.registry import Registry
from geovlm.rewards import options
from geovlm.run import imports, parallel
from geovlm.run.served import checks as served
from geovlm.run.tracking import processes as tracking
from geovlm.run.vllm import answering, fitness, server

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.run.folder import RunDir


@dataclass(kw_only=True)
class Context:
    """The run, and the facts that the checks find out about it."""

    config: RunConfig
    """The run, with its device resolved."""
    registry: Registry
    begun: RunDir | None = None
    """The run that is resumed."""
    elsewhere: bool = False
    """True if the run starts later or on another machine: its servers need not answer yet."""
    few: bool = False
    """True if a few real records are enough, see `geovlm.plan.data.Reader`."""
    specs: list[TaskSpec] = field(default_factory=list)
    """Chosen tasks."""
    model: ModelFacts = field(init=False)
    reader: Reader = field(init=False)
    tasks: list[TaskPlan] = field(default_factory=list)
    """Tasks of the run: the chosen ones that have data."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Task of a prefix or set that has no data, or that no plugin provides -> reason."""

    @property
    def names(self) -> list[str]:
        """The names of the run's tasks."""
        return [task.name for task in self.tasks]


class Check(NamedTuple):
    """One refusal."""

    name: str
    run: Callable[[Context], None]
    """Raises a `GeoVLMError` that names what is wrong and how to fix it."""
    refuses: str
    """The refused runs, in one sentence."""


def run(context: Context) -> None:
    """Run all checks, in order; the first one that refuses the run raises its `GeoVLMError`."""
    before_data(context)
    from_data(context)


def before_data(context: Context) -> None:
    """Run the checks that take a moment: all up to that of the data."""
    for check in itertools.takewhile(lambda check: check.run is not _data, CHECKS):
        check.run(context)


def from_data(context: Context) -> None:
    """Run the other checks, which generate and read data and try the stages."""
    for check in itertools.dropwhile(lambda check: check.run is not _data, CHECKS):
        check.run(context)


def read(context: Context, *, leave_out: bool = False) -> None:
    """Go through the checks that find model, tasks and samples, and through no others.

    Without tasks there are no samples. With `leave_out`, a task whose samples the model cannot be
    asked is left out, with its reason.

    Raises:
        GeoVLMError: there is no such model or task, or, without `leave_out`, no sample.
    """
    if context.config.tasks:
        _tasks(context)
    check_data_names(context.config, registry=context.registry)
    _model(context)
    _data(context, leave_out=leave_out)


def check_data_names(config: RunConfig, *, registry: Registry) -> None:
    """Refuse `--data NAME=DIR` of a name that is neither a data set nor a prefix of one.

    Raises:
        ConfigError: such a name; suggests a similar one.
    """
    known = {name for full in registry.datasets for name in (full, full.partition("/")[0])}
    for name in config.data:
        if name not in known:
            hint = near(name, known) or f"known are {', '.join(sorted(known))}"
            raise ConfigError(f"data.{name}: no data set of this name", hint=hint)


def _tasks(context: Context) -> None:
    if not context.config.tasks:
        raise ConfigError("no tasks are given", hint="--tasks a,b; see 'geovlm tasks list'")
    names = list(context.config.tasks)
    chosen = context.registry.select(names)
    context.left_out |= context.registry.absent(names)
    context.specs = list({each.spec.name: each.spec for each in chosen}.values())


def _endpoint(context: Context) -> None:
    profile = context.model.profile
    if context.model.served and profile is not None and not context.elsewhere:
        task = context.registry.task(context.tasks[0].name)
        sample = context.reader.chosen[task.name]
        served.ask(context.config, task, sample, profile=profile)


def _model(context: Context, *, served: bool = False) -> None:
    facts = models.inspect(
        context.config, registry=context.registry, weights=not context.elsewhere, served=served
    )
    context.model = sizes.bound(facts, context.config)


def _data(context: Context, *, leave_out: bool = False) -> None:
    config = context.config
    forgiven = (GeoVLMError,) if leave_out else (EmptySplitError, DatasetNotFoundError)
    counter = models.token_counter(context.model)
    # what both splits share is found among all of their records only
    few = context.few and config.deduplicate == "off"
    context.reader = Reader(config, context.registry, context.model, counter, few=few)
    if config.deduplicate != "off":
        context.reader.left_out = leaks.left_out(context.reader, context.specs)
    for spec in context.specs:
        try:
            context.tasks.append(context.reader.plan(spec))
        except forgiven as error:
            if spec.name in config.tasks and not leave_out:
                raise
            context.left_out[spec.name] = str(error)


def _prefixes(context: Context) -> None:
    for name in context.config.tasks:
        gone = context.registry.absent([name])
        chosen = {each.spec.name for each in context.registry.select(name)} | gone.keys()
        if not chosen & set(context.names):
            reasons = {why for task, why in context.left_out.items() if task in chosen}
            raise DataError(f"no task of {name!r} has data: {'; '.join(sorted(reasons))}")


def _stage_tasks(context: Context) -> None:
    config = context.config
    for index in range(len(config.stages)):
        known = [*context.names, *context.left_out]
        named = config.tasks_of(index, known, strict=True)
        if not named:
            raise ConfigError(
                f"stages.{index}.weights names none of the run's tasks: {', '.join(known)}",
                hint="add one of them, or leave out the weights",
            )
        if not config.tasks_of(index, context.names):
            reasons = sorted({context.left_out[name] for name in named})
            raise DataError(f"no task of stages.{index} has data: {'; '.join(reasons)}")


def _mixing(context: Context) -> None:
    # A group holds one prompt, hence one task. A batch holds all tasks: its standard deviation
    # would let the task with the widest rewards shrink the others' advantages.
    mixing = {"scale_rewards": "batch", "multi_objective_aggregation": "normalize_then_sum"}
    for index, stage in enumerate(context.config.stages):
        tasks = context.config.tasks_of(index, context.names)
        if stage.kind != "grpo" or len(tasks) < 2:
            continue
        for key, value in mixing.items():
            if stage.trainer.get(key) == value:
                raise ConfigError(
                    f"stages.{index}.trainer.{key}={value!r} mixes the rewards of different tasks, "
                    f"and this stage has {len(tasks)}",
                    hint="leave it out, or give each task a stage of its own",
                )


def _unprobed(context: Context) -> None:
    config = context.config
    probe: int | None = None
    for index, stage in enumerate(config.stages):
        if stage.kind == "probe":
            probe = index
        if stage.kind != "grpo" or probe is None:
            continue
        probed = config.tasks_of(probe, context.names)
        for task in config.tasks_of(index, context.names):
            if task not in probed:
                raise ConfigError(
                    f"stages.{index} trains {task!r}, and the probe before it, stages.{probe}, "
                    "leaves it out",
                    hint=f"name the same tasks in stages.{probe}.tasks and stages.{index}.tasks",
                )


def _trials(context: Context) -> None:
    config, reader = context.config, context.reader
    shaped = config
    if context.model.shipped:  # the hub is not asked for what ships with the package
        shaped = config.model_copy(update={"model": str(context.model.folder)})
    tried = [
        preflight.trial(config, model=context.model, samples=reader.chosen, plans=context.tasks),
        trainers.trial(
            shaped,
            task_names=context.names,
            elsewhere=context.elsewhere,
            begun=context.begun,
        ),
    ]
    on_cpu = config.device == "cpu" or context.elsewhere
    process.check([each for each in tried if each is not None], on_cpu=on_cpu)


CHECKS: tuple[Check, ...] = (
    Check("tasks", _tasks, "A run without tasks, or with unknown ones."),
    Check(
        "served model",
        lambda context: served.check(context.config, elsewhere=context.elsewhere),
        "A model `openai:NAME` without an address, with stages or several processes, or without "
        "the key that was named; an address without such a model.",
    ),
    Check(
        "parallel",
        lambda context: parallel.check(context.config),
        "A way to share the model that needs GPUs, DeepSpeed or other settings.",
    ),
    Check(
        "vllm",
        lambda context: server.check(context.config),
        "A GRPO stage whose vLLM is not installed, or serves neither a GPU nor the CPU.",
    ),
    Check(
        "answering",
        lambda context: answering.check(context.config, elsewhere=context.elsewhere),
        "Answers by vLLM in several processes, of a served model, or without vLLM.",
    ),
    Check(
        "data names",
        lambda context: check_data_names(context.config, registry=context.registry),
        "A folder given for a data set that no plugin has.",
    ),
    Check(
        "bitsandbytes",
        lambda context: extras.check(context.config),
        "4-bit weights or an 8-bit optimiser without bitsandbytes.",
    ),
    Check(
        "track",
        lambda context: (
            trackers.check_installed(context.config.track)
            if context.elsewhere
            else tracking.check(context.config)
        ),
        "A tracker of experiments that is not installed or, except for other machines, cannot be "
        "imported or has no login. Nothing is sent.",
    ),
    Check(
        "torchvision",
        lambda context: (
            None if models.served_name(context.config.model) else imports.require_torchvision()
        ),
        "An installed torchvision that does not fit torch: transformers imports it wherever it is "
        "installed. It is tried once for each torch and torchvision.",
    ),
    Check(
        "reward options",
        lambda context: options.validate(context.config.reward_options),
        "An unknown key or value of `[reward_options]`.",
    ),
    Check(
        "functions",
        lambda context: needs.check_functions(context.specs, registry=context.registry),
        "A reward or metric of a plugin that cannot be imported.",
    ),
    Check(
        "encoder",
        lambda context: (
            None if context.elsewhere else needs.check_encoder(context.config, context.specs)
        ),
        "A reward that embeds sentences without a sentence encoder on this machine; not "
        "checked for other machines.",
    ),
    Check(
        "model",
        lambda context: _model(context, served=True),
        "A model that does not exist, or of a family that no plugin knows.",
    ),
    Check(
        "space",
        lambda context: (
            None
            if context.elsewhere
            else needs.check_space(context.config, context.model, begun=context.begun)
        ),
        "A run folder that cannot be written, or on a disk without room for models and "
        "checkpoints; not checked by `geovlm plan` and `--launcher slurm`.",
    ),
    Check(
        "data",
        _data,
        "A task without samples, wrong options of it or its data set, images that cannot be read "
        "or are not of the declared size.",
    ),
    Check(
        "prefixes",
        _prefixes,
        "A prefix or a set of tasks of which no task has samples.",
    ),
    Check(
        "stage tasks",
        _stage_tasks,
        "A stage that names a task which the run does not have, or only tasks without data.",
    ),
    Check(
        "mixed rewards",
        _mixing,
        "A GRPO stage of several tasks that scales their rewards together.",
    ),
    Check(
        "unprobed tasks",
        _unprobed,
        "A GRPO stage that trains a task which the probe before it leaves out.",
    ),
    Check(
        "trials",
        _trials,
        "A model whose stages do not read one row of a task alike, without weights: prompts, "
        "tokens of images, sizes, the target and its end, boxes; `geovlm doctor --model` shows "
        "the row. A trainer of a stage that cannot be built or cannot take a step: an argument "
        "that TRL does not take, a missing package, batches that cannot be shared. Every stage is "
        "tried with the built-in model and one row.",
    ),
    Check(
        "vllm servers",
        lambda context: None if context.elsewhere else fitness.check_servers(context.config),
        "A vLLM server at `vllm.url` that does not answer or has other settings than TRL needs; a "
        "port that another program has, of a server that the run would start. Not checked by "
        "`geovlm plan` and `--launcher slurm`, which start nothing.",
    ),
    Check(
        "endpoint",
        _endpoint,
        "A served model that does not answer a question about one image of the first task.",
    ),
)
"""All checks, cheapest first; a check may read what those before it left in the context."""
