"""Plugins written for one test: a module and the metadata that pip would leave beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TOY = '''
import json
from geovlm import hookimpl
from geovlm.api import DatasetSpec, RewardSpec, Sample, TaskSpec, Turn, options

@options
class ToyOptions:
    """How the set is read."""

    shout: bool = False
    """Whether labels are in capitals."""

def load(ctx):
    for path in sorted((ctx.root / ctx.split).glob("*.json"))[:ctx.limit]:
        row = json.loads(path.read_text())
        if row["label"] == "cloud":
            ctx.skip("cloudy", path.name)
            continue
        target = {"labels": [row["label"]], "vocabulary": ["water"], "boxes": row["boxes"]}
        yield Sample(id=row["id"], images=(path.with_suffix(".png"),), target=target)

def make_sample(root, n, seed):
    from PIL import Image
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        for i in range(n):
            image = Image.new("RGB", (56, 56), (0, 0, 40 * i % 256))
            image.save(root / split / f"{i}.png")
            row = {"id": f"{split}-{i}", "label": "water", "boxes": [[7, 7, 21, 28]]}
            (root / split / f"{i}.json").write_text(json.dumps(row))

def prompt(sample, ctx):
    return Turn(question="What is it?", answer="water", reasoning="It is blue.")

def one(completion, ctx):
    return 1.0

def huge(completion, ctx):
    return 7.0

@hookimpl
def geovlm_datasets():
    yield DatasetSpec(name="toy", summary="Toy tiles.", splits=("train", "test"), load=load,
        make_sample="toy_plugin:make_sample", folders=("Toy_v1", "toy"), licence="CC0-1.0",
        homepage="https://example.org/toy", citation="Nobody 2026", options=ToyOptions)

@hookimpl
def geovlm_rewards():
    yield RewardSpec(name="toy/one", summary="Always one.", score=one, formula="1")
    yield RewardSpec(name="toy/huge", summary="Out of range.", score=huge)

@hookimpl
def geovlm_tasks():
    for name in ("toy/name", "toy/find"):
        yield TaskSpec(name=name, summary="Name the tile.", dataset="toy", prompt=prompt,
            rewards={"paper": {"recall": 1.0}, "robust": {"toy/one": 1.0}}, metrics=("accuracy",),
            primary_metric="accuracy", options=ToyOptions)
'''

REWARD = """
from geovlm import hookimpl
from geovlm.api import RewardSpec

@hookimpl
def geovlm_rewards():
    yield RewardSpec(name="{name}", summary="One.", score=lambda completion, ctx: 1.0)
"""

TASK = """
from geovlm import hookimpl
from geovlm.api import TaskSpec

@hookimpl
def geovlm_tasks():
    yield TaskSpec(name="{name}", summary="A task.", dataset="{dataset}", prompt="a:b",
        rewards={{"paper": {{"recall": 1.0}}, "robust": {{"exact": 1.0}}}}, metrics=("accuracy",),
        primary_metric="accuracy")
"""


def install(
    folder: Path,
    name: str,
    code: str,
    *,
    requires: Sequence[str] = ("geovlm>=0.1",),
    distribution: str = "",
) -> None:
    """Write a plugin `name` into `folder`, which must be on the path to be found."""
    distribution = distribution or f"geovlm-{name}"
    module = f"{distribution.removeprefix('geovlm-').replace('-', '_')}_plugin"
    sys.modules.pop(module, None)  # another test's plugin of the same name
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    info = folder / f"{distribution.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {distribution}", "Version: 0.1.0"]
    lines += [f"Requires-Dist: {line}" for line in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[geovlm]\n{name} = {module}\n", encoding="utf-8")


def geovlm(
    *argv: str, folder: Path, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `geovlm` in a process of its own, with the plugins of `folder` beside the installed."""
    variables = os.environ | {
        "PYTHONPATH": str(folder),
        "GEOVLM_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    for name in ("GEOVLM_DATA", "GEOVLM_DEBUG", "GEOVLM_DISABLE_PLUGINS"):
        variables.pop(name, None)
    return subprocess.run(
        [sys.executable, "-c", "from geovlm.cli import main; main()", *argv],
        env=variables | environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


CALLBACKS = """
from geovlm import hookimpl

@hookimpl
def geovlm_callbacks(stage):
    {body}
"""
