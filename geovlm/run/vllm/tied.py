"""Starts a program that gets SIGTERM when its parent ends: `python tied.py PARENT WORDS...`.

The kernel sends it (Linux), so it comes also where the parent was killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


def main(words: list[str]) -> None:
    """Become the program `words[1:]`, tied to the parent with the process id `words[0]`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != int(words[0]):  # it ended before
        return
    os.execv(words[1], words[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
