"""What a disk refused: the reasons for which nothing more can be written, out of an exception."""

from __future__ import annotations

import errno
import os
import re

REFUSALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""Numbers of errors that only a write can meet: no space, quota, largest file size, read-only."""
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""How safetensors, which is Rust, reports an `OSError`."""
_TORCH = re.compile(r"iostream error|PytorchStreamWriter failed|unexpected pos|file write failed")
"""How `torch.save` reports it; it does not say why."""


def refusal(error: BaseException | None) -> str | None:
    """Return why something could not be written, `None` if that is not what went wrong.

    What an exception was raised from, or while handling, is searched too: `torch.save` hides the
    system's error behind its own.
    """
    hidden = None
    while error is not None:
        found = _OS_ERROR.search(str(error))
        number = error.errno if isinstance(error, OSError) else int(found[1]) if found else None
        if number in REFUSALS:
            named = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
            return f"{os.strerror(number)}{named}"
        if _TORCH.search(str(error)):
            hidden = "a file could not be written to its end; is the disk full?"
        error = error.__cause__ or error.__context__
    return hidden
