from __future__ import annotations

from geovlm.testing import parametrize_with_checks


@parametrize_with_checks("vhr10")
def test_conforms(check):
    check()
