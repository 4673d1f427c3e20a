from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from geovlm.errors import DatasetNotFoundError
from geovlm.plugins.registry import Registry
from geovlm.testing.kit import RULES, Kit
from tests.conforming_plugin import changed, install_toy
from tests.inside import geovlm

IMAGE = 'image.save(root / split / f"{i:03d}.png")'


def test_a_sample_that_changes_with_the_same_seed_is_named(broken) -> None:
    noted = '    import os\n    (root / "note").write_bytes(os.urandom(16))\n    chance = '
    assert broken(changed("    chance = ", noted)) == {
        "sample_deterministic": [
            "make_sample of 'toy' wrote 'note' differently the second time, with the same seed"
        ]
    }


def test_a_layout_that_the_loader_does_not_read_is_named(broken) -> None:
    assert broken(changed('glob("*.json")', 'glob("*.jsonl")')) == {
        "sample_loads": [
            "load of 'toy', split 'train', reads no record of what make_sample wrote",
            "load of 'toy', split 'test', reads no record of what make_sample wrote",
            "task 'toy/name' makes no sample of the records of 'toy'",
            "task 'toy/find' makes no sample of the records of 'toy'",
        ]
    }


def test_a_limit_that_is_ignored_is_named(broken) -> None:
    found = broken(changed("[: ctx.limit]", ""))
    assert list(found) == ["sample_loads"]
    assert found["sample_loads"][0].startswith("load of 'toy', split 'train', yields ['train-0', ")
    assert found["sample_loads"][0].endswith(" with limit=1 instead of the first record")


def test_a_loader_that_raises_is_named_with_its_error(broken) -> None:
    assert broken(changed('row["label"]\n', 'row["lable"]\n')) == {
        "sample_loads": ["load of 'toy', split 'train', raised KeyError: 'lable'"]
    }


def test_an_image_outside_the_folder_is_named(broken) -> None:
    found = broken(changed('path.with_suffix(".png")', '__import__("pathlib").Path("/etc/motd")'))
    assert list(found) == ["sample_loads"]
    assert found["sample_loads"][0] == (
        "record 'train-0' of 'toy' reads /etc/motd, outside its folder"
    )


def test_a_loader_that_takes_an_empty_folder_for_data_is_named(broken) -> None:
    assert broken(changed("if not folder.is_dir():", "if False:")) == {
        "absent_data_named": [
            "load of 'toy', split 'train', accepts an empty folder: raise DatasetNotFoundError "
            "with the file that it looked for"
        ]
    }


def test_a_loader_that_crashes_on_an_empty_folder_is_named(broken) -> None:
    found = broken(changed('DatasetNotFoundError("toy", folder, hint=', "RuntimeError("))
    assert list(found) == ["absent_data_named"]
    assert found["absent_data_named"][0].startswith(
        "load of 'toy', split 'train', raised RuntimeError: "
    )


def test_a_folder_that_is_a_path_is_named(broken) -> None:
    assert broken(changed('"Toy_v1"', '"data/toy"')) == {
        "folders_recognised": ["data set 'toy': folder 'data/toy' is not the bare name of a folder"]
    }


def test_a_loader_that_depends_on_the_folders_name_is_named(broken) -> None:
    code = changed(
        "    for path in sorted",
        '    if ctx.root.name == "toy":\n        return\n    for path in sorted',
    )
    assert broken(code) == {
        "folders_recognised": ["data set 'toy': nothing is read in a folder called 'toy'"]
    }


def test_an_id_that_occurs_in_two_splits_is_named(broken) -> None:
    assert broken(changed('"id": f"{split}-{i}"', '"id": f"{i}"')) == {
        "unique_ids": ["data set 'toy' gives the id '0' to more than one record"]
    }


def test_an_id_that_occurs_twice_in_a_split_is_named(broken) -> None:
    found = broken(changed('"id": f"{split}-{i}"', '"id": split'))
    assert next(iter(found.values())) == [
        "load of 'toy', split 'train', yields record 'train' with an id that an earlier record has"
    ]


def test_a_label_with_a_tag_is_named(broken) -> None:
    found = broken(changed('CLASSES = ["water"', 'CLASSES = ["<answer>"'))
    assert next(iter(found.values()))[0].startswith("load of 'toy', split 'train', yields record")


def test_an_id_that_a_task_gives_twice_is_named(broken) -> None:
    code = changed(
        '    target = {"boxes"', '    yield record\n    yield record\n    target = {"boxes"'
    )
    assert broken(code) == {
        "unique_ids": ["task 'toy/find' gives the id 'train-0' to more than one sample"]
    }


def test_an_image_that_does_not_open_is_named(broken) -> None:
    found = broken(changed(IMAGE, '(root / split / f"{i:03d}.png").write_bytes(b"none")'))
    assert list(found) == ["images_open"]
    assert found["images_open"][0].startswith("record 'train-0' of 'toy': ")


def test_a_box_without_area_is_named(broken) -> None:
    found = broken(changed("[[x, y, x + 30, y + 30]]", "[[7, 9, 7, 30]]"))
    assert list(found) == ["boxes_inside"]
    assert found["boxes_inside"][0] == "record 'train-0' of 'toy': box [7, 9, 7, 30] has no area"


def test_a_box_outside_the_image_is_named(broken) -> None:
    found = broken(changed("[[x, y, x + 30, y + 30]]", "[[60, 60, 80, 85]]"))
    assert list(found) == ["boxes_inside"]
    assert found["boxes_inside"][0] == (
        "record 'train-0' of 'toy': box [60, 60, 80, 85] leaves its image of 112 x 84 px"
    )


def test_a_target_that_json_changes_is_named(broken) -> None:
    found = broken(changed('"vocabulary": CLASSES', '"vocabulary": tuple(CLASSES)'))
    assert list(found) == ["targets_survive_json"]
    assert found["targets_survive_json"][0] == (
        "record 'train-0' of 'toy': its target['vocabulary'] changes when written as JSON: use "
        "lists and numbers"
    )


def test_a_target_that_is_no_json_is_named(broken) -> None:
    found = broken(changed('"boxes": row["boxes"]}', '"boxes": row["boxes"], "x": 1j}'))
    assert list(found) == ["targets_survive_json"]
    assert found["targets_survive_json"][0].startswith(
        "record 'train-0' of 'toy': its target is not JSON: "
    )


UNMADE = changed("        make_sample=make_sample,\n", "")


def without_generator(known: Registry) -> Registry:
    unmade = dataclasses.replace(known.dataset("toy"), make_sample=None)
    return dataclasses.replace(known, datasets={**known.datasets, "toy": unmade})


def test_a_data_set_without_generated_data_is_checked_on_eight_real_records(toy, tmp_path) -> None:
    subject = toy().subject
    made = subject.roots["toy"]
    kit = Kit("toy", registry=without_generator(subject.registry), data=made)
    quick = [kit.outcome(rule) for rule in RULES if rule.name != "light_import"]
    assert {each.result for each in quick} == {"ok"}
    (loads,) = (each for each in quick if each.rule == "sample_loads")
    assert loads.line() == f"data set 'toy' has no make_sample: 8 records of {made} read"


def test_a_common_folder_and_a_copy_without_a_split_will_do(toy, tmp_path) -> None:
    made = (whole := toy().subject).roots["toy"]
    (tmp_path / "eo").mkdir()
    made.rename(tmp_path / "eo" / "Toy_v1")
    shutil.rmtree(tmp_path / "eo" / "Toy_v1" / "test")
    unmade = without_generator(whole.registry)
    subject = Kit("toy", registry=unmade, data=tmp_path / "eo").subject
    assert {split: len(many) for split, many in subject.records["toy"].items()} == {
        "train": 4,
        "test": 0,
    }


def test_without_generated_and_real_data_nothing_is_checked(toy) -> None:
    kit = toy(UNMADE)
    with pytest.raises(DatasetNotFoundError, match=r"give a folder of real data by --data DIR"):
        list(kit.outcomes())


def test_commands_name_what_a_data_set_without_generated_data_needs(tmp_path: Path) -> None:
    install_toy(tmp_path, UNMADE)
    sample = geovlm("data", "sample", "toy", "--out", "made", folder=tmp_path)
    run = geovlm("run", "--tasks", "toy", "--dry-run", folder=tmp_path)
    assert sample.returncode == run.returncode == 2
    assert (
        sample.stderr == "error: data set 'toy' has no generated data (there are only real ones)\n"
    )
    assert "'toy' has no generated data (give real ones: --data toy=DIR)" in run.stderr
    checked = geovlm("plugins", "check", "toy", folder=tmp_path)
    assert checked.returncode == 2
    assert checked.stderr.startswith("error: ")
    assert len(checked.stderr.splitlines()) == 1
