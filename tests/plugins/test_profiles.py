from __future__ import annotations

import json

import pytest

from geovlm.api import ModelProfile
from geovlm.plugins import profiles


def test_families_are_found_by_model_type() -> None:
    assert profiles.find("qwen2_5_vl") is profiles.QWEN2_5_VL
    assert profiles.find("qwen3_vl_moe") is profiles.QWEN3_VL


def test_an_unknown_family_has_no_profile() -> None:
    assert profiles.find("earth_vl") is None


def test_no_model_type_has_two_profiles() -> None:
    types = [kind for profile in profiles.BUILTIN for kind in profile.model_types]
    assert len(types) == len(set(types))


@pytest.mark.parametrize("profile", profiles.BUILTIN, ids=lambda profile: profile.name)
def test_a_built_in_profile_names_no_module_of_its_models(profile: ModelProfile) -> None:
    assert (profile.vision_module, profile.lora_targets) == (None, None)


@pytest.mark.parametrize(
    ("profile", "size"),
    [
        (profiles.QWEN2_5_VL, 28),
        (profiles.QWEN2_VL, 28),
        (profiles.QWEN3_VL, 32),
        (profiles.QWEN3_5, 32),
        (profiles.GLM_V, 28),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_pixel_limits_are_whole_numbers_of_tokens(profile: object, size: int) -> None:
    assert profile.size_factor == size  # type: ignore[attr-defined]
    assert profile.min_pixels % size**2 == 0  # type: ignore[attr-defined]
    assert profile.max_pixels % size**2 == 0  # type: ignore[attr-defined]


def test_a_record_says_in_which_frame_its_boxes_are() -> None:
    mine = ModelProfile(
        name="mine", model_types=("mine",), box_frame="norm100", box_order="yxyx", box_angle=True
    )
    again = profiles.of_record(json.loads(json.dumps(profiles.to_record(mine))))
    assert again is not None
    assert (again.box_frame, again.box_order, again.box_angle) == ("norm100", "yxyx", True)


def test_the_frame_of_a_record_comes_before_that_of_the_family() -> None:
    made = profiles.of_record({"profile": "qwen2.5-vl", "box_frame": "norm1"})
    assert made is not None and made.box_frame == "norm1"


@pytest.mark.parametrize("name", ["qwen2.5-vl", "qwen2-vl"])
def test_a_record_without_a_frame_has_that_of_its_family(name: str) -> None:
    made = profiles.of_record({"profile": name})
    assert made is not None and made.name == name


@pytest.mark.parametrize(
    "record", [{}, {"profile": "mine"}, {"profile": "mine", "box_frame": ["x"]}], ids=str
)
def test_a_record_that_names_no_frame_has_no_profile(record: dict[str, object]) -> None:
    assert profiles.of_record(record) is None
