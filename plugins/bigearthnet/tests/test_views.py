"""Several images of one patch: what they show, in which order, and what the question says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from geovlm_bigearthnet import tasks

from geovlm import raster, raster_checks, registry
from geovlm.engine.data import to_row
from geovlm.errors import DataError

FOUR = ("true_colour", "infrared", "swir", "ndvi")


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
        "short-wave infrared, in which vegetation is green and bare soil is red or brown. Fourth "
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
    row = to_row(patch, task=loaded.task("bigearthnet"), profile=profile, instruction="Think.")
    images = [raster.open_image(raster.decode(json.loads(each))) for each in row.images]
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
            assert raster_checks.suspicions(sample.images[0]) == ()
