"""A plugin that keeps every rule of the conformance kit, and a way to break one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.fake_plugins import install

GOOD = '''
import dataclasses
import json
import random

from geovlm import answers, boxes, hookimpl
from geovlm.api import DatasetSpec, MetricSpec, RewardSpec, Sample, TaskSpec, Turn, options
from geovlm.errors import DatasetNotFoundError

CLASSES = ["water", "forest", "urban"]


@options
class ToyOptions:
    """How the set is read."""

    bright: bool = False
    """Whether colours are bright."""


def load(ctx):
    folder = ctx.root / ctx.split
    if not folder.is_dir():
        raise DatasetNotFoundError("toy", folder, hint="expected <split>/*.json")
    for path in sorted(folder.glob("*.json"))[: ctx.limit]:
        row = json.loads(path.read_text())
        label = row["label"]
        target = {"answer": label, "labels": [label], "vocabulary": CLASSES, "boxes": row["boxes"]}
        yield Sample(id=row["id"], images=(path.with_suffix(".png"),), target=target)


def make_sample(root, n, seed):
    from PIL import Image

    chance = random.Random(seed)
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        for i in range(n):
            image = Image.new("RGB", (112, 84), (0, 0, chance.randrange(256)))
            image.save(root / split / f"{i:03d}.png")
            x, y = chance.randrange(80), chance.randrange(50)
            row = {"id": f"{split}-{i}", "label": CLASSES[i % 3], "boxes": [[x, y, x + 30, y + 30]]}
            (root / split / f"{i:03d}.json").write_text(json.dumps(row))


def name(sample, ctx):
    answer = sample.target["answer"]
    return Turn(question="What is it?", answer=answer, reasoning=f"It looks like {answer}.")


def found(record):
    target = {"boxes": record.target["boxes"]}
    yield dataclasses.replace(record, id=f"{record.id}/find", target=target)


def find(sample, ctx):
    held = boxes.target_boxes(sample.target)
    return Turn(question="Where is it?", answer=boxes.write(held, ctx), reasoning="It stands out.")


def same(completion, ctx):
    text = answers.normalise(answers.answer_text(completion))
    return float(text == ctx.target["answer"])


def right(predictions):
    said = [answers.answer_text(p.completion) == p.target["answer"] for p in predictions]
    return {"right": sum(said) / len(said)}


@hookimpl
def geovlm_datasets():
    yield DatasetSpec(
        name="toy",
        summary="Toy tiles.",
        splits=("train", "test"),
        load=load,
        make_sample=make_sample,
        folders=("Toy_v1", "toy"),
        licence="CC0-1.0",
        homepage="https://example.org/toy",
        citation="Nobody 2026",
        options=ToyOptions,
    )


@hookimpl
def geovlm_rewards():
    yield RewardSpec(name="toy/same", summary="The right word.", score=same, formula="[a = b]")


@hookimpl
def geovlm_metrics():
    yield MetricSpec(name="toy/right", summary="Share of right words.", compute=right)


@hookimpl
def geovlm_tasks():
    yield TaskSpec(
        name="toy/name",
        summary="Name the tile.",
        dataset="toy",
        prompt=name,
        rewards={"paper": {"recall": 1.0}, "robust": {"toy/same": 1.0}},
        metrics=("toy/right",),
        primary_metric="right",
    )
    yield TaskSpec(
        name="toy/find",
        summary="Find the object.",
        dataset="toy",
        prompt=find,
        samples=found,
        rewards={"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
        metrics=("detection",),
        primary_metric="mean_iou",
    )


@hookimpl
def geovlm_commands(app):
    @app.command("toy-info")
    def info():
        print("a toy")
'''
"""Source of the plugin `toy`: two tasks over one data set, a reward, a metric, a command."""

METADATA = """\
Summary: Toy tiles for GeoVLM.
License-Expression: Apache-2.0

# geovlm-toy

Tiles that name themselves.
"""


def changed(old: str, new: str) -> str:
    """The source with one passage replaced.

    Raises:
        ValueError: the passage does not occur exactly once.
    """
    if GOOD.count(old) != 1:
        raise ValueError(f"{old!r} occurs {GOOD.count(old)} times")
    return GOOD.replace(old, new)


def install_toy(
    folder: Path,
    code: str = GOOD,
    *,
    requires: Sequence[str] = ("geovlm>=0.1,<0.2",),
    metadata: str = METADATA,
) -> None:
    """Write the plugin `toy` and the metadata of a complete distribution into a folder."""
    install(folder, "toy", code, requires=requires)
    path = folder / "geovlm_toy-0.1.0.dist-info" / "METADATA"
    path.write_text(path.read_text(encoding="utf-8") + metadata, encoding="utf-8")
