"""Several images of one patch: what they show, in which order, and what the question says."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from geovlm_bigearthnet import BigEarthNetOptions, View, tasks

from geovlm import raster
from geovlm.api import options
from geovlm.data import preview
from geovlm.data.prompts import Prompter
from geovlm.engine.rows.rows import to_row
from geovlm.errors import DataError
from geovlm.plugins import registry
from geovlm.raster import checks, reference
from geovlm.testing.kit import RULES, Kit

FOUR = ("true_colour", "infrared", "swir", "ndvi")


@options
class FourViews(BigEarthNetOptions):
    views: tuple[View, ...] = FOUR
    """As `BigEarthNetOptions.views`."""


@pytest.fixture(scope="module")
def kit():
    """The conformance kit on the plugin as it is with four views."""
    loaded = registry.load()
    spec = replace(loaded.dataset("bigearthnet"), options=FourViews)
    return Kit("bigearthnet", registry=replace(loaded, datasets={"bigearthnet": spec}))


@pytest.fixture
def patch(miniature, read):
    return read(miniature, limit=1, views=FOUR)[0][0]


def stored(image, band):
    with rasterio.open(image.files[band]) as file:
        return file.read(1).astype(float)


def test_one_patch_is_several_images_in_the_order_of_the_option(patch):
    assert [image.bands for image in patch.images] == [
        ("B04", "B03", "B02"),
        ("B08", "B04", "B03"),
        ("B12", "B8A", "B04"),
        ("NDVI", "NDVI", "NDVI"),
    ]


def test_the_declared_sizes_are_those_of_the_images(patch):
    assert patch.image_sizes == ((120, 120), (120, 120), (60, 60), (120, 120))
    assert tuple(raster.open_image(image).size for image in patch.images) == patch.image_sizes


def test_ndvi_is_grey_from_minus_one_to_one(patch):
    image = patch.images[3]
    nir, red = stored(image, "B08"), stored(image, "B04")
    expected = ((nir - red) / (nir + red) + 1) / 2 * 255
    shown = np.asarray(raster.open_image(image), float)
    assert np.abs(shown - expected[..., None]).max() <= 1  # rounding, in float32


def test_the_near_infrared_has_a_range_of_its_own(patch):
    image = patch.images[1]
    expected = np.clip(stored(image, "B08") / 5000 * 255, 0, 255)
    assert np.abs(np.asarray(raster.open_image(image), float)[..., 0] - expected).max() <= 1


def test_the_question_says_which_image_shows_what(patch, prompt_ctx):
    question = tasks.prompt(patch, prompt_ctx()).question
    assert question.startswith(
        "The images show the same place at the same time. First image: true colour. Second image: "
        "false colour infrared, in which vegetation is red and water is dark. Third image: "
        "short-wave infrared, in which vegetation is green, bare soil pink and snow blue. Fourth "
        "image: vegetation index NDVI, in which black is -1, white is 1 and dense vegetation is "
        "bright. Which land-cover classes are present?"
    )


def test_a_single_image_in_true_colour_needs_no_words(miniature, read, prompt_ctx):
    sample = read(miniature, limit=1)[0][0]
    assert tasks.prompt(sample, prompt_ctx()).question.startswith("Which land-cover classes")


def test_a_single_index_is_named(miniature, read, prompt_ctx):
    sample = read(miniature, limit=1, views=("ndwi",))[0][0]
    assert tasks.prompt(sample, prompt_ctx()).question.startswith("The image is water index NDWI")


def test_bands_of_ones_own_are_listed_beside_another_view(miniature, read, prompt_ctx):
    views = ("true_colour", "bands")
    sample = read(miniature, limit=1, views=views, bands=("B11", "B08", "B02"))[0][0]
    question = tasks.prompt(sample, prompt_ctx()).question
    assert "Second image: bands B11, B08, B02 as red, green, blue. " in question


def test_a_training_row_has_all_images_and_their_sizes(patch):
    loaded = registry.load()
    profile = loaded.profile("qwen2_5_vl")
    prompt = Prompter(loaded.task("bigearthnet"), profile=profile).prompt(patch)
    row = to_row(prompt, instruction="Think.")
    images = [raster.open_image(reference.decode(json.loads(each))) for each in row.images]
    assert [image.size for image in images] == list(row.image_sizes) == list(patch.image_sizes)
    assert [min(size) for size in row.input_sizes] == [448] * 4


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"views": ()}, "views is empty"),
        ({"views": ("ndvi", "ndvi")}, "names one twice"),
        ({"views": ("ndvi",), "bands": ("B08", "B04", "B03")}, "in none of the views"),
    ],
)
def test_options_that_contradict_each_other_are_refused(miniature, read, options, reason):
    with pytest.raises(DataError, match=reason):
        read(miniature, **options)


def test_a_patch_without_a_file_of_a_view_is_left_out_when_asked(second, read):
    skipped = read(second, "test", check_files=True, views=("ndvi",))[1]
    assert skipped == {"band file missing": 1}


def test_generated_patches_are_physically_plausible(miniature, read):
    for split in ("train", "val", "test"):
        for sample in read(miniature, split)[0]:
            assert checks.suspicions(sample.images[0]) == ()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_four_views_pass_the_conformance_kit(kit, rule):
    outcome = kit.outcome(rule)
    assert outcome.result == "ok", outcome.told()


def test_the_kit_has_seen_four_images(kit):
    (sample, *_) = kit.subject.chosen["bigearthnet"]
    assert len(sample.images) == 4


def test_the_preview_shows_every_image(patch):
    loaded = registry.load()
    profile = loaded.profile("qwen2_5_vl")
    prompter = Prompter(loaded.task("bigearthnet"), profile=profile)
    one = preview.draw(prompter.prompt(replace(patch, images=patch.images[:1])), profile=profile)
    four = preview.draw(prompter.prompt(patch), profile=profile)
    assert four.height > one.height + 3 * preview.PANEL_PX
