"""The fault matrix of several processes: the rank is named, and any number of them goes on.

Two processes add gradients in another order than one: losses of their steps agree to a thousandth.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.faults import Faulty, finish, in_grpo, in_sft, losses, sft_alone, workers

pytestmark = pytest.mark.faults


def test_a_killed_rank_is_named_and_one_process_goes_on_where_two_were(
    faulty: Faulty, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "ranks"
    two = ("--processes", "2", "--set", "stages.0.trainer.per_device_train_batch_size=2")
    process = faulty.begin(output, *two, fault="sft 3 1 kill")
    status, said = finish(process, output)
    assert status == 1
    assert "error: rank 1 of stage 0-sft was killed by SIGKILL" in said

    status, said = faulty.go_on(output, "--processes", "1", until="1")
    assert status == 0, said
    # steps 1 and 2 are of two processes, 3 and 4 of one; `undisturbed` had one all along
    assert losses(output) == pytest.approx(losses(undisturbed), rel=1e-3)


@pytest.mark.parametrize(("kind", "copied"), [("sft", in_sft), ("grpo", in_grpo)])
def test_a_rank_that_hangs_is_waited_for_no_longer_than_the_limit(
    faulty: Faulty, undisturbed: Path, tmp_path: Path, kind: str, copied: Callable[..., Path]
) -> None:
    output = copied(undisturbed, tmp_path / "frozen")
    if kind == "sft":
        shutil.rmtree(output / "stages/0-sft/checkpoints")
    process = faulty.start(
        output,
        *(str(faulty.config), "--resume", "--processes", "2", "--set", "timeout_s=20"),
        fault=f"{kind} 2 1 freeze",
    )
    status, said = finish(process, output)
    assert status == 1
    stage = {"sft": "0-sft", "grpo": "2-grpo"}[kind]
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, said
    assert f"rank 0 of 2: another rank of stage {stage} did not answer within 20 s" in errors[0]
    assert "go on with --resume" in errors[0]
    assert "longer timeout_s" in errors[0]
    assert "Traceback" not in said
    assert not workers(output)


def test_two_processes_go_on_where_one_was(
    faulty: Faulty, undisturbed: Path, tmp_path: Path
) -> None:
    output = in_sft(undisturbed, tmp_path / "more")
    shutil.rmtree(output / "stages/0-sft/checkpoints/checkpoint-4")
    status, said = sft_alone(faulty.start(output, "--resume", "--processes", "2"), output)
    assert status == 0, said
    assert json.loads((output / "stages/0-sft/done.json").read_text())["world_size"] == 2
    assert losses(output) == pytest.approx(losses(undisturbed), rel=1e-3)
