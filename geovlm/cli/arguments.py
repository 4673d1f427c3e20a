"""Arguments of several commands, read the same way everywhere."""

from __future__ import annotations

import json

from geovlm.api import Json
from geovlm.errors import ConfigError


def pair(text: str) -> tuple[str, Json]:
    """Return the key and value of `K=V`; a value that is no JSON is a string.

    Raises:
        ConfigError: there is no `=`, or nothing before it.
    """
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ConfigError(f"--option {text!r} is not of the form K=V", hint="such as hbb=drop")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value
