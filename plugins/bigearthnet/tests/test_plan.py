"""A run refuses a copy of BigEarthNet whose bands have changed places."""

from __future__ import annotations

import shutil

import pytest

from geovlm.config.schema import RunConfig
from geovlm.errors import DataError
from geovlm.plan import build
from geovlm.plugins import registry


@pytest.fixture
def planned(tmp_path):
    """Plan an evaluation of the real patches, copied with some files renamed."""

    def make(source, renamed):
        shutil.copytree(source / "BigEarthNet-v1.0", tmp_path / "BigEarthNet-v1.0")
        for folder in (tmp_path / "BigEarthNet-v1.0").iterdir():
            for old, new in renamed.items():
                path = folder / f"{folder.name}_{old}.tif"
                path.rename(folder / f"{folder.name}_{new}.tif.new")
            for path in folder.glob("*.new"):
                path.rename(path.with_suffix(""))
        config = RunConfig.model_validate(
            {
                "tasks": {"bigearthnet": {}},
                "data": {
                    "bigearthnet": {"root": tmp_path, "options": {"split_by": "hash"}},
                },
                "eval": {"split": "train"},
            }
        )
        return build.make(config, registry=registry.load(), output=tmp_path / "run")

    return make


def test_real_patches_are_accepted(realdata, planned):
    assert planned(realdata / "BigEarthNet_v1", {}).tasks[0].samples["train"] == 4


def test_real_patches_with_exchanged_bands_are_refused(realdata, planned):
    with pytest.raises(DataError, match=r"_B02\.tif: .*B04 and .*B08.*\(as in \d more of 4 images"):
        planned(realdata / "BigEarthNet_v1", {"B04": "B08", "B08": "B04"})
