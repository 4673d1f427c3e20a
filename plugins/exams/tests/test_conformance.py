from __future__ import annotations

from geovlm.testing import parametrize_with_checks


@parametrize_with_checks("exams")
def test_conforms(check):
    check()
