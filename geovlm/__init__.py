"""GeoVLM: post-train vision-language models on Earth-observation tasks, one plugin per task."""

from __future__ import annotations

import pluggy

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("geovlm")
"""Marks a function of a plugin as the implementation of the hook of the same name."""
