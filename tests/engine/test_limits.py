"""Image processors that cut images, beside boxes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from geovlm.engine.models import limits
from geovlm.errors import ConfigError


def test_boxes_of_a_processor_that_cuts_images_to_a_square_are_refused() -> None:
    with pytest.raises(ConfigError, match="llava cannot have boxes"):
        limits.require_whole(SimpleNamespace(do_center_crop=True), boxed=True, name="llava")


def test_tasks_without_boxes_may_have_such_a_processor() -> None:
    limits.require_whole(SimpleNamespace(do_center_crop=True), boxed=False, name="llava")


def test_a_processor_that_shows_the_whole_image_may_have_boxes() -> None:
    limits.require_whole(SimpleNamespace(do_center_crop=False), boxed=True, name="gemma-3")
    limits.require_whole(SimpleNamespace(do_resize=True), boxed=True, name="gemma-3")
