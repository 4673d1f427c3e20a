"""Follows references: `"module:attribute"` -> the object, imported on first use."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any, TypeVar

from geovlm.api import Ref
from geovlm.errors import PluginUnavailableError
from geovlm.plugins.guard import stdout_to_stderr

T = TypeVar("T")

BUGS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors that count as a bug of a plugin; a service that its function calls raises an `OSError`."""


def resolve(ref: Ref[T]) -> T:
    """Return the object itself, or the one that `"module:attribute"` names, imported.

    Raises:
        PluginUnavailableError: the reference points to nothing; names it.
    """
    return _imported(ref) if isinstance(ref, str) else ref


@lru_cache
def _imported(ref: str) -> Any:
    module, _, attribute = ref.partition(":")
    try:
        with stdout_to_stderr():
            holder = import_module(module)
    except ImportError as error:
        raise PluginUnavailableError(
            f"reference {ref!r} cannot be imported: {type(error).__name__}: {error}",
            hint="install what is missing, or fix the reference in the plugin",
        ) from error
    if attribute not in vars(holder):
        raise PluginUnavailableError(
            f"reference {ref!r} points to nothing: {module} has no {attribute!r}",
            hint="fix the reference in the plugin",
        )
    return vars(holder)[attribute]
