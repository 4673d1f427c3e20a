"""Official text files, and EarthDial's published rows of images 001 to 150.

No image is public in a repository: blank ones of the official sizes stand for them.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from geovlm_vhr10 import Vhr10Options, data, tasks
from geovlm_vhr10.groups import percent
from PIL import Image

from geovlm import answers
from geovlm.api import LoadContext, Sample
from geovlm.score.protocols import catalogue
from geovlm.score.protocols.contract import Record

PUBLISHED = Vhr10Options(split_by="none")


def read(root: Path, options: Vhr10Options) -> tuple[list[Sample], Counter[str]]:
    skipped: Counter[str] = Counter()
    ctx = LoadContext(
        root=root,
        split="test",
        options=options,
        skip=lambda reason, item: skipped.update([reason]),
    )
    return list(data.load(ctx)), skipped


def table(realdata: Path, name: str) -> list[dict[str, str]]:
    path = realdata / "NWPU_VHR-10_earthdial_rows" / f"{name}.csv"
    if not path.is_file():
        pytest.skip(f"no table at {path}")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def boxed(numbers: Any) -> str:
    return "".join(f"[[{', '.join(map(str, box))}, 0]]" for box in numbers)


def refer_row(row: dict[str, str]) -> dict[str, str]:
    """Return the published row of a row of the table."""
    words = f"{row['count']} {row['colour_size']} {row['class']} at the {row['location']}"
    held = [json.loads(box) for box in row["boxes_percent"].split()]
    fields = {"question": tasks.REFER.format(words), "gt_bbox": boxed(held)}
    return fields | {"task_type": "ref", "size_group": row["size_group"]}


def region_row(row: dict[str, str]) -> dict[str, str]:
    numbers = ", ".join(map(str, json.loads(row["box_percent"])))
    question = tasks.REGION.format(numbers)
    size = row["annotation"].split()[2]
    return {"question": question, "annotation": row["annotation"], "size_group": size}


@pytest.fixture(scope="module")
def root(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official text files of 001 to 150, blank images, and EarthDial's rows."""
    official = realdata / "NWPU_VHR-10_dataset" / "ground truth"
    sizes = table(realdata, "image_sizes")
    made = tmp_path_factory.mktemp("vhr10")
    (made / "ground truth").mkdir()
    (made / data.FOLDER).mkdir()
    for row in sizes:
        shutil.copy(official / f"{row['image']}.txt", made / "ground truth")
        size = int(row["width"]), int(row["height"])
        Image.new("L", size).save(made / data.FOLDER / f"{row['image']}.jpg", quality=1)
    for folder, name, kind, form in (
        ("rs_detection", "NWPU_VHR_10", "refer_rows", refer_row),
        ("rs_region_captioning", "NWPU_VHR_10_test", "region_caption_rows", region_row),
    ):
        (made / "earthdial" / folder).mkdir(parents=True)
        lines = [json.dumps(form(each)) for each in table(realdata, f"{kind}_to_images.DERIVED")]
        (made / "earthdial" / folder / f"{name}.jsonl").write_text("\n".join(lines))
    return made


@pytest.fixture(scope="module")
def published(root: Path) -> list[Sample]:
    samples, skipped = read(root, PUBLISHED)
    assert skipped == {}
    return samples


def of_image(sample: Sample) -> str:
    return sample.id.partition("/")[0]


def test_the_first_300_text_files_have_their_boxes(realdata: Path) -> None:
    from geovlm_vhr10 import objects

    reasons: list[str] = []
    folder = realdata / "NWPU_VHR-10_dataset"
    found = objects.from_texts(folder, skip=lambda reason, item: reasons.append(reason))
    counts = Counter(thing.kind for things in found.values() for thing in things)
    assert (len(found), counts.total(), reasons) == (300, 1_480, [])
    assert (counts["airplane"], counts["ship"], counts["vehicle"]) == (681, 70, 2)


def test_referred_rows_are_rebuilt(realdata: Path, published: list[Sample]) -> None:
    rows = table(realdata, "refer_rows_to_images.DERIVED")
    expected = [(row["image"], *map(refer_row(row).get, ("question", "gt_bbox"))) for row in rows]
    samples = [each for record in published for each in tasks.refer_samples(record)]
    ours = [
        (
            of_image(each),
            tasks.REFER.format(each.target["phrase"]),
            boxed(percent(box, each.image_sizes[0]) for box in each.target["boxes"]),
        )
        for each in samples
    ]
    assert len(samples) == len(rows) == 405
    assert Counter(ours) == Counter(expected)


def test_region_rows_are_rebuilt(realdata: Path, published: list[Sample], prompt_ctx: Any) -> None:
    rows = table(realdata, "region_caption_rows_to_images.DERIVED")
    expected = [(r["image"], region_row(r)["question"], r["annotation"]) for r in rows]
    samples = [each for record in published for each in tasks.region_samples(record)]
    turns = [tasks.region(each, prompt_ctx(image_sizes=each.image_sizes)) for each in samples]
    ours = [
        (of_image(each), turn.question, turn.answer)
        for each, turn in zip(samples, turns, strict=True)
    ]
    assert len(samples) == len(rows) == 272
    assert Counter(ours) == Counter((i, q.replace("<image>", ""), a) for i, q, a in expected)


def test_sizes_and_places_without_the_rows_are_those_of_the_rows(
    root: Path, published: list[Sample], tmp_path: Path
) -> None:
    for name in ("ground truth", data.FOLDER):
        (tmp_path / name).symlink_to(root / name)
    rebuilt, skipped = read(tmp_path, Vhr10Options(split_by="none", colours="none"))
    assert skipped == {}

    def named(samples: list[Sample]) -> dict[tuple[str, int], tuple[Any, ...]]:
        return {
            (each.id, member): (group["size"], group["label"], group["place"])
            for each in samples
            for group in each.target["groups"]  # type: ignore[union-attr]
            for member in group["members"]  # type: ignore[index,call-overload]
        }

    assert len(named(published)) == 935
    assert named(rebuilt) == named(published)


def test_rows_of_absent_images_are_counted(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("078.*"))
    samples, skipped = read(tmp_path / "copy", PUBLISHED)
    assert "078" not in {each.id for each in samples}
    assert skipped["row of EarthDial that fits no image on disk"] >= 4


@pytest.mark.parametrize("task", ["refer", "region", "ground"])
def test_correct_answers_score_100_percent(
    published: list[Sample], prompt_ctx: Any, task: str
) -> None:
    names = {"refer": "refer", "region": "region_caption", "ground": "grounding"}
    protocol = catalogue.find(f"earthdial/{names[task]}")
    cases = []
    for record in published[:60]:
        for sample in getattr(tasks, f"{task}_samples")(record):
            ctx = prompt_ctx(image_sizes=sample.image_sizes)
            fields = {
                "task": f"vhr10/{task}",
                "completion": answers.frame(getattr(tasks, task)(sample, ctx)),
                "target": sample.target,
                "meta": sample.meta,
                "profile": ctx.profile.name,
                "image_sizes": ctx.image_sizes,
                "input_sizes": ctx.input_sizes,
            }
            record_of = Record(fields=fields, own=True)
            cases.append(protocol.read(record_of, protocol.answer(record_of)))
    total: Counter[str] = Counter()
    for counts in protocol.tally(cases):
        total.update(counts)
    scores = protocol.published(total)
    assert scores
    assert min(scores.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("file", "question"),
    [
        ("rs_detection/NWPU_VHR_10", tasks.REFER),
        ("rs_region_captioning/NWPU_VHR_10_test", tasks.REGION),
        ("rs_grounding_description/NWPU_VHR_10", tasks.GROUND),
    ],
)
def test_published_questions_are_ours(realdata: Path, file: str, question: str) -> None:
    path = realdata / "EarthDial_eval_results" / f"{file}.jsonl"
    if not path.is_file():
        pytest.skip(f"no published rows at {path}")
    asked = [json.loads(line)["question"] for line in path.read_text("utf-8").splitlines()]
    begin, _, end = question.partition("{}")
    assert all(each.startswith(begin) and each.endswith(end) for each in asked)
