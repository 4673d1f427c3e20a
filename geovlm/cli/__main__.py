"""Runs the command `geovlm` by `python -m geovlm.cli`."""

from __future__ import annotations

import os
import sys

from geovlm.cli import main

if not sys.flags.safe_path:
    # `python -m` imports from the working folder first, where many repositories have a package
    # `datasets`; the command and the processes that it starts must be of one installation
    os.execv(sys.executable, [sys.executable, "-P", *sys.orig_argv[1:]])
main()
