"""The conformance kit for plugin authors.

In the plugin's `tests/test_conformance.py`::

    from geovlm.testing import parametrize_with_checks

    @parametrize_with_checks("floods")  # the entry point's name, or the module that it names
    def test_conforms(check):
        check()

or `geovlm plugins check floods`. Every rule is one test; a failure is one sentence per fault and
names the file to change. Data come from the plugin's own `make_sample`; for a data set without it
at most 8 real records are read, see `data`. No model is needed. A rule is skipped while another
one, which it names, does not hold.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def parametrize_with_checks(
    plugin: str | ModuleType, *, data: str | Path | None = None
) -> pytest.MarkDecorator:
    """Return the decorator that calls a test with each check of an installed plugin as `check`.

    Args:
        plugin: name of its entry point, or the module that this names.
        data: folder of real data, of which a few records are read, for data sets without
            `make_sample`; default: the `root` of the data set.
    """
    import pytest

    from geovlm.testing.kit import checks

    return pytest.mark.parametrize(
        "check",
        checks(plugin, data=Path(data) if data is not None else None),
        ids=lambda each: each.rule.name,
    )
