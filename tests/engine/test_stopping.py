from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from geovlm.engine.stopping import Stop
from geovlm.engine.training.callbacks import StopCallback


@pytest.fixture
def listening() -> Stop:
    before = signal.getsignal(signal.SIGTERM)
    stop = Stop()
    stop.listen()
    yield stop
    signal.signal(signal.SIGTERM, before)


def test_sigterm_is_a_question(listening: Stop) -> None:
    assert not listening.agreed()
    os.kill(os.getpid(), signal.SIGTERM)
    assert listening.agreed()


def end_of_step(callback: StopCallback, step: int) -> tuple[bool, bool]:
    """Return whether the trainer is to save, and to stop, after a step of ten."""
    control = TrainerControl()
    state = TrainerState(global_step=step, max_steps=10)
    callback.on_step_end(TrainingArguments(use_cpu=True), state, control)
    return control.should_save, control.should_training_stop


def test_training_saves_and_stops_after_the_step() -> None:
    callback = StopCallback(Stop())
    assert end_of_step(callback, 3) == (False, False)
    callback = StopCallback(Stop(requested=True))
    assert end_of_step(callback, 3) == (True, True)
    assert callback.stopped


def test_a_stop_waits_until_what_was_generated_is_used_up() -> None:
    callback = StopCallback(Stop(requested=True), every=4)
    assert end_of_step(callback, 3) == (False, False)
    assert end_of_step(callback, 4) == (True, True)


def test_a_stop_in_the_last_step_leaves_a_finished_training() -> None:
    callback = StopCallback(Stop(requested=True))
    end_of_step(callback, 10)
    assert not callback.stopped


HANGING = """
import time
from types import SimpleNamespace
from geovlm.engine.stopping import RewardWatch

watch = RewardWatch(limit_s=1, rank="rank 1 of 2: ")
with watch.watching("quick") as began:
    began(None)
time.sleep(2)
with watch.watching("slow/judge") as began:
    began(SimpleNamespace(task="floods", sample_id="17"))
    time.sleep(60)
"""


def test_a_reward_that_hangs_ends_the_process_and_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith(
        "error: rank 1 of 2: reward 'slow/judge' has not returned for 1 s on task 'floods', sample "
        "'17' (timeout_s is the limit)\n"
    )
