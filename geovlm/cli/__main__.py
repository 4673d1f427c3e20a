"""`python -m geovlm.cli`: the same as the command `geovlm`."""

from __future__ import annotations

from geovlm.cli import main

main()
