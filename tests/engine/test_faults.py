"""The fault matrix: whatever ends a run, it says why, loses nothing, and ends as if undisturbed.

Scores are compared bit by bit.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.engine import faults
from tests.engine.faults import (
    Faulty,
    finish,
    in_grpo,
    in_sft,
    losses,
    newer,
    scores,
    sft_scores,
    wait_until,
    workers,
)

pytestmark = pytest.mark.faults


PHASES = {
    "sft": "stages/0-sft/log.jsonl",
    "evaluation": "eval/*/answers/*.jsonl",
    "probe": "stages/1-probe/answers/*.jsonl",
    "grpo": "stages/2-grpo/*.jsonl",
}


def kill_again_and_again(
    faulty: Faulty, output: Path, process: subprocess.Popen[str], phases: list[str]
) -> None:
    """Kill a run in each phase at a random moment, and resume it but for the last time.

    Every other time only the launcher is killed: its workers must not live on.
    """
    rng = random.Random(len(phases[0]))
    for number, phase in enumerate(phases):
        if number:
            process = faulty.start(output, "--resume")
        started = time.time()
        wait_until(lambda p=phase, t=started: newer(output, PHASES[p], than=t), process)
        time.sleep(rng.uniform(0.0, 0.2))
        if number % 2:
            process.kill()
        else:
            faults.kill_tree(process.pid)
        process.wait()
        gone_by = time.monotonic() + 10
        while workers(output):
            assert time.monotonic() < gone_by, "a worker outlived its launcher"
            time.sleep(0.05)


def test_ten_kills_at_random_moments_change_nothing(
    faulty: Faulty, undisturbed: Path, tmp_path: Path
) -> None:
    """Two runs at a time, as each takes one core."""
    early, late = tmp_path / "early", in_grpo(undisturbed, tmp_path / "late")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(
            kill_again_and_again,
            *(faulty, early, faulty.begin(early)),
            ["sft", "sft", "evaluation", "probe", "probe"],
        )
        second = pool.submit(
            kill_again_and_again,
            *(faulty, late, faulty.start(late, "--resume")),
            ["grpo", "grpo", "grpo", "evaluation", "evaluation"],
        )
    first.result()
    second.result()
    for output in (early, late):
        status, said = faulty.go_on(output)
        assert status == 0, said
        assert scores(output) == scores(undisturbed)


def test_sigterm_saves_and_the_run_goes_on_where_it_was(
    faulty: Faulty, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "stopped"
    process = faulty.begin(output, "--set", "stages.0.trainer.save_steps=100")
    wait_until(lambda: newer(output, PHASES["sft"], than=0), process)
    process.send_signal(signal.SIGTERM)
    status, said = finish(process, output)
    assert status == 0
    assert "stopped: stage 0-sft: saved at step" in said
    assert f"to continue: geovlm run --resume --output {output}" in said
    assert "Traceback" not in said
    assert len(list(output.glob("stages/0-sft/checkpoints/checkpoint-*/manifest.json"))) == 1

    status, said = faulty.go_on(output, until="1")
    assert status == 0, said
    assert losses(output) == losses(undisturbed)
    assert sft_scores(output) == sft_scores(undisturbed)


def test_a_stopped_run_goes_on_with_its_data_elsewhere_as_if_undisturbed(
    faulty: Faulty, undisturbed: Path, tmp_path: Path
) -> None:
    """As on clusters whose jobs copy the data to a disk of the node, each time elsewhere."""
    generated = next(faulty.cache.rglob("train00.png")).parents[1]
    shutil.copytree(generated, tmp_path / "job 1")
    output = tmp_path / "stopped"
    process = faulty.begin(output, "--data", f"faulty={tmp_path / 'job 1'}")
    wait_until(lambda: newer(output, PHASES["sft"], than=0), process)
    process.send_signal(signal.SIGTERM)
    status, said = finish(process, output)
    assert status == 0, said

    # copied again: other times of the files, and the old folder is gone
    shutil.copytree(generated, tmp_path / "job 2", copy_function=shutil.copyfile)
    shutil.rmtree(tmp_path / "job 1")
    status, said = faulty.go_on(output, until="1")
    assert status == 2
    assert f"--resume --output {output} --data faulty=DIR" in said
    status, said = faulty.go_on(output, "--data", f"faulty={tmp_path / 'job 2'}", until="1")
    assert status == 0, said
    assert losses(output) == losses(undisturbed)
    assert sft_scores(output) == sft_scores(undisturbed)


def test_ctrl_c_saves_and_the_run_goes_on_where_it_was(
    faulty: Faulty, undisturbed: Path, tmp_path: Path
) -> None:
    output = in_grpo(undisturbed, tmp_path / "stopped")
    process = faulty.start(output, "--resume")
    wait_until(lambda: newer(output, PHASES["grpo"], than=0), process)
    process.send_signal(signal.SIGINT)
    status, said = finish(process, output)
    assert status == 130
    assert "Ctrl-C again ends it now" in said
    assert "stopped: stage 2-grpo: saved at step" in said

    status, said = faulty.go_on(output)
    assert status == 0, said
    assert scores(output) == scores(undisturbed)


def test_a_second_ctrl_c_ends_all_at_once(
    faulty: Faulty, undisturbed: Path, tmp_path: Path
) -> None:
    output = in_sft(undisturbed, tmp_path / "twice")
    process = faulty.start(output, "--resume")
    wait_until(lambda: workers(output), process)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "Ctrl-C again" in output.with_suffix(".txt").read_text(), process)
    process.send_signal(signal.SIGINT)
    status, said = finish(process, output, within_s=30)
    assert status == 130
    assert f"to continue: geovlm run --resume --output {output}" in said
    assert not workers(output)


def test_a_truncated_checkpoint_is_named_and_the_one_before_is_used(
    faulty: Faulty, undisturbed: Path, tmp_path: Path
) -> None:
    output = in_sft(undisturbed, tmp_path / "truncated")
    os.truncate(output / "stages/0-sft/checkpoints/checkpoint-4/optimizer.pt", 1000)
    status, said = faulty.go_on(output, until="1")
    assert status == 0, said
    assert "checkpoint-4 is damaged (optimizer.pt has 1000 of" in said
    assert "going on from checkpoint-2" in said
    assert losses(output) == losses(undisturbed)
    assert sft_scores(output) == sft_scores(undisturbed)


def test_a_full_disk_is_one_clear_line_and_loses_nothing(
    faulty: Faulty, undisturbed: Path, tmp_path: Path
) -> None:
    """`/dev/full` refuses every byte, for root too, as a disk without room does."""
    output = in_grpo(undisturbed, tmp_path / "full")
    status, said = faulty.go_on(output, fault="grpo 1 0 full")
    assert status == 1
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert f"{output} cannot be written" in errors[0]
    assert "go on with --resume" in errors[0]
    assert "Traceback" not in said
    kept = [path.name for path in output.glob("stages/2-grpo/checkpoints/checkpoint-*")]
    assert kept == ["checkpoint-1"]

    status, said = faulty.go_on(output)
    assert status == 0, said
    assert scores(output) == scores(undisturbed)


def test_a_reward_that_raises_or_hangs_is_named_and_a_lost_image_too(
    faulty: Faulty, undisturbed: Path, tmp_path: Path
) -> None:
    output = in_grpo(undisturbed, tmp_path / "ill")
    status, said = faulty.go_on(output, fault="grpo 1 0 raise")
    assert status == 1
    assert "error: reward 'faulty/judge' raised ConnectionError('the judge is down')" in said
    assert "on task 'faulty', sample 'train" in said

    status, said = finish(
        faulty.start(
            output,
            *(str(faulty.config), "--resume", "--set", "timeout_s=3"),
            fault="grpo 2 0 hang",
        ),
        output,
    )
    assert status == 1
    assert "error: reward 'faulty/judge' has not returned for 3 s on task 'faulty'" in said

    image = next(faulty.cache.rglob("train00.png"))
    hidden = image.with_suffix(".hidden")
    try:
        status, said = faulty.run(output, "--resume", first=lambda: image.rename(hidden))
    finally:
        hidden.rename(image)
    assert status == 2
    assert f"error: {image}: no such image file" in said

    status, said = faulty.go_on(output)
    assert status == 0, said
    assert scores(output) == scores(undisturbed)
