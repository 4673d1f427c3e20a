"""`geovlm serve`: gives a model to other programs, by vLLM."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geovlm.cli import configuration, output
from geovlm.cli.options import SetOption
from geovlm.errors import ConfigError, RunFailedError

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.run.vllm.serving import Settings


def serve(
    model: Annotated[
        str,
        typer.Argument(
            help="Run folder (its last trained model), nano, a folder, or a name on the Hugging "
            "Face hub.",
            metavar="MODEL",
            show_default=False,
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address on which it listens; 0.0.0.0: for other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8000,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model there; default: that of the run or folder."),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="Stage of a run folder: sft, grpo, sft-2, …")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=1, help="Number of GPUs that share the model; default: 1.")
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(min=0.01, max=1.0, help="Share of a GPU's memory; default: 0.9."),
    ] = None,
    max_model_len: Annotated[
        int | None,
        typer.Option(min=1, help="Longest prompt with its answer; default: the model's context."),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Largest number of images of a prompt.")] = 2,
    timeout: Annotated[
        float, typer.Option(min=1.0, help="Seconds within which it must answer.")
    ] = 600.0,
    set_: SetOption = None,
) -> None:
    """Serve a model by vLLM, with the run's chat template, pixel limits and end tokens.

    Answers about one image are compared with those of transformers before the address is printed.
    The server ends with this command.
    """
    from geovlm.config.model import inspect
    from geovlm.plugins import registry
    from geovlm.run import adapters, devices
    from geovlm.run.vllm import answering, serving

    config = _configuration(model, stage=stage, overrides=set_ or [])
    answering.require_vllm("geovlm serve")
    serving.require_free(host, port)
    config = adapters.whole(config)
    inspect(config, registry=registry.load(), weights=True)
    device = devices.device(config)
    if device == "cpu" and gpus is not None:
        raise ConfigError("--gpus: there is no GPU here", hint="leave it out")
    config = config.model_copy(update={"device": device})
    settings = serving.Settings(
        name=name or _name(model),
        host=host,
        port=port,
        gpus=None if device == "cpu" else gpus or 1,
        memory=memory,
        max_model_len=max_model_len,
        images=images,
    )
    called, url = settings.name, settings.url
    with (
        _terminable(),
        _folder() as folder,
        _server(folder, config, settings, timeout_s=timeout) as alive,
    ):
        known, image = serving.Known.read(folder), folder / "image.png"
        difference = serving.check(url, called, known=known, image=image)
        output.say(
            "an answer about one image has the prompt of transformers, and log-probabilities "
            f"{difference:.1g} from its own per token"
        )
        print(f"model {called} at {url}/v1, until Ctrl-C")
        print(serving.curl(url, called, question=known.question, image=image))
        print(serving.evaluation(url, called, known=known))
        sys.stdout.flush()
        while True:
            alive()
            time.sleep(1)


@contextlib.contextmanager
def _server(
    folder: Path, config: RunConfig, settings: Settings, *, timeout_s: float
) -> Iterator[Callable[[], None]]:
    """Write the model's folder, start the server, and yield what raises if it has ended."""
    from geovlm.run import files, launch
    from geovlm.run.vllm import server, serving

    on_cpu = config.device == "cpu"
    files.write_json(folder / "config.json", config.model_dump(mode="json"))
    output.say("asking transformers about one image")
    launch.start("serving.folder", "--job", str(folder), folder=folder, on_cpu=on_cpu)
    argv = serving.command(
        folder / "model",
        settings,
        known=serving.Known.read(folder),
        trust_remote_code=config.trust_remote_code,
    )
    log, deadline = folder / "vllm.txt", time.monotonic() + timeout_s
    output.say(f"starting vLLM; its output is in {log}")

    def check() -> None:
        if time.monotonic() > deadline:
            raise RunFailedError(
                f"the vLLM server did not answer within {timeout_s:g} s",
                hint=f"its output is in {log}; --timeout sets a longer limit",
            )

    with server.serving(
        argv,
        variables=serving.environment(on_cpu=on_cpu),
        port=settings.port,
        log=log,
        timeout_s=float("inf"),
        check=check,
    ) as alive:
        yield alive


def _configuration(model: str, *, stage: str | None, overrides: list[str]) -> RunConfig:
    """Return the run's configuration with its trained model, or that of a model alone."""
    from geovlm.config.model import served_name
    from geovlm.config.schema import RunConfig
    from geovlm.run import export
    from geovlm.run.folder import RunDir

    directory = RunDir(Path(model).expanduser().absolute())
    if directory.resolved.is_file():
        stored = RunConfig.model_validate(directory.read_resolved()["config"])
        chosen = export.choose(directory, stored, name=stage)
        known = stored.model_copy(update={"model": str(chosen.model), "stages": []})
        return configuration.load(None, stored=known.model_dump(mode="json"), overrides=overrides)
    if stage is not None:
        raise ConfigError(f"--stage {stage!r}: {model!r} is no run folder")
    if served_name(model) is not None:
        raise ConfigError(f"model {model!r} is served already", hint="give a folder or a hub name")
    return configuration.load(None, overrides=overrides, model=model, stages=[])


def _name(model: str) -> str:
    """Return the name of a run or folder, of the run for `RUN/stages/N-KIND/model`."""
    path = Path(model).expanduser()
    if not path.is_dir():
        return model
    parts = path.absolute().parts
    return parts[-4] if parts[-1] == "model" and parts[-3:-2] == ("stages",) else parts[-1]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Yield a folder that is removed at the end; after a failure, its logs stay."""
    path = Path(tempfile.mkdtemp(prefix="geovlm-serve-"))
    try:
        yield path
    except RunFailedError:
        shutil.rmtree(path / "model", ignore_errors=True)
        raise
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, the server first."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
