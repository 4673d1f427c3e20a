from __future__ import annotations

import pytest

from geovlm.errors import UnknownNameError
from geovlm.plugins import families, profiles, registry


def test_the_model_types_with_images_are_those_of_transformers() -> None:
    auto = pytest.importorskip("transformers.models.auto.modeling_auto")
    known = set(auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    assert {name for name in known if families.is_chat_type(name)} == known - set(families.REFUSED)


@pytest.mark.parametrize("model_type", ["mistral3", "ovis2", "aria"])
def test_a_chat_model_of_transformers_without_a_profile_gets_the_generic_one(
    model_type: str,
) -> None:
    found = registry.load().profile(model_type)
    assert found.model_types == (model_type,)
    assert (found.box_frame, found.resize) == (None, "processor")


@pytest.mark.parametrize("profile", profiles.BUILTIN, ids=lambda profile: profile.name)
def test_transformers_has_every_model_type_of_a_built_in_profile(profile: object) -> None:
    types = profile.model_types  # type: ignore[attr-defined]
    assert [name for name in types if not families.is_chat_type(name)] == []


@pytest.mark.parametrize(
    ("model_type", "said"),
    [
        ("internvl_chat", "OpenGVLab/InternVL3_5-8B-HF"),
        ("minicpmv", "MiniCPM-V-4.6"),
        ("llava_qwen", "llava-onevision-qwen2-7b-ov-hf"),
        ("paligemma", "has no chat template"),
        ("qwen3", "takes text alone"),
        ("abacus", "no model of images and text of the installed transformers"),
        ("", "is not stated"),
    ],
    ids=lambda value: str(value).partition(" ")[0],
)
def test_a_model_type_without_a_profile_is_refused_with_the_way_out(
    model_type: str, said: str
) -> None:
    with pytest.raises(
        UnknownNameError, match=f"no model profile for model type '{model_type}'"
    ) as it:
        registry.load().profile(model_type)
    assert said in str(it.value)


def test_a_checkpoint_with_code_of_its_own_is_named_as_such() -> None:
    with pytest.raises(UnknownNameError, match="code that comes with the checkpoint") as it:
        registry.load().profile("earth_vl", own_code=True)
    assert "named with -hf" in str(it.value)


def test_code_of_its_own_beside_a_class_of_transformers_is_no_reason() -> None:
    assert registry.load().profile("molmo2", own_code=True).model_types == ("molmo2",)
