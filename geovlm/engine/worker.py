"""Runs one stage in this process: `python -m geovlm.engine.worker --run DIR --stage N [--resume]`.

Exit status 0: done, or stopped on request, with one line `stopped: …` on standard error. 2: the
request was impossible, 1: the work failed; both end with one line `error: …`. Anything else is a
bug, with its traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

from geovlm.config import extras
from geovlm.config.schema import RunConfig
from geovlm.errors import GeoVLMError
from geovlm.run.folder import RunDir


def main(argv: list[str] | None = None) -> int:
    """Run one stage; returns the exit status."""
    parser = argparse.ArgumentParser(prog="geovlm.engine.worker")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--stage", required=True, help="a number, or eval")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args(argv)
    run = RunDir(args.run)
    with lean_imports(run):
        from geovlm.engine import work  # torch, transformers, TRL

    return work.main(run, stage=args.stage, resume=args.resume)


@contextlib.contextmanager
def lean_imports(run: RunDir) -> Iterator[None]:
    """Import without garbage collections, and without bitsandbytes unless a stage may use it.

    Collections would walk over a growing heap; afterwards they skip what was imported. peft imports
    bitsandbytes wherever it is installed; afterwards a plugin can import it. A process that imports
    the work of a stage, loads nano and ends takes 12.6 s of CPU as it is, 9.6 s without collections
    and 8.4 s without bitsandbytes too (medians of five, in turns).
    """
    hidden = False
    with contextlib.suppress(GeoVLMError, ValueError):  # the work reports what is wrong with a file
        config = RunConfig.model_validate(run.read_resolved()["config"])
        hidden = "bitsandbytes" not in sys.modules and not extras.may_use_bitsandbytes(config)
    if hidden:
        sys.modules["bitsandbytes"] = None  # type: ignore[assignment]
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
        if hidden:
            del sys.modules["bitsandbytes"]


if __name__ == "__main__":
    sys.exit(main())
