from __future__ import annotations

from geovlm.testing import parametrize_with_checks


@parametrize_with_checks("earthdial")
def test_conforms(check):
    check()
