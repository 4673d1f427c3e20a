from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from geovlm import scenes
from geovlm.api import Sample
from geovlm.data import fingerprints, leaks
from geovlm.data.leaks import LeftOut, Part
from tests.fake_plugins import TOY, install
from tests.inside import geovlm

Change = Callable[[Image.Image], Image.Image]


def picture(seed: int, *, side: int = 128) -> Image.Image:
    rng = np.random.default_rng(seed)
    scene = scenes.compose(rng, size_px=(side, side), count=(3, 6), road=0.5)
    return Image.fromarray(scenes.render(scene, when="pre"))


def encoded(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


CHANGES: dict[str, Change] = {
    "copied": lambda image: image,
    "encoded again": lambda image: encoded(image, 75),
    "halved": lambda image: image.resize((64, 64), Image.Resampling.BICUBIC),
    "enlarged": lambda image: image.resize((300, 300), Image.Resampling.BILINEAR),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "resized, encoded, brighter": lambda image: encoded(
        ImageEnhance.Brightness(image.resize((96, 96))).enhance(1.1), 80
    ),
}


def grey(image: Image.Image) -> bytes:
    return image.convert("L").resize((32, 32), Image.Resampling.BOX).tobytes()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_copy_is_found_among_other_pictures(change: Change) -> None:
    many = fingerprints.stack([grey(picture(seed)) for seed in range(12)])
    changed = fingerprints.stack([grey(change(picture(7)))])
    assert [(pair.left, pair.right) for pair in fingerprints.near(many, changed)] == [(7, 0)]


def test_two_crops_of_one_texture_are_no_duplicates() -> None:
    whole = picture(3, side=512)
    corners = [(0, 0), (256, 0), (0, 256), (256, 256), (100, 130)]
    crops = [grey(whole.crop((x, y, x + 128, y + 128))) for x, y in corners]
    assert fingerprints.near(fingerprints.stack(crops[:2]), fingerprints.stack(crops[2:])) == []


def test_plain_grey_is_a_duplicate_of_nothing() -> None:
    flat = fingerprints.stack([bytes([120] * 1024)])
    assert fingerprints.near(flat, flat) == []


def test_hashes_of_unrelated_pictures_are_far_apart_and_blocks_lose_no_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (700, 32, 32), dtype=np.uint8)
    monkeypatch.setattr(fingerprints, "_IN_CACHE", 1000)  # one row at a time
    found = fingerprints.near(noise, noise)
    assert [(pair.left, pair.right) for pair in found] == [(i, i) for i in range(700)]


def part(
    folder: Path, dataset: str, split: str, images: dict[str, Image.Image], **meta: str
) -> Part:
    records = []
    for name, image in images.items():
        path = folder / dataset / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        records.append(Sample(id=f"{split}/{name}", images=(path,), target={}, meta=meta))
    return Part(dataset=dataset, split=split, records=records)  # type: ignore[arg-type]


def find(train: list[Part], held_out: list[Part]) -> leaks.Leaks:
    return leaks.find(train, held_out, progress=lambda items, *, label, total: items)


def test_leaks_are_found_across_data_sets(tmp_path: Path) -> None:
    train = part(tmp_path, "a", "train", {"1.png": picture(1), "2.png": picture(2)}, event="flood")
    test = part(
        tmp_path,
        "b",
        "test",
        {"x.png": encoded(picture(2), 80), "y.png": picture(9)},
        event="flood",
    )
    (shared,) = find([train], [test]).images
    assert (shared.kind, shared.train, shared.held_out) == ("near duplicate", "a train", "b test")
    assert Path(shared.train_image).name == "2.png"
    assert Path(shared.held_out_image).name == "x.png"
    (ground,) = find([train], [test]).grounds
    assert (ground.key, ground.value) == ("event", "flood")
    assert (ground.train, ground.held_out) == ({"a train": 2}, {"b test": 2})


def test_a_copy_of_a_plain_image_is_found_by_its_bytes(tmp_path: Path) -> None:
    water = Image.new("RGB", (64, 64), (10, 30, 60))
    train = part(tmp_path, "a", "train", {"1.png": water})
    test = part(tmp_path, "a", "test", {"2.png": water})
    (shared,) = find([train], [test]).images
    assert shared.kind == "same file"


def test_an_unreadable_image_is_named_and_not_compared(tmp_path: Path) -> None:
    train = part(tmp_path, "a", "train", {"1.png": picture(1)})
    test = part(tmp_path, "a", "test", {"2.png": picture(1)})
    Path(str(test.records[0].images[0])).write_bytes(b"")
    found = find([train], [test])
    assert found.unreadable.count == 1
    assert found.images == ()


def test_a_second_look_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = part(tmp_path, "a", "train", {"1.png": picture(1)})
    test = part(tmp_path, "a", "test", {"2.png": picture(1)})
    first = find([train], [test])
    monkeypatch.setattr(fingerprints, "thumbnail", None)
    assert find([train], [test]) == first


def test_training_loses_what_is_shared_and_nothing_else(tmp_path: Path) -> None:
    train = part(tmp_path, "a", "train", {"1.png": picture(1), "2.png": picture(2)})
    test = part(tmp_path, "a", "test", {"3.png": picture(2)})
    out = leaks.left_out(find([train], [test]), events=False)
    (tmp_path / "out.json").write_text(out.as_json())
    kept = LeftOut.read(tmp_path / "out.json").keep(train.records)
    assert [record.id for record in kept] == ["train/1.png"]


def test_events_are_left_out_only_if_asked_for(tmp_path: Path) -> None:
    train = part(tmp_path, "a", "train", {"1.png": picture(1)}, event="flood")
    other = part(tmp_path, "c", "train", {"1.png": picture(5)}, event="fire")
    test = part(tmp_path, "b", "test", {"2.png": picture(2)}, event="flood")
    found = find([train, other], [test])
    records = [*train.records, *other.records]
    assert len(leaks.left_out(found, events=False).keep(records)) == 2
    kept = leaks.left_out(found, events=True).keep(records)
    assert [record.meta["event"] for record in kept] == ["fire"]


def test_a_run_says_how_many_samples_it_leaves_out(toy: Path) -> None:
    plan = dry_run(toy, "--deduplicate")
    (name, find_) = plan["tasks"]
    assert (name["samples"]["train"], name["deduplicated"]) == (2, 1)
    assert (find_["samples"]["train"], find_["deduplicated"]) == (2, 1)
    assert dry_run(toy)["tasks"][0]["samples"]["train"] == 3


def test_set_wins_over_the_flag(toy: Path) -> None:
    plan = dry_run(toy, "--deduplicate", "--set", "deduplicate=off")
    assert plan["tasks"][0]["samples"]["train"] == 3


def test_leaks_can_fail(toy: Path) -> None:
    flags = ["data", "leaks", "toy", "--data", str(toy / "eo"), "--json"]
    done = geovlm(*flags, "--fail", folder=toy)
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["images"]) == 1
    assert geovlm(*flags, folder=toy).returncode == 0


def test_stats_count_answers_tokens_and_shares(toy: Path) -> None:
    done = geovlm(
        *["data", "stats", "toy", "--data", str(toy / "eo"), "--model", "qwen2_5_vl", "--json"],
        *["--set", "tasks.toy/find.min_pixels=200704", "--set", "tasks.toy/find.weight=3"],
        folder=toy,
    )
    assert done.returncode == 0, done.stderr
    name, find_ = json.loads(done.stdout)["tasks"]
    assert name["samples"] == {"train": 3, "test": 3}
    assert name["balance"] == {"labels": {"water": 3}}
    assert name["visual_tokens"]["median"] == 4  # 56 x 56 px
    assert find_["visual_tokens"]["median"] == 256  # raised to 448 x 448 px
    assert find_["sizes"] == {"56x56 as 448x448": 3}
    assert (name["rows_share"], find_["rows_share"]) == (0.25, 0.75)
    text = name["text_tokens"]["mean"]
    wanted = 3 * (256 + text) / (3 * (256 + text) + 4 + text)
    assert find_["compute_share"] == pytest.approx(wanted, abs=1e-3)


def dry_run(folder: Path, *options: str) -> dict:
    done = geovlm(
        *["run", "--tasks", "toy", "--data", str(folder / "eo"), "--dry-run", "--json"],
        *[*options, "--output", str(folder / "run")],
        folder=folder,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """The toy plugin with three samples per split, of which one is in both under two names."""
    install(tmp_path, "toy", TOY)
    root = tmp_path / "eo" / "Toy_v1"
    assert geovlm("data", "sample", "toy", "--out", str(root), "-n", "3", folder=tmp_path).stdout
    for number in range(3):
        picture(number, side=56).save(root / "train" / f"{number}.png")
        picture(10 + number, side=56).save(root / "test" / f"{number}.png")
    shutil.copy(root / "train" / "1.png", root / "test" / "2.png")
    return tmp_path
