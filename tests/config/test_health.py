"""Synthetic logs of GRPO: each trips exactly its rule, a sound one none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from geovlm.config import health
from geovlm.config.health import HealthConfig
from geovlm.config.schema import RunConfig
from geovlm.engine.training.callbacks import HealthCallback
from geovlm.engine.training.checkpoints import write_manifest
from geovlm.errors import RunFailedError
from geovlm.run.files import JsonLines

REWARDS = {"t/a": {"paper": {"recall": 1.0, "both": 1.0}, "robust": {"exact": 1.0, "both": 1.0}}}
STEPS = 40


def log(**changed: tuple[float, float]) -> list[dict[str, Any]]:
    """A sound log of 40 steps; a changed figure goes straight from one value to another.

    `paper` and `robust` stand for the rewards that are in one set only.
    """
    ends = {
        "frac_reward_zero_std": (0.3, 0.5),
        "entropy": (1.0, 0.6),
        "completions/clipped_ratio": (0.1, 0.0),
        health.REPETITION: (0.0, 0.05),
        "kl": (0.0, 0.2),
        health.RATIO: (1.0, 0.9),
        health.MASKED: (0.0, 0.1),
        "rewards/t/a/recall/mean": changed.pop("paper", (0.4, 0.7)),
        "rewards/t/a/exact/mean": changed.pop("robust", (0.3, 0.5)),
        "rewards/t/a/both/mean": (0.5, 0.1),
        "reward": (1.0, 1.5),
        **{name.replace("__", "/"): values for name, values in changed.items()},
    }
    return [
        {"step": i + 1} | {name: a + (b - a) * i / (STEPS - 1) for name, (a, b) in ends.items()}
        for i in range(STEPS)
    ]


def broken(records: list[dict[str, Any]]) -> list[str]:
    found = health.check(records, rewards=REWARDS, limits=HealthConfig().thresholds())
    return [finding.rule for finding in found]


def test_a_sound_log_breaks_no_rule() -> None:
    assert broken(log()) == []


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"frac_reward_zero_std": (1.0, 1.0)}, "constant_reward"),
        ({"completions__clipped_ratio": (0.2, 0.8)}, "clipped_length"),
        ({health.REPETITION.replace("/", "__"): (0.0, 0.5)}, "repetition"),
        ({"kl": (0.0, 5.0)}, "kl_blowup"),
        # image tokens expanded twice gave 0.44, other pixel limits 0.08
        ({health.RATIO.replace("/", "__"): (0.44, 0.61)}, "other_sampler"),
        ({health.RATIO.replace("/", "__"): (1.0, 2.9)}, "other_sampler"),
        ({"paper": (0.4, 0.9), "robust": (0.5, 0.2)}, "reward_divergence"),
    ],
)
def test_each_log_trips_exactly_its_rule(
    changed: dict[str, tuple[float, float]], rule: str
) -> None:
    assert broken(log(**changed)) == [rule]


def test_rewards_that_fall_together_do_not_diverge() -> None:
    assert broken(log(paper=(0.9, 0.4), robust=(0.5, 0.2))) == []


def test_an_entropy_of_a_tenth_of_the_start_is_a_collapse() -> None:
    records = log(entropy=(1.0, 1.0))
    for record in records[-10:]:
        record["entropy"] = 0.09
    assert broken(records) == ["entropy_collapse"]


def test_one_large_step_of_the_kl_estimator_is_no_blowup() -> None:
    records = log()
    records[-2]["kl"] = 4000.0
    assert broken(records) == []


def test_absent_and_null_figures_break_no_rule() -> None:
    records = [{"step": i, "kl": None, "entropy": None} for i in range(30)]
    assert broken(records) == []


def test_fewer_records_than_the_window_are_not_judged() -> None:
    assert broken(log(kl=(9.0, 9.0))[:9]) == []
    assert broken(log(kl=(9.0, 9.0))[:10]) == ["kl_blowup"]


def test_a_threshold_can_be_moved() -> None:
    limits = HealthConfig(kl_blowup_nats=0.1).thresholds()
    (finding,) = health.check(log(), rewards=REWARDS, limits=limits)
    # the last ten of 0.2 * i / 39: between i = 34 and 35 lies 0.2 * 34.5 / 39 = 0.177
    assert finding.figures == "median KL 0.18 nats per token, the limit is 0.1"
    assert (finding.step, finding.since) == (40, 31)


def test_a_rule_that_is_off_is_not_checked() -> None:
    limits = HealthConfig(kl_blowup="off").thresholds()
    assert health.check(log(kl=(9.0, 9.0)), rewards=REWARDS, limits=limits) == []


@pytest.mark.parametrize(
    ("text", "repetitive"),
    [
        ("a house by the sea " * 6, True),
        ("one two three four five six seven eight nine ten eleven twelve thirteen fourteen", False),
        ("yes yes yes yes", False),
        ("", False),
    ],
)
def test_texts_that_repeat_themselves(text: str, repetitive: bool) -> None:
    assert health.repeats(text) is repetitive


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(ValueError, match="'off', 'warn' or 'stop'"):
        RunConfig.model_validate({"health": {"kl_blowup": "panic"}})


def train(folder: Path, records: list[dict[str, Any]], *, begin: int = 0, **settings: Any) -> None:
    """Play a log to the callback as the trainer does, from a step on."""
    lines = JsonLines(folder / "log.jsonl")
    callback = HealthCallback(
        HealthConfig(**settings),
        rewards=REWARDS,
        log=lines,
        findings=JsonLines(folder / "health.jsonl"),
        checkpoints=folder,
        start="runs/a/stages/0-sft/model",
    )
    state = SimpleNamespace(is_world_process_zero=True, global_step=begin)
    callback.on_train_begin(None, state, None)  # type: ignore[arg-type]
    for record in records[begin:]:
        state.global_step = record["step"]
        lines.append([record])
        callback.on_log(None, state, None, logs=record)  # type: ignore[arg-type]


def test_a_broken_rule_warns_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, log(kl=(9.0, 9.0)))
    assert capsys.readouterr().err.count("warning: health: kl_blowup at step 10") == 1
    (finding,) = JsonLines(tmp_path / "health.jsonl").read()
    assert (finding["rule"], finding["step"]) == ("kl_blowup", 10)


def test_a_resumed_stage_does_not_warn_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = log(kl=(9.0, 9.0))
    train(tmp_path, records[:12])
    capsys.readouterr()
    train(tmp_path, records, begin=12)
    assert capsys.readouterr().err == ""


def test_a_rule_set_to_stop_ends_the_run_and_names_the_last_good_checkpoint(
    tmp_path: Path,
) -> None:
    records = log(kl=(0.0, 0.0))
    for record in records[20:]:
        record["kl"] = 7.5
    for step in (15, 20, 25):
        (tmp_path / f"checkpoint-{step}").mkdir()
        write_manifest(tmp_path / f"checkpoint-{step}", step=step, rows=step, processes=1)
    with pytest.raises(RunFailedError, match=r"last good checkpoint is .*checkpoint-15 ") as caught:
        train(tmp_path, records, kl_blowup="stop")
    # at step 25 five of ten values are 7.5: the median is in the middle; the window begins at 16
    message = str(caught.value)
    assert "kl_blowup at step 25: median KL 3.75 nats per token" in message
    assert "lower the learning rate or raise beta" in message


def test_without_an_older_checkpoint_the_starting_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="the stage began with runs/a/stages/0-sft/model"):
        train(tmp_path, log(kl=(9.0, 9.0)), kl_blowup="stop")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("河流穿过森林" * 5, True), ("三艘船停在码头旁边一条路通向小村庄房屋很多", False)],
)
def test_repetition_is_seen_in_scripts_without_blanks(text: str, expected: bool) -> None:
    assert health.repeats(text) is expected
