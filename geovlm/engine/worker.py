"""The process of one stage: `python -m geovlm.engine.worker --run DIR --stage N [--resume]`.

Exit status 0: done, or stopped as asked, with one line `stopped: …` on standard error. 2: the
request was impossible, 1: the work failed; both end with one line `error: …`. Anything else is a
bug, with its traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from geovlm.config import extras
from geovlm.config.schema import RunConfig
from geovlm.engine.collecting import imports, leave
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
    with sparing_bitsandbytes(run), imports():
        from geovlm.engine import work  # torch, transformers, TRL

    return work.main(run, stage=args.stage, resume=args.resume)


@contextlib.contextmanager
def sparing_bitsandbytes(run: RunDir) -> Iterator[None]:
    """Let imports not find bitsandbytes where no stage of the run has a use for it.

    peft imports it wherever it is installed, a fifth of all that a stage imports. Afterwards it can
    be imported as ever: a plugin may have a use of its own.
    """
    spared = False
    with contextlib.suppress(GeoVLMError, ValueError):  # the work says what is wrong with a file
        config = RunConfig.model_validate(run.read_resolved()["config"])
        spared = "bitsandbytes" not in sys.modules and not extras.may_use_bitsandbytes(config)
    if spared:
        sys.modules["bitsandbytes"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if spared:
            del sys.modules["bitsandbytes"]


if __name__ == "__main__":
    leave(main())
