from __future__ import annotations

from geovlm.testing import parametrize_with_checks


@parametrize_with_checks("change")
def test_conforms(check):
    check()
