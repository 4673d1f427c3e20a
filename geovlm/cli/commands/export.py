"""`geovlm export`: exports a run's model as a standard Hugging Face folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geovlm.cli import output

if TYPE_CHECKING:
    from geovlm.run.export import Job


class Weights(StrEnum):
    """Types of weights, without float16, in which Qwen-VL overflows (transformers#33294)."""

    float32 = "float32"
    bfloat16 = "bfloat16"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    out: Annotated[Path, typer.Option(help="Folder to create.")],
    stage: Annotated[
        str | None,
        typer.Option(
            help="Stage to export: sft, grpo, sft-2, … Default: the last one that trains."
        ),
    ] = None,
    dtype: Annotated[
        Weights | None, typer.Option(help="Type of the weights; default: that of the training.")
    ] = None,
    compare: Annotated[
        int,
        typer.Option(
            min=1, help="Number of held-out samples to compare on; at least one per task."
        ),
    ] = 8,
    json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> None:
    """Export a run's model as a standard Hugging Face folder, with model card and merged LoRA.

    The folder is then loaded with transformers alone, in a process without GeoVLM, and must give
    the same greedy answers as the model of the run; otherwise the exit code is 1.
    """
    from geovlm.config import model
    from geovlm.config.schema import RunConfig
    from geovlm.plan import descriptions
    from geovlm.plugins import registry
    from geovlm.report import card as model_card
    from geovlm.report.card_text import CardFacts
    from geovlm.run import export as exports
    from geovlm.run import files
    from geovlm.run.folder import RunDir

    directory = RunDir(run.absolute())
    resolved = directory.read_resolved()
    descriptions.adopt(directory)
    config = RunConfig.model_validate(resolved["config"])
    chosen = exports.choose(directory, config, name=stage)
    target = out.absolute()
    exports.check_target(target)
    known = registry.load()
    exported = config.model_copy(update={"model": str(chosen.model)})
    facts = model.inspect(exported, registry=known, weights=True)
    names: list[str] = resolved["task_names"]
    metrics = directory.read_metrics()
    stages = [task["stages"] for task in metrics["tasks"].values()]
    scored = [each[chosen.name] for each in stages if chosen.name in each]
    job = exports.Job(
        model=chosen.model,
        dtype=dtype.value if dtype is not None else None,
        trust_remote_code=config.trust_remote_code,
        asked=exports.asked(directory, chosen.name, task_names=names, most=compare),
        max_new_tokens=max(int(each["decoding"]["max_new_tokens"]) for each in scored),
    )
    needed = exports.weight_bytes(chosen.model, parameters=facts.parameters, dtype=job.dtype)
    exports.check_space(target, needed=needed)
    with _folder(target) as scratch:
        job.write(scratch)
        own, stock = run_models(scratch, job)
        exports.compare(job, own, stock)
        card = CardFacts(
            name=target.name,
            stage=chosen.name,
            config=config,
            registry=known,
            task_names=names,
            generated=resolved["generated"],
            model=facts,
            dtype=own["dtype"],
            metrics=metrics,
            environment=files.read_json(directory.environment),
            stages=[
                files.read_json(directory.stage(index) / "done.json")
                for index in range(chosen.index + 1)
                if directory.is_done(index)
            ],
            question=job.asked[0].question,
            images=len(job.asked[0].images),
            compared=len(job.asked),
            classes=stock["classes"],
        )
        (scratch / "model" / "README.md").write_text(model_card.write(card), encoding="utf-8")
        if target.is_dir():
            target.rmdir()
        (scratch / "model").rename(target)
    summary = {
        "out": str(target),
        "stage": chosen.name,
        "dtype": own["dtype"],
        "bytes": sum(path.stat().st_size for path in target.iterdir()),
        "compared": len(job.asked),
        "as_scored": sum(
            one == asked.answered for one, asked in zip(own["answers"], job.asked, strict=True)
        ),
        "classes": stock["classes"],
    }
    _report(summary)
    if json:
        output.print_json(summary)
    else:
        print(out)


def run_models(scratch: Path, job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the folder; return the answers of the stage's model and of the folder."""
    from geovlm.run import devices, files, launch

    on_cpu = not devices.visible_gpus()
    output.say(f"exporting {job.model} and answering {len(job.asked)} held-out samples with it")
    launch.start("export", "--job", str(scratch), folder=scratch, on_cpu=on_cpu)
    output.say("loading the exported folder with transformers alone, for the same samples")
    words = [str(scratch / name) for name in ("model", "asks.json", "stock.json")]
    launch.start("stock", *words, folder=scratch, on_cpu=on_cpu)
    return files.read_json(scratch / "own.json"), files.read_json(scratch / "stock.json")


@contextmanager
def _folder(target: Path) -> Iterator[Path]:
    """Yield a folder next to the target; after a failure, it keeps all files but the weights."""
    scratch = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "model").mkdir(parents=True)
    try:
        yield scratch
    except BaseException:
        shutil.rmtree(scratch / "model", ignore_errors=True)
        raise
    shutil.rmtree(scratch)


def _report(summary: Mapping[str, Any]) -> None:
    output.say(
        f"{summary['compared']} of {summary['compared']} answers are the same, loaded by "
        f"{', '.join(summary['classes'])}"
    )
    if not any(each.startswith("AutoProcessor") for each in summary["classes"]):
        output.say(
            "note: AutoProcessor was not tested: for this model family it needs torchvision, which "
            "is not installed; its tokenizer and image processor were loaded instead"
        )
    if summary["as_scored"] < summary["compared"]:
        output.say(
            f"note: {summary['compared'] - summary['as_scored']} answers differ from the "
            f"evaluation of the run: other batches, device or weights in {summary['dtype']}"
        )
