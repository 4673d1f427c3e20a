"""Refuses a served model that cannot be evaluated, before and after its data are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geovlm.api import ModelProfile, Sample, TaskSpec
from geovlm.config.model import SERVED, served_name
from geovlm.config.tasks import configured, instruction_of
from geovlm.data.prompts import Prompter
from geovlm.errors import ConfigError
from geovlm.run.served import client, probe

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig


def check(config: RunConfig, *, elsewhere: bool) -> None:
    """Refuse settings that do not go together; nothing is sent.

    Raises:
        ConfigError: a model `openai:NAME` without an address, with stages or several processes, or,
            unless it runs `elsewhere`, without the key that was named; an address without such a
            model.
    """
    name, settings = served_name(config.model), config.served
    if name is None:
        if settings.base_url is not None:
            raise ConfigError(
                f"an endpoint is given, and model {config.model!r} is not served",
                hint=f"--model {SERVED}NAME, with its name there; or leave the endpoint out",
            )
        return
    if not name.strip():
        raise ConfigError(f"model {config.model!r} has no name", hint=f"such as {SERVED}gpt-4o")
    if config.stages:
        raise ConfigError(
            f"model {config.model!r} is served: it can be evaluated, not trained",
            hint="use geovlm eval, or give a folder or a name on the hub",
        )
    if settings.base_url is None:
        raise ConfigError(
            f"model {config.model!r} needs the address of its endpoint",
            hint="--base-url URL, such as http://localhost:8000/v1",
        )
    if config.world_size(-1) > 1:
        raise ConfigError(
            f"model {config.model!r} is served: one process sends the requests",
            hint="leave out processes, gpus and machines; served.concurrency is the number of "
            "requests at a time",
        )
    if not elsewhere:
        client.key_of(settings)


def ask(config: RunConfig, task: TaskSpec, sample: Sample, *, profile: ModelProfile) -> None:
    """Ask the endpoint a task's question about one sample.

    Raises:
        EndpointError: it does not answer, or takes no images.
        ConfigError: it shrinks images, see `geovlm.run.served.probe`.
    """
    task = configured(task, config, profile=profile)
    prompter = Prompter(task, profile=profile, options=config.task_options(task))
    prompt = prompter.prompt(sample)
    probe.check(config, prompt, profile=profile, instruction=instruction_of(task, config))
