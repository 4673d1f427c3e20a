"""Reads GeoChat-Instruct and GeoChat-Bench: every usable exchange becomes one sample.

On disk::

    <root>/GeoChat_Instruct.json
    <root>/share/softwares/kartik/GeoChat_finetuning/final_images_llava/<image of a record>
    <root>/GeoChat-Bench/{aid,UCmerced,lrben,hrben,region_captioning,referring,grounding_description}.jsonl

`target["kind"]` names the task of a sample. Boxes are in pixels of the stored image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

from geovlm import files, raster
from geovlm.api import Json, LoadContext, Sample, Size, Split
from geovlm.boxes import Box
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_geochat import GeoChatOptions, bench, grammar, turns
from geovlm_geochat.turns import KINDS, Kind, ParsedTurn, RefusedTurn

INSTRUCT = "GeoChat_Instruct.json"
OFFICIAL_IMAGES = "share/softwares/kartik/GeoChat_finetuning/final_images_llava"
"""Folder to which images.zip unpacks."""
_WORKERS = 8  # threads that read image headers; they wait for the disk or the network
_BATCH = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """An exchange whose image file exists."""

    key: str
    path: Path
    turn: ParsedTurn
    pixels: tuple[Box, ...] = ()
    meta: Mapping[str, Json] = field(default_factory=dict)

    @property
    def has_boxes(self) -> bool:
        return bool(self.turn.boxes or self.pixels)


def load(ctx: LoadContext) -> Iterable[Sample]:
    """Yield the samples of a split in file order; with a limit, the kinds in turn.

    The JSON is read as a stream; headers of images are read only if boxes need their sizes. With a
    limit, reading stops as soon as every kind has its share, so a small limit is fast and still
    gives samples of every task.

    Raises:
        DatasetNotFoundError: the Instruct file and, for `test`, all Bench files are missing.
        DataError: a file cannot be read, or is not JSON as a whole.
    """
    options = ctx.options or GeoChatOptions()
    held_out = bench.present(ctx.root) if options.held_out != "hash" else []
    instruct = files.find(ctx.root, INSTRUCT)
    if options.held_out == "bench" and not held_out:
        raise DatasetNotFoundError(
            "geochat",
            ctx.root / bench.FOLDER,
            hint="option held_out='bench' needs its .jsonl files",
        )
    if not instruct.is_file() and not (held_out and ctx.split == "test"):
        raise DatasetNotFoundError(
            "geochat", instruct, hint="download it from the hub: MBZUAI/GeoChat_Instruct"
        )
    images = files.Images(image_roots(ctx.root, images=options.images))
    found: Iterator[_Found] = iter(())
    kinds: set[Kind] = set(KINDS)
    if held_out and ctx.split == "test":
        rows = list(_bench(ctx, options))
        kinds -= {row.turn.kind for row in rows}
        found = iter(rows)
    if instruct.is_file() and kinds:
        taken = bench.stems(ctx.root) if held_out else frozenset()
        found = chain(found, _instruct(ctx, images=images, kinds=kinds, taken=taken))
    if ctx.limit is not None:
        found = _in_turn(found, limit=ctx.limit)
    return _samples(found, ctx=ctx, options=options)


def image_roots(root: Path, *, images: str) -> list[Path]:
    """Return the folders in which images are searched, best first.

    Args:
        root: folder of the data set.
        images: the option, relative to `root` or absolute. "": the folders of the release.

    Raises:
        DatasetNotFoundError: the option does not name a folder.
    """
    if images:
        named = root / images
        if not named.is_dir():
            raise DatasetNotFoundError(
                "geochat", named, hint="option `images` must name the folder of the images"
            )
        return [named]
    return [root / OFFICIAL_IMAGES, root / "final_images_llava", root / "images", root]


def split_of(image: str) -> Split:
    """Return the part of Instruct that an image belongs to: 96 % train, 2 % val, 2 % test.

    A hash of its name without the suffix decides, so all records of an image stay together; a name
    counts from the folder of images on.
    """
    inside = image.replace("\\", "/").rpartition("final_images_llava/")[2]
    name = str(PurePosixPath(inside).with_suffix("")).encode(errors="surrogatepass")
    share = int.from_bytes(hashlib.sha256(name).digest()[:4], "big") % 100
    return "val" if share < 2 else "test" if share < 4 else "train"


def _instruct(
    ctx: LoadContext, *, images: files.Images, kinds: set[Kind], taken: frozenset[str]
) -> Iterator[_Found]:
    for number, record in enumerate(files.json_array(files.find(ctx.root, INSTRUCT))):
        key = f"instruct/{number:06d}"
        image = record.get("image") if isinstance(record, dict) else None
        if isinstance(image, list) and len(image) == 1:
            (image,) = image  # as in LLaVA's form for several images
        if not isinstance(image, str) or not PurePosixPath(image).name:
            if ctx.split == "train":
                ctx.skip("record without an image", key)
            continue
        if split_of(image) != ctx.split:
            continue
        if PurePosixPath(image).stem in taken:
            ctx.skip("image that GeoChat-Bench tests on", f"{key} {image}")
            continue
        path: Path | None = None
        exchanges = list(turns.pairs(record.get("conversations")))
        if not exchanges:
            ctx.skip("record without a question and an answer", f"{key} {image}")
        for position, (human, gpt) in enumerate(exchanges):
            item = f"{key}/{position}"
            try:
                turn = turns.parse(human, gpt)
            except RefusedTurn as refused:
                ctx.skip(str(refused), item)
                continue
            if turn.kind not in kinds:
                continue
            target = turn.target
            if turn.kind == "classify" and turns.folder_contradicts(
                image, target["vocabulary"], target["answer"]
            ):
                ctx.skip("scene answer that contradicts the image's folder", f"{item} {image}")
                continue
            path = path or images.find(image)
            if path is None:
                ctx.skip("image file not found", f"{item} {image}")
                continue
            meta: dict[str, Json] = {"source": "GeoChat-Instruct", "image": image}
            yield _Found(key=item, path=path, turn=turn, meta=meta)


def _bench(ctx: LoadContext, options: GeoChatOptions) -> Iterator[_Found]:
    folder = ctx.root / bench.FOLDER
    roots = [folder / "images", folder, *image_roots(ctx.root, images=options.images)]
    images = files.Images(roots)
    for row in bench.rows(ctx.root, skip=ctx.skip):
        path = images.find(row.image)
        if path is None:
            ctx.skip("image file not found", f"{row.key} {row.image}")
            continue
        meta = {"source": "GeoChat-Bench", "image": row.image, **row.meta}
        yield _Found(key=row.key, path=path, turn=row.turn, pixels=row.pixels, meta=meta)


def _in_turn(found: Iterator[_Found], *, limit: int) -> Iterator[_Found]:
    """Return `limit` samples: the first of every kind, then the second of every kind, and so on."""
    share = -(-limit // len(KINDS))
    held: dict[Kind, list[_Found]] = {kind: [] for kind in KINDS}
    for one in found:
        if len(held[one.turn.kind]) < limit:
            held[one.turn.kind].append(one)
        if all(len(of_kind) >= share for of_kind in held.values()):
            break
    rounds = chain.from_iterable(zip_longest(*held.values()))
    return islice((one for one in rounds if one is not None), limit)


def _samples(
    found: Iterator[_Found], *, ctx: LoadContext, options: GeoChatOptions
) -> Iterator[Sample]:
    sizes: dict[Path, Size | None] = {}
    with ThreadPoolExecutor(max_workers=_WORKERS) as pool:
        while batch := list(islice(found, _BATCH)):
            fresh = list(
                dict.fromkeys(one.path for one in batch if one.has_boxes and one.path not in sizes)
            )
            sizes.update(zip(fresh, pool.map(_size, fresh), strict=True))
            for one in batch:
                sample = _sample(one, size=sizes.get(one.path), ctx=ctx, options=options)
                if sample is not None:
                    yield sample


def _size(path: Path) -> Size | None:
    try:
        return raster.image_size(path)
    except DataError:
        return None


def _sample(
    one: _Found, *, size: Size | None, ctx: LoadContext, options: GeoChatOptions
) -> Sample | None:
    target: dict[str, Any] = {"kind": one.turn.kind, **one.turn.target}
    meta = dict(one.meta)
    if one.has_boxes:
        if size is None:
            ctx.skip("image that cannot be read", f"{one.key} {one.path.name}")
            return None
        placed = [
            grammar.place(box, image_size=size, form=options.boxes, sense=options.sense)
            for box in one.turn.boxes
        ] + [grammar.fit(box, image_size=size, form=options.boxes) for box in one.pixels]
        for lost in (each for each in placed if each.box is None):
            ctx.skip(f"{lost.reason} (the record stays if another box is left)", one.key)
        held = [each.box for each in placed if each.box is not None]
        if not held:
            ctx.skip("record without a usable box", one.key)
            return None
        meta["boxes_over_border"] = sum(each.over for each in placed if each.box is not None)
        meta["dropped_boxes"] = len(placed) - len(held)
        numbers = 5 if options.boxes == "rotated" else 4
        target["boxes"] = [list(box[:numbers]) for box in held]
        if one.turn.pieces:
            target["pieces"] = _numbered(one.turn, kept=[each.box is not None for each in placed])
    return Sample(
        id=one.key, images=(one.path,), target=target, question=one.turn.question, meta=meta
    )


def _numbered(turn: ParsedTurn, *, kept: list[bool]) -> list[Json]:
    """Return pieces as `[text, [positions in target["boxes"]]]`."""
    new = iter(range(sum(kept)))
    places = iter([next(new) if keep else None for keep in kept])
    return [
        [piece.text, [at for _, at in zip(piece.boxes, places, strict=False) if at is not None]]
        for piece in turn.pieces
    ]
