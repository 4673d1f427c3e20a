"""Ends a stage's process early: on request, without its launcher, or when a reward hangs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from geovlm.api import RewardContext
from geovlm.run.process import LIFELINE_VARIABLE

_POLL_S = 0.5


@dataclass
class Stop:
    """A request that this process stops where it can be resumed."""

    requested: bool = False

    def listen(self) -> None:
        """Take SIGTERM as the request, from now on."""

        def note(number: int, frame: object) -> None:
            self.requested = True

        signal.signal(signal.SIGTERM, note)

    def close(self) -> None:
        """Ignore SIGTERM: the launcher repeats it, and Python drops handlers at exit."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def agreed(self) -> bool:
        """Return True on every rank if any rank has a request; every rank must call this."""
        import torch  # an evaluation of a served model stops too, and never needs torch
        from accelerate import PartialState
        from accelerate.utils import reduce

        state = PartialState()
        if state.num_processes == 1:
            return self.requested
        flag = torch.tensor(int(self.requested), device=state.device)
        return bool(reduce(flag, reduction="sum").item())  # type: ignore[union-attr]  # a tensor


@dataclass(eq=False, kw_only=True)
class RewardWatch:
    """Ends the process when a reward takes longer than `limit_s`; names reward, task, sample."""

    limit_s: float
    rank: str = ""
    _call: tuple[float, str, RewardContext] | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    @contextmanager
    def watching(self, reward: str) -> Iterator[Callable[[RewardContext], None]]:
        """Yield a function to call before each call of the reward."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()

        def began(context: RewardContext) -> None:
            self._call = (time.monotonic(), reward, context)

        try:
            yield began
        finally:
            self._call = None

    def _watch(self) -> None:
        while True:
            time.sleep(_POLL_S)
            call = self._call
            if call is None or time.monotonic() - call[0] < self.limit_s:
                continue
            print(
                f"error: {self.rank}reward {call[1]!r} has not returned for {self.limit_s:.0f} s "
                f"on task {call[2].task!r}, sample {call[2].sample_id!r} (timeout_s is the limit)",
                file=sys.stderr,
                flush=True,
            )
            os._exit(1)


def end_with_launcher() -> None:
    """End this process at once when its launcher is gone, so that a resumed run has no rival.

    The launcher holds the other end of standard input.
    """
    if not os.environ.get(LIFELINE_VARIABLE):
        return

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
