"""`geovlm predict`: runs a model on images and writes features on a map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geovlm.cli import arguments, configuration, output, predict_options
from geovlm.cli.options import (
    AnyModelOption,
    ApiKeyOption,
    BaseUrlOption,
    DescriptionsOption,
    GenerationOption,
    ResumeOption,
    SetOption,
    UrlOption,
)
from geovlm.errors import ConfigError, DataError, GeoVLMError

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.predict.job import Job
    from geovlm.predict.results import Counts, Results
    from geovlm.predict.scenes import Scene


class Crs(StrEnum):
    """Coordinate system of the features."""

    wgs84 = "wgs84"
    source = "source"


def predict(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="One image, or two with the older one first: GeoTIFF, PNG, JPEG, or a folder with "
            "one file per band.",
            metavar="IMAGE...",
            show_default=False,
        ),
    ],
    model: AnyModelOption,
    task: Annotated[str, typer.Option(help="Name of the task; see 'geovlm tasks list'.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="F.geojson, F.gpkg or F.png (an image). Default: GeoJSON to standard output."
        ),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Also draw the features on the image: F.png.")
    ] = None,
    question: Annotated[str | None, typer.Option(help="Question, for tasks that need one.")] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            help="Box in pixels, for tasks that need one. Repeatable.", metavar="X0,Y0,X1,Y1"
        ),
    ] = None,
    ask: Annotated[
        list[str] | None,
        typer.Option(help="Other input of the task. Repeatable.", metavar="KEY=TEXT"),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(help="Bands for red, green and blue, by name or number: B04,B03,B02."),
    ] = None,
    value_range: Annotated[
        str | None,
        typer.Option(
            "--range",
            help="Stored values that become black and white; default, except for 8-bit values: "
            "percentiles 2 and 98 of the scene.",
            metavar="LOW,HIGH",
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Side of the windows in pixels; 0: one window. Default: the largest side that the "
            "model does not shrink, in 256..1024.",
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            min=0, help="Overlap of windows in pixels; default: a quarter for boxes, else 0."
        ),
    ] = None,
    min_iou: Annotated[
        float,
        typer.Option(min=0.01, max=1.0, help="Smallest IoU at which two boxes are one object."),
    ] = 0.5,
    crs: Annotated[
        Crs | None,
        typer.Option(help="GeoJSON is always wgs84; the default of a GeoPackage is source."),
    ] = None,
    base_url: BaseUrlOption = None,
    api_key_env: ApiKeyOption = None,
    generation: GenerationOption = None,
    url: UrlOption = None,
    data: DescriptionsOption = None,
    set_: SetOption = None,
    resume: ResumeOption = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files and start again.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> None:
    """Run a model on images of any size and write its answers as features on a map.

    The exit code is 1 if no answer could be read.
    """
    from geovlm.config.model import inspect, served_name
    from geovlm.plugins import registry
    from geovlm.predict import asking, job, results, scenes
    from geovlm.predict import images as pictures
    from geovlm.run import adapters
    from geovlm.run.served import checks as served
    from geovlm.run.vllm import answering

    arguments.offered(data or [], alone=True)
    config = configuration.load(
        None,
        overrides=set_ or [],
        tasks=[task],
        model=model,
        stages=[],
        answering=arguments.answering(generation, url),
        served=arguments.endpoint(base_url, api_key_env),
        device="cpu" if served_name(model) is not None else None,
    )
    answering.check(config)
    served.check(config, elsewhere=False)
    loaded = registry.load()
    spec = loaded.task(task)
    asking.check_images(spec, len(images))
    boxes = [predict_options.numbers(each, option="--box", count=(4, 5)) for each in box or []]
    inputs = asking.user_inputs(
        spec, question=question, boxes=boxes, values=predict_options.pairs(ask or [])
    )
    asking.blank_target(spec, inputs)
    source = None if crs is None else crs is Crs.source
    in_source = predict_options.check_files(
        out, overlay, images=images, source=source, json=json, overwrite=overwrite
    )
    chosen = bands.split(",") if bands is not None else None
    limits = predict_options.value_range(value_range)
    references = [pictures.reference(path, bands=chosen, value_range=limits) for path in images]
    config = adapters.whole(config)
    inspect(config, registry=loaded, weights=True, served=True)
    with _folder(out or overlay, resume=resume, overwrite=overwrite) as folder:
        scene = scenes.scene(references, folder=folder.path)
        for note in scene.notes:
            output.say(f"note: {note}")
        if scene.georeference is None:
            output.say("warning: without georeference, coordinates are pixels")
        elif not in_source and scene.georeference.doubt():
            output.say(f"warning: {scene.georeference.doubt()}")
        request = job.Request(
            task=task,
            images=scene.encoded(),
            area=scene.area,
            inputs=inputs,
            window=window,
            overlap=overlap,
            config=config.model_dump(mode="json"),
            stamps=predict_options.stamps(images),
        )
        folder.write_request(request)
        run_model(folder, config=config)
        found = results.Results(
            job=folder,
            task=spec,
            request=folder.read_request(),
            plan=folder.read_plan(),
            where=scene.georeference,
            notes=scene.notes,
            model=model,
            min_iou=min_iou,
        )
        named = [str(path) for path in images]
        system = "source" if in_source else "wgs84"
        try:
            counts = _write(found, scene, out=out, overlay=overlay, crs=system, images=named)
        except BrokenPipeError:  # of standard output; `main` handles it
            raise
        except OSError as error:
            raise DataError(
                f"{error.filename or out or 'standard output'} cannot be written: "
                f"{error.strerror or error}"
            ) from error
    _report(found, counts)
    if json:
        files = {"out": str(out), "overlay": str(overlay) if overlay is not None else None}
        output.print_json({**found.summary(counts, images=named, crs=system), **files})
    elif out is not None:
        print(out)
    if counts.unread and counts.unread == counts.windows - counts.empty:
        output.say("no answer could be read: was the model trained on this task?")
        raise typer.Exit(1)


def run_model(folder: Job, *, config: RunConfig) -> None:
    """Answer the windows in a separate process."""
    from geovlm.run import devices, launch

    on_cpu = devices.device(config) == "cpu"
    launch.start("predict", "--job", str(folder.path), folder=folder.path, on_cpu=on_cpu)


@contextmanager
def _folder(out: Path | None, *, resume: bool, overwrite: bool) -> Iterator[Job]:
    """Yield the folder of the unfinished prediction, next to `out`; it is removed at the end."""
    import shutil
    import tempfile

    from geovlm.predict.job import Job

    if out is None:
        if resume:
            raise ConfigError("without --out, there is nothing to resume", hint="give --out")
        with tempfile.TemporaryDirectory(prefix="geovlm-predict-") as scratch:
            yield Job(Path(scratch))
        return
    path = out.absolute().with_name(f".{out.name}.unfinished")
    job = Job(path)
    if resume and not job.is_begun:
        raise ConfigError(f"nothing to resume: there is no {path}", hint="leave out --resume")
    if not resume and not overwrite and job.has_answers:
        raise ConfigError(
            f"an unfinished prediction of {out} is in {path}",
            hint="--resume continues it, --overwrite starts again",
        )
    if not resume:
        shutil.rmtree(path, ignore_errors=True)
    path.mkdir(exist_ok=True)
    try:
        yield job
    except (KeyboardInterrupt, GeoVLMError):
        if job.has_answers:
            output.say("to continue: the same command with --resume")
        else:
            shutil.rmtree(path, ignore_errors=True)
        raise
    shutil.rmtree(path, ignore_errors=True)


def _write(
    found: Results,
    scene: Scene,
    *,
    out: Path | None,
    overlay: Path | None,
    crs: str,
    images: Sequence[str],
) -> Counts:
    """Write the files; return the complete counts."""
    from geovlm.predict import overlay as drawing
    from geovlm.predict import writing
    from geovlm.predict.georeference.georeference import WGS84
    from geovlm.predict.results import Counts

    counts = Counts()
    made = found.features(counts, crs=crs)
    ending = out.suffix.lower() if out is not None else ""
    if out is not None and ending == predict_options.PICTURE:
        overlay = out
        counts.features = sum(1 for _ in found.shapes(counts))
    elif out is not None and ending == predict_options.PACKAGE:
        own = scene.georeference.crs if scene.georeference is not None else None
        writing.geopackage(out, made, crs=WGS84 if own and crs == "wgs84" else own)
    else:
        writing.geojson(out, made, summary=lambda: found.summary(counts, images=images, crs=crs))
    if overlay is not None:
        shapes = ((ring, str(properties["label"])) for ring, properties in found.shapes(Counts()))
        with writing.replacing(overlay) as scratch:
            drawing.draw(scene.images, scene.area, shapes).save(scratch)
    return counts


def _report(found: Results, counts: Counts) -> None:
    """Print counts and warnings."""
    asked = counts.windows - counts.empty
    side = f"{found.plan.side} px" if found.plan.side else "the whole image"
    output.say(f"{counts.features} features from {counts.windows} windows of {side}")
    if counts.empty:
        output.say(f"{counts.empty} windows were skipped: an image has no data there")
    if counts.unread:
        first = counts.first_unread[0]
        output.say(
            f"warning: {counts.unread} of {asked} answers could not be read; the first, of window "
            f"{first['tile']}: {str(first['answer'])!r:.120}"
        )
    if counts.outside:
        problem = "features have no longitude and latitude and are not in the file"
        output.say(f"warning: {counts.outside} {problem}")
    if counts.antimeridian:
        output.say(f"{counts.antimeridian} features cross the antimeridian and are cut there")
