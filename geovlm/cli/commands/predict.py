"""`geovlm predict`: a model's answers about images, as features on a map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geovlm.cli import output, predict_options
from geovlm.cli.options import ModelOption, ResumeOption, SetOption
from geovlm.errors import ConfigError, DataError, GeoVLMError

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.predict.job import Job
    from geovlm.predict.results import Counts, Results
    from geovlm.predict.scenes import Scene


class Crs(StrEnum):
    """Coordinates of the features."""

    wgs84 = "wgs84"
    source = "source"


def predict(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="An image, or two with the older one first: GeoTIFF, PNG, JPEG, or a folder of "
            "one file per band.",
            metavar="IMAGE...",
            show_default=False,
        ),
    ],
    model: ModelOption,
    task: Annotated[str, typer.Option(help="What is asked; see 'geovlm tasks list'.")],
    out: Annotated[
        Path | None,
        typer.Option(help="F.geojson, F.gpkg or F.png (a picture). Default: GeoJSON to stdout."),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Also draw the features on the image: F.png.")
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="The question, for tasks that take one.")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            help="What to look at, in pixels, for tasks that take it. Repeatable.",
            metavar="X0,Y0,X1,Y1",
        ),
    ] = None,
    ask: Annotated[
        list[str] | None,
        typer.Option(help="Anything else that the task asks for. Repeatable.", metavar="KEY=TEXT"),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(help="Bands shown as red, green and blue, by name or number: B04,B03,B02."),
    ] = None,
    value_range: Annotated[
        str | None,
        typer.Option(
            "--range",
            help="Stored values shown as black and white; default for other than 8-bit values: "
            "percentiles 2 and 98 of the scene.",
            metavar="LOW,HIGH",
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Side of the windows, pixels; 0: all at once. Default: as large as the model sees "
            "without shrinking, in 256..1024.",
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            min=0, help="Pixels that windows share; default: a quarter for boxes, else 0."
        ),
    ] = None,
    min_iou: Annotated[
        float,
        typer.Option(min=0.01, max=1.0, help="From which overlap on two boxes are one object."),
    ] = 0.5,
    crs: Annotated[
        Crs | None,
        typer.Option(help="GeoJSON is always wgs84; default of a GeoPackage: source."),
    ] = None,
    set_: SetOption = None,
    resume: ResumeOption = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files and begin anew.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> None:
    """Ask a model about images of any size and write its answers as features on a map.

    Exit code 1 if not a single answer could be read.
    """
    from geovlm.config import load
    from geovlm.plugins import registry
    from geovlm.predict import asking, job, results, scenes
    from geovlm.predict import images as pictures
    from geovlm.raster import reference

    spec = registry.load().task(task)
    asking.check_images(spec, len(images))
    boxes = [predict_options.numbers(each, option="--box", count=(4, 5)) for each in box or []]
    inputs = asking.user_inputs(
        spec, question=question, boxes=boxes, values=predict_options.pairs(ask or [])
    )
    asking.blank_target(spec, inputs)
    config = load.load(None, overrides=set_ or [], tasks=[task], model=model, stages=[])
    source = None if crs is None else crs is Crs.source
    in_source = predict_options.check_files(
        out, overlay, images=images, source=source, json=json, overwrite=overwrite
    )
    chosen = bands.split(",") if bands is not None else None
    limits = predict_options.value_range(value_range)
    references = [pictures.reference(path, bands=chosen, value_range=limits) for path in images]
    with _folder(out or overlay, resume=resume, overwrite=overwrite) as folder:
        scene = scenes.scene(references, folder=folder.path)
        for note in scene.notes:
            output.say(f"note: {note}")
        if scene.georeference is None:
            output.say("warning: without georeference, coordinates are pixels, not a map's")
        request = job.Request(
            task=task,
            images=tuple(reference.encode(image) for image in scene.images),
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
            model=model,
            min_iou=min_iou,
        )
        named = [str(path) for path in images]
        system = "source" if in_source else "wgs84"
        try:
            counts = _write(found, scene, out=out, overlay=overlay, crs=system, images=named)
        except BrokenPipeError:  # of standard output; `main` knows what to do
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
    """Let the model answer, in a process of its own.

    Raises:
        GeoVLMError: it found the request impossible.
        RunFailedError: it failed.
    """
    from geovlm.run import devices, launch

    on_cpu = devices.device(config) == "cpu"
    launch.start("predict", "--job", str(folder.path), folder=folder.path, on_cpu=on_cpu)


@contextmanager
def _folder(out: Path | None, *, resume: bool, overwrite: bool) -> Iterator[Job]:
    """The folder of the unfinished prediction beside `out`, removed when all is written.

    Raises:
        ConfigError: there is one already, or none to resume.
    """
    import shutil
    import tempfile

    from geovlm.predict.job import Job

    if out is None:
        if resume:
            raise ConfigError("without --out, nothing was kept to resume", hint="give --out")
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
            hint="--resume goes on with it, --overwrite begins anew",
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
    """Write the files; the counts are complete afterwards."""
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
    """Say what was found and what was not."""
    asked = counts.windows - counts.empty
    side = f"{found.plan.side} px" if found.plan.side else "the whole image"
    output.say(f"{counts.features} features from {counts.windows} windows of {side}")
    if counts.empty:
        output.say(f"{counts.empty} windows were left out: an image has no data there")
    if counts.unread:
        first = counts.first_unread[0]
        output.say(
            f"warning: {counts.unread} of {asked} answers could not be read; the first, of window "
            f"{first['tile']}: {str(first['answer'])!r:.120}"
        )
    if counts.outside:
        said = "features have no longitude and latitude and are left out of the file"
        output.say(f"warning: {counts.outside} {said}")
    if counts.antimeridian:
        output.say(f"{counts.antimeridian} features cross the antimeridian and are cut there")
