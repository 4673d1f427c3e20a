"""The common main function of programs: arguments in, exit status out."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence

from transformers.utils import logging as transformers_logging

from geovlm.errors import GeoVLMError


def run(
    work: Callable[[argparse.Namespace], None], *names: str, argv: Sequence[str] | None = None
) -> int:
    """Parse the required arguments `names` and do the work; returns the exit status of the process.

    An expected error becomes one line `error: …` on standard error and its exit code; any other one
    keeps its traceback.
    """
    parser = argparse.ArgumentParser()
    for name in names:
        parser.add_argument(name, required=True)
    args = parser.parse_args(argv)
    quiet_libraries()
    try:
        work(args)
    except GeoVLMError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


def quiet_libraries() -> None:
    """Turn off the progress bars and warnings of transformers."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    # of the ranks of fused experts, which peft 0.21 compares with the names of modules alone
    warnings.filterwarnings("ignore", message=".*rank_pattern keys did not match", module="peft")
