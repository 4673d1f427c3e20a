"""How a stage's process ends early: asked to, without a launcher, or when a reward hangs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from geovlm.api import RewardContext
from geovlm.run.process import LIFELINE_VARIABLE

_POLL_S = 0.5


@dataclass
class Stop:
    """Whether this process was asked to stop where it can go on later."""

    asked: bool = False

    def listen(self) -> None:
        """Take SIGTERM as the question, from now on."""

        def note(number: int, frame: object) -> None:
            self.asked = True

        signal.signal(signal.SIGTERM, note)

    def close(self) -> None:
        """Ignore SIGTERM from now on: the launcher repeats it, and Python lets go of it at exit."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def agreed(self) -> bool:
        """Return whether any rank was asked; all must call this, and get the same answer."""
        state = PartialState()
        if state.num_processes == 1:
            return self.asked
        flag = torch.tensor(int(self.asked), device=state.device)
        return bool(reduce(flag, reduction="sum").item())  # type: ignore[union-attr]  # a tensor


class StopCallback(TrainerCallback):
    """Ends the training with a checkpoint after the step in which the stop was asked for."""

    def __init__(self, stop: Stop, *, every: int = 1) -> None:
        """Stop only after every so many steps, where nothing generated waits to be trained on."""
        self._stop = stop
        self._every = every
        self.stopped = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Ask the ranks."""
        if state.global_step % self._every == 0 and self._stop.agreed():
            control.should_save = True
            control.should_training_stop = True
            self.stopped = state.global_step < state.max_steps


class RewardWatch:
    """Ends the process when a reward does not return; names it, its task and its sample."""

    def __init__(self, *, limit_s: float, rank: str = "") -> None:
        """Watch for calls that take longer than `limit_s` seconds.

        Args:
            limit_s: seconds.
            rank: what the message begins with.
        """
        self._limit_s = limit_s
        self._rank = rank
        self._call: tuple[float, str, RewardContext] | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, reward: str) -> Iterator[Callable[[RewardContext], None]]:
        """Yield what is to be called before each call of the reward."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, daemon=True)
            self._thread.start()

        def began(context: RewardContext) -> None:
            self._call = (time.monotonic(), reward, context)

        try:
            yield began
        finally:
            self._call = None

    def _look(self) -> None:
        while True:
            time.sleep(_POLL_S)
            call = self._call
            if call is None or time.monotonic() - call[0] < self._limit_s:
                continue
            print(
                f"error: {self._rank}reward {call[1]!r} has not returned for {self._limit_s:.0f} s "
                f"on task {call[2].task!r}, sample {call[2].sample_id!r} (timeout_s is the limit)",
                file=sys.stderr,
                flush=True,
            )
            os._exit(1)


def end_with_launcher() -> None:
    """End this process at once when its launcher is gone, so that a resumed run is alone.

    The launcher holds the other end of standard input.
    """
    if not os.environ.get(LIFELINE_VARIABLE):
        return

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
