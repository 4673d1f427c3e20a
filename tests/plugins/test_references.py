"""References of specs: the object itself, or what a string names."""

from __future__ import annotations

import pytest

from geovlm.errors import PluginUnavailableError
from geovlm.plugins.references import resolve


def test_an_object_resolves_to_itself() -> None:
    assert resolve(len) is len


def test_a_reference_resolves_to_what_it_names() -> None:
    assert resolve("os.path:join") is __import__("os").path.join


def test_a_reference_into_a_missing_module_names_itself() -> None:
    with pytest.raises(PluginUnavailableError, match="reference 'not_there:x' cannot be imported"):
        resolve("not_there:x")


def test_a_reference_to_a_missing_attribute_names_itself() -> None:
    with pytest.raises(PluginUnavailableError, match="reference 'os:nothing' points to nothing"):
        resolve("os:nothing")
