"""The process of a tracker: `python -m geovlm.engine.tracking.main --run DIR --tracker NAME`.

Standard input holds nothing until the run ends, then one word: `done`, `failed` or `stopped`; an
end without a word means that the run was killed. With `--check` nothing is sent: exit status 2 and
a last line `error: …` on standard error refuse the tracker. Exit status 3: something is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from geovlm.engine.tracking import backends, checks
from geovlm.engine.tracking.backends import End
from geovlm.engine.tracking.follow import Follower
from geovlm.errors import GeoVLMError
from geovlm.run.folder import RunDir

MISSING = 3
"""Exit status of a tracker that has not got everything."""


def main(argv: list[str] | None = None) -> int:
    """Check or follow; returns the exit status."""
    parser = argparse.ArgumentParser(prog="geovlm.engine.tracking.main")
    parser.add_argument("--tracker", required=True, choices=sorted(backends.BACKENDS))
    parser.add_argument("--run", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args(argv)
    if args.check:
        try:
            checks.check(args.tracker)
        except GeoVLMError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            return error.exit_code
        return 0
    # the run's process tells the end; a batch system and a terminal send signals to all
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    say = _keep_output(backends.folder(args.run) / f"{args.tracker}.txt")
    backend = backends.BACKENDS[args.tracker]
    follower = Follower(RunDir(args.run), args.tracker, backend, say=say)
    return 0 if follower.follow(_wait_for_end) else MISSING


def _wait_for_end(seconds: float) -> End | None:
    """Wait, at most some seconds, for the run's end; returns how it ended, or `None`."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    if not ready:
        return None
    word = sys.stdin.readline().strip()
    return "done" if word == "done" else "failed" if word == "failed" else "stopped"


def _keep_output(path: Path) -> Callable[[str], None]:
    """Send what the tracker's package prints to a file; returns what prints to the terminal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.close(file)

    def say(line: str) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone, the run may go on
            own.write(f"{line}\n")
            own.flush()

    return say


if __name__ == "__main__":
    sys.exit(main())
