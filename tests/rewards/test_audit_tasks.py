"""Every task of this repository: its robust rewards resist, the paper's set does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from geovlm.api import Sample, Split
from geovlm.data import loading
from geovlm.plugins import registry
from geovlm.rewards.audit.audit import Audit, audit

PLUGINS = sorted(
    path.parent.name for path in (Path(__file__).parents[2] / "plugins").glob("*/pyproject.toml")
)
TASKS = sorted(name for name in registry.load().tasks if name.partition("/")[0] in PLUGINS)
LISTED = ["bigearthnet", "xbd/assess", "xbd/disaster", "xbd/affected", "xbd/count"]
BOXES = ["xbd/detect", "xbd/refer", "geochat/refer"]


def audited(
    name: str,
    *,
    sets: list[str],
    root: Path | None = None,
    splits: tuple[Split, Split] = ("train", "test"),
    **options: object,
) -> Audit:
    loaded = registry.load()
    task = loaded.task(name)
    spec = loaded.dataset(task.dataset)
    folder = root or loading.sample_root(spec, n=32, seed=0)
    own = spec.options(**options) if spec.options is not None else None

    def read(split: Split) -> list[Sample]:
        records = loading.load_records(spec, root=folder, split=split, options=own).records
        return loading.task_samples(task, records)[:400]

    learned = splits[0] if splits[0] in spec.splits else splits[1]  # else policies know the gold
    return audit(task, registry=loaded, samples=read(splits[1]), train=read(learned), sets=sets)


@pytest.mark.parametrize("name", TASKS)
def test_the_robust_set_of_every_task_passes_on_generated_data(name: str) -> None:
    found = audited(name, sets=["robust"])
    assert all(result.passes for result in found.rewards["robust"].values()), found


@pytest.mark.parametrize("name", LISTED)
def test_naming_every_label_is_perfect_recall(name: str) -> None:
    recall = audited(name, sets=["paper"]).rewards["paper"]["recall"]
    assert recall.policies["every label"] == 1.0
    assert not recall.passes


@pytest.mark.parametrize("name", BOXES)
def test_extra_boxes_cost_nothing_in_the_papers_detection(name: str) -> None:
    detection = audited(name, sets=["paper"]).rewards["paper"]["detection"]
    assert detection.padded == pytest.approx(detection.gold)
    assert not detection.passes


def test_the_robust_set_passes_on_real_rsvqa_questions(realdata: Path) -> None:
    found = audited("rsvqa/lr", sets=["robust"], root=realdata / "RSVQA_LR")
    assert found.rewards["robust"]["total"].passes, found


def test_the_robust_set_passes_on_real_captions(realdata: Path) -> None:
    found = audited(
        "captions/rsicd",
        sets=["robust"],
        root=realdata / "RSICD",
        splits=("test", "test"),  # the only split with images there: policies know the gold
        file="dataset_rsicd.RECONSTRUCTED.json",
    )
    assert found.n == 49
    assert found.rewards["robust"]["total"].passes, found


def test_the_robust_set_passes_on_real_patches(realdata: Path) -> None:
    found = audited(
        "bigearthnet",
        sets=["robust"],
        root=realdata / "BigEarthNet_v1",
        splits=("train", "train"),
        split_by="hash",
    )
    assert found.rewards["robust"]["total"].passes, found


@pytest.mark.parametrize("name", ["xbd/detect", "xbd/refer", "xbd/assess"])
def test_the_robust_set_passes_on_a_real_pair(realdata: Path, name: str) -> None:
    found = audited(
        name,
        sets=["robust"],
        root=realdata / "xBD",
        splits=("train", "train"),
        labels="labels_RECONSTRUCTED",
    )
    assert found.rewards["robust"]["total"].passes, found
