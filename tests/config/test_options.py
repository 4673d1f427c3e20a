"""Tables are found by a name or its prefix; wrong options are answered with a suggestion."""

from __future__ import annotations

from typing import Literal

import pytest

from geovlm.api import options
from geovlm.config.options import lookup, parse
from geovlm.errors import ConfigError


def test_a_prefix_answers_for_its_children():
    table = {"xbd": 1, "xbd/detect": 2}
    assert (lookup(table, "xbd/detect"), lookup(table, "xbd/refer")) == (2, 1)
    assert lookup(table, "rsvqa/lr") is None


@options
class Sides:
    """Options of nothing."""

    side: Literal["left", "right"] = "left"
    width: int = 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sid": "left"}, r"o\.sid: .*did you mean 'side'\?"),
        ({"side": "rigth"}, r"o\.side: .*did you mean 'right'\?"),
        ({"width": "wide"}, r"o\.width: .*it is 'wide'"),
    ],
)
def test_a_wrong_option_is_answered_by_its_key_or_by_its_value(given, message) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(Sides, given, path="o")
