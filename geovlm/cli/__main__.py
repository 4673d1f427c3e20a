"""Runs the command `geovlm` by `python -m geovlm.cli`."""

from __future__ import annotations

from geovlm.cli import main

main()
