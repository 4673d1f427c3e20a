"""Builds the trainer of every stage with one row and takes a step, to find what would fail later.

`geovlm.engine.programs.trials` runs it. The model is the built-in one, so a step takes less than a
second; classes and arguments are those of the stages, but for sizes: few rows, short completions,
one step, nothing saved. `torch_compile` and vLLM are not tried.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import PrinterCallback, Trainer

from geovlm.config.model import NANO, source
from geovlm.config.schema import RunConfig
from geovlm.engine.models import adapters, load
from geovlm.engine.programs import doctor
from geovlm.engine.programs.shape import empty
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row, dataset
from geovlm.engine.rows.tokens import control_tokens
from geovlm.engine.stage import Stage
from geovlm.engine.training import arguments, grpo, sft
from geovlm.errors import ConfigError
from geovlm.plugins import registry
from geovlm.run import files
from geovlm.run.folder import RunDir

_TOKENS = 4
"""Longest completion of a trial."""
_OF_A_GPU = ("bf16", "fp16", "tf32", "bf16_full_eval", "fp16_full_eval")
_OF_A_MODEL = frozenset({"eos_token", "pad_token", "cast_lm_head_to_fp32", "router_aux_loss_coef"})
"""Arguments that the run's model may take and the built-in one may not."""
_NOT_TRIED: Mapping[str, Any] = {
    "save_strategy": "no",
    "push_to_hub": False,
    "torch_compile": False,
    "torch_compile_backend": None,
    "torch_compile_mode": None,
    "gradient_accumulation_steps": 1,
    "logging_steps": 1,
}
"""Arguments of a trial that differ from those of its stage."""
_NOT_TRIED_OF_GRPO: Mapping[str, Any] = {
    "max_completion_length": _TOKENS,
    "steps_per_generation": 1,
    "generation_batch_size": None,
    "num_iterations": 1,
    "log_completions": False,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """The stages to try."""

    config: Mapping[str, Any]
    """The configuration of the run; its device is `cpu` or `cuda`."""
    task_names: tuple[str, ...]
    stages: tuple[int, ...]
    """Positions of the stages that are not done."""
    started_with: Mapping[str, int]
    """Processes of each stage when the run was started."""
    elsewhere: bool
    """True if the run's GPUs are not on this machine."""


def problems(request: Request) -> Iterator[str]:
    """Yield one sentence for each stage whose trainer cannot be built or cannot take a step."""
    config = RunConfig.model_validate(request.config)
    cache = ImageCache()
    known = registry.load()
    with tempfile.TemporaryDirectory(prefix="geovlm-trial-") as scratch:
        run_dir = RunDir(Path(scratch))
        resolved = {"stage_folders": config.stage_folders(), "samples": {}}
        files.write_json(run_dir.resolved, resolved)
        rows = doctor.rows(run_dir.path, rank=0, number=1)
        for index in request.stages:
            stage = Stage(
                run=run_dir,
                config=config,
                registry=known,
                index=index,
                task_names=tuple(request.task_names),
                data_roots={},
                cache=cache,
                rank=0,
                world_size=config.world_size(index),
                started_with=request.started_with.get(str(index)),
            )
            problem = _problem(stage, rows, elsewhere=request.elsewhere)
            if problem is not None:
                yield problem


def _problem(stage: Stage, rows: list[Row], *, elsewhere: bool) -> str | None:
    """Return what is wrong with a stage, or `None`.

    The key of a failure is the one without which the stage would not fail.
    """
    table = f"stages.{stage.index}.trainer"
    given: dict[str, Any] = dict(stage.settings.trainer)
    try:
        arguments.check(stage.settings.kind, given, path=table)
        stage.spread(given)
        check_targets(stage.config, registry_=stage.registry)
        check_router_loss(stage.config, given, path=table)
    except ConfigError as error:
        return str(error)
    reason = failure(stage, rows, elsewhere=elsewhere)
    if reason is None:
        return None
    for key, value in reversed(given.items()):  # what a user adds to a preset comes last
        fewer = {name: each for name, each in given.items() if name != key}
        if failure(_with_trainer(stage, fewer), rows, elsewhere=elsewhere) is None:
            return f"{table}.{key}={value!r}: {reason}"
    if failure(_with_trainer(stage, {}), rows, elsewhere=elsewhere) is None:
        return f"{table}: {reason}"
    return f"stages.{stage.index}: {reason}"


def _with_trainer(stage: Stage, trainer: Mapping[str, Any]) -> Stage:
    stages = list(stage.config.stages)
    stages[stage.index] = stages[stage.index].model_copy(update={"trainer": dict(trainer)})
    config = stage.config.model_copy(update={"stages": stages})
    return dataclasses.replace(stage, config=config)


def check_targets(config: RunConfig, *, registry_: registry.Registry) -> None:
    """Refuse adapters that the run's model cannot have; its weights are not read.

    Raises:
        ConfigError: names the key.
    """
    if config.lora is None:
        return
    made = load.load_config(config)
    model = empty(made)
    adapter = adapters.of_run(config, registry_.profile(made.model_type), model=model)
    assert adapter is not None
    try:
        get_peft_model(model, adapter)
    except ValueError as error:
        if config.lora.targets is None:
            raise ConfigError(
                f"lora: no layer of the model gets an adapter: {_first_line(error)}",
                hint="name them with --set lora.targets=…",
            ) from error
        raise ConfigError(
            f"lora.targets={config.lora.targets!r}: {_first_line(error)}",
            hint="name linear layers, or fused experts",
        ) from error


def check_router_loss(config: RunConfig, trainer: Mapping[str, Any], *, path: str) -> None:
    """Refuse a loss of routers for a model that has none, or whose loss TRL 1.16 cannot compute.

    Raises:
        ConfigError: names the key.
    """
    coefficient = trainer.get("router_aux_loss_coef")
    if not coefficient:
        return
    text = load.load_config(config).get_text_config()
    if not hasattr(text, "output_router_logits") or not hasattr(text, "num_experts"):
        raise ConfigError(
            f"{path}.router_aux_loss_coef={coefficient!r}: the trainer cannot compute the loss of "
            f"routers of model type {text.model_type!r}",
            hint="leave it out",
        )


def failure(stage: Stage, rows: list[Row], *, elsewhere: bool) -> str | None:
    """Return why a stage's trainer fails, in the words of its library, or `None`.

    Libraries raise any exception for a wrong argument, so every one counts.
    """
    out = io.StringIO()
    logging.disable(logging.WARNING)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            without = load.device(stage.config) != "cpu" and (
                elsewhere or not torch.cuda.is_available()
            )
            possible = _without_gpu(stage) if without else stage
            _build_whole(possible)
            _step(_small(possible), rows)
    except Exception as error:  # of TRL, transformers or an optimiser: any
        return _first_line(error)
    finally:
        logging.disable(logging.NOTSET)
        load.free()
    return None


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    line = text.splitlines()[0].strip() if text else ""
    return line or type(error).__name__


def _without_gpu(stage: Stage) -> Stage:
    """Return a stage for GPUs as far as a machine without one can try it."""
    trainer = {k: v for k, v in stage.settings.trainer.items() if k not in _OF_A_GPU}
    lora = stage.config.lora
    if lora is not None:
        lora = lora.model_copy(update={"quantize": "none"})
    config = stage.config.model_copy(update={"device": "cpu", "lora": lora})
    return _with_trainer(dataclasses.replace(stage, config=config), trainer)


def _build_whole(stage: Stage) -> None:
    """Build the arguments of the stage as they are, one process standing for all."""
    trainer = stage.spread(dict(stage.settings.trainer))
    size = int(trainer.get("per_device_train_batch_size", 8)) * stage.world_size
    alone = dataclasses.replace(
        _with_trainer(stage, {**trainer, "per_device_train_batch_size": size}),
        world_size=1,
        started_with=None,
    )
    steps = max(1, stage.settings.steps or 1)
    _arguments(alone, max_steps=steps)


def _arguments(stage: Stage, *, max_steps: int) -> Any:
    build = sft.arguments if stage.settings.kind == "sft" else grpo.arguments
    return build(stage, max_steps=max_steps, on_cpu=load.device(stage.config) == "cpu")


def _step(small: Stage, rows: list[Row]) -> None:
    """Build the trainer of a stage with the built-in model and take a step.

    The callbacks of plugins are built, which may need packages, and do not take part.
    """
    config = small.config
    small.registry.callbacks(small.info())
    loaded = load.load(source(NANO), config, registry=small.registry, to_train=True)
    freeze = small.settings.freeze_vision
    if freeze:
        load.freeze_vision(loaded.model, loaded.profile)
    adapter = adapters.of_run(config, loaded.profile, model=loaded.model, freeze_vision=freeze)
    args = _arguments(small, max_steps=1)
    common = {"args": args, "adapter": adapter, "callbacks": []}
    supervised = small.settings.kind == "sft"
    data = dataset(
        rows,
        cache=small.cache,
        tokens=control_tokens(loaded.processor),
        chat=loaded.chat if supervised else None,
    )
    if supervised:
        trainer: Trainer = sft.trainer(loaded, rows=data, **common)
    else:
        loaded.model.config._name_or_path = source(NANO)
        trainer = grpo.trainer(small, loaded, reward_funcs=[_reward], rows=data, **common)
    trainer.remove_callback(PrinterCallback)
    load.skip_frozen_vision(loaded.model, loaded.profile)
    trainer.train()


def _small(stage: Stage) -> Stage:
    """Return the stage with the built-in model and as few rows as its arguments allow."""
    settings = stage.settings
    config = stage.config
    trainer = {**settings.trainer, **_NOT_TRIED}
    if config.model != NANO:
        trainer = {key: value for key, value in trainer.items() if key not in _OF_A_MODEL}
    update: dict[str, Any] = {"trainer": trainer}
    if settings.kind == "grpo":
        trainer |= _NOT_TRIED_OF_GRPO
        trainer["per_device_train_batch_size"] = int(trainer.get("num_generations", 8))
        trainer.pop("save_steps", None)
        update |= {"generation": "transformers"}
    else:
        trainer["per_device_train_batch_size"] = 1
    lora = config.lora
    changed: dict[str, Any] = {"model": NANO, "revision": None, "trust_remote_code": False}
    changed |= {"min_pixels": None, "max_pixels": None}
    if config.model != NANO:
        changed["chat_template_kwargs"] = {}
    if lora is not None and config.model != NANO:
        changed["lora"] = lora.model_copy(update={"targets": None})
    stages = list(config.stages)
    stages[stage.index] = settings.model_copy(update=update)
    small = config.model_copy(update={**changed, "stages": stages})
    return dataclasses.replace(stage, config=small, world_size=1, started_with=None)


def _reward(completions: list[Any], **_: Any) -> list[float]:
    """Return other rewards within each group, so that there is something to learn."""
    return [float(number % 2) for number in range(len(completions))]
