"""What a tracker gets of a run: names, one axis of steps, each value once, and no secret."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from geovlm.config import load
from geovlm.engine.tracking import about, entries, samples
from geovlm.engine.tracking.backends import Backend, End, Memory
from geovlm.engine.tracking.entries import Entries, Log
from geovlm.engine.tracking.follow import Follower
from geovlm.run import files
from geovlm.run.files import JsonLines
from geovlm.run.folder import RunDir

TASKS = ["xbd/refer", "rsvqa/lr"]
SCORES = {
    "n": 12,
    "metrics": {"mean_iou": 0.25, "recall": None},
    "ci95": {"mean_iou": [0.125, 0.5], "recall": None},
    "sampled_reward": 1.5,
    "greedy_reward": 1.25,
}
STEP = {
    "step": 1,
    "reward": 0.75,
    "frac_reward_zero_std": 0.25,
    "rewards/xbd/refer/format/think/mean": 1.0,
    "rewards/xbd/refer/format/answer/mean": 0.5,
    "rewards/xbd/refer/matched_iou/mean": 0.25,
    "rewards/xbd/refer/detection/mean": 0.125,
    "rewards/rsvqa/lr/jaccard/mean": None,
    "kl": None,
}
"""A step of GRPO on rows of xbd/refer alone: 0.5 × 1 + 0.5 × 0.5 + 0.25."""


class Fake(Backend):
    """Keeps what it gets; `broken` makes it fail."""

    def __init__(self) -> None:
        self.got: list[tuple[int, dict[str, float]]] = []
        self.shown: list[str] = []
        self.opened: list[Memory] = []
        self.closed: list[End] = []
        self.broken = False

    def open(self, about: about.About, memory: Memory) -> str:
        self.opened.append(dict(memory))
        memory.setdefault("id", "one")
        return "here"

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        if self.broken:
            raise ConnectionError("no route to host\nmore")
        self.got.append((step, dict(values)))

    def show(self, pictures: Sequence[samples.Picture], *, step: int) -> None:
        self.shown += [each.caption for each in pictures]

    def close(self, end: End) -> None:
        self.closed.append(end)

    def of(self, name: str) -> list[tuple[int, float]]:
        """Return step and value of one metric."""
        return [(step, values[name]) for step, values in self.got if name in values]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Return a run of SFT, probe and GRPO that has only been planned."""
    config = load.load(None, tasks=TASKS, overrides=["track=trackio"])
    made = RunDir(tmp_path / "first")
    resolved = {
        "config": config.model_dump(mode="json"),
        "task_names": TASKS,
        "stage_folders": config.stage_folders(),
        "samples": {},
        "world_sizes": {},
    }
    files.write_json(made.resolved, resolved)
    return made


def trained(run: RunDir, index: int, *steps: int) -> None:
    """Write the log of a stage with records of these steps."""
    log = JsonLines(run.stage(index) / "log.jsonl")
    log.append({**STEP, "step": step, "loss": step / 8} for step in steps)


def evaluated(run: RunDir, name: str, *tasks: str, **more: Any) -> None:
    for task in tasks:
        run.write_metrics(task, name, primary="mean_iou", entry=SCORES, more=more)


def finished(run: RunDir) -> None:
    evaluated(run, "base", *TASKS)
    trained(run, 0, 5, 7)
    evaluated(run, "sft", *TASKS)
    probed = {"reward": 0.5, "format_rate": 1.0, "flat_share": 0.0, "cut_share": 0.25}
    files.write_json(run.stage(1) / "probe.json", {"tasks": {"xbd/refer": probed}, "kept": 3})
    trained(run, 2, 1, 2)
    majority = {"stage": "grpo", "metrics": {"mean_iou": 0.125}}
    evaluated(run, "grpo", *TASKS, blind={"majority": majority, "shuffled": {"stage": "sft"}})


def follower(run: RunDir, fake: Fake, said: list[str]) -> Follower:
    return Follower(run, "trackio", lambda: fake, say=said.append)


def ends(*looks: Callable[[], object], how: End = "done") -> Callable[[float], End | None]:
    """Return the end of a run that does these things between two looks at its files."""
    left = list(looks)

    def end(seconds: float) -> End | None:
        if not left:
            return how
        left.pop(0)()
        return None

    return end


def test_steps_go_on_over_the_stages(run: RunDir) -> None:
    finished(run)
    found = [(each.source, each.step) for each in Entries(run).all()]
    assert found == [
        ("eval/base/xbd/refer", 0),
        ("eval/base/rsvqa/lr", 0),
        ("0-sft", 5),
        ("0-sft", 7),
        ("eval/sft/xbd/refer", 7),
        ("eval/sft/rsvqa/lr", 7),
        ("1-probe", 7),
        ("2-grpo", 8),
        ("2-grpo", 9),
        ("eval/grpo/xbd/refer", 9),
        ("eval/grpo/rsvqa/lr", 9),
    ]


def test_a_step_of_grpo_has_the_reward_of_each_task_and_the_share_with_signal() -> None:
    weights = entries.reward_weights(load.load(None, tasks=TASKS), TASKS)
    found = entries.training(STEP, name="grpo", kind="grpo", weights=weights)
    assert found["grpo/reward"] == 0.75
    assert found["grpo/reward/xbd/refer"] == 1.0
    assert "grpo/reward/rsvqa/lr" not in found
    assert found["grpo/signal"] == 0.75
    assert "grpo/kl" not in found
    assert found["grpo/rewards/xbd/refer/matched_iou/mean"] == 0.25


def test_an_evaluation_has_its_interval_and_its_blind_baselines(run: RunDir) -> None:
    finished(run)
    (found,) = (each for each in Entries(run).all() if each.source == "eval/grpo/xbd/refer")
    assert found.values == {
        "eval/xbd/refer/mean_iou": 0.25,
        "eval/xbd/refer/mean_iou_low": 0.125,
        "eval/xbd/refer/mean_iou_high": 0.5,
        "eval/xbd/refer/sampled_reward": 1.5,
        "eval/xbd/refer/greedy_reward": 1.25,
        "eval/xbd/refer/n": 12.0,
        "blind/xbd/refer/majority/mean_iou": 0.125,
    }


def test_a_log_is_read_up_to_a_torn_line_and_again_after_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path)
    assert list(log.read()) == []
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert [record["step"] for record in log.read()] == [1, 2]
    JsonLines(path).cut(after_step=1)
    assert [record["step"] for record in log.read()] == [1]


def test_each_value_is_sent_once_while_the_run_goes_on(run: RunDir) -> None:
    fake, said = Fake(), []
    looks = (
        lambda: evaluated(run, "base", *TASKS),
        lambda: trained(run, 0, 5),
        lambda: trained(run, 0, 10),
    )
    assert follower(run, fake, said).follow(ends(*looks))
    assert fake.of("sft/loss") == [(5, 0.625), (10, 1.25)]
    assert fake.of("eval/xbd/refer/mean_iou") == [(0, 0.25)]
    assert (fake.opened, fake.closed) == ([{}], ["done"])
    assert said == ["track: trackio here"]


def test_a_resumed_run_goes_on_in_the_same_tracked_run(run: RunDir) -> None:
    before, after, said = Fake(), Fake(), []
    trained(run, 0, 5, 10)
    assert follower(run, before, said).follow(ends(how="stopped"))
    log = JsonLines(run.stage(0) / "log.jsonl")
    log.cut(after_step=5)  # the last checkpoint: the resumed stage repeats step 10
    trained(run, 0, 10, 15)
    assert follower(run, after, said).follow(ends())
    assert after.opened == [{"id": "one"}]
    assert [step for step, _ in after.of("sft/loss")] == [15]


def test_steps_never_go_backwards(run: RunDir) -> None:
    fake = Fake()
    looks = (lambda: trained(run, 0, 8), lambda: evaluated(run, "base", *TASKS))
    follower(run, fake, []).follow(ends(*looks))
    steps = [step for step, _ in fake.got]
    assert steps == sorted(steps)
    assert fake.of("eval/xbd/refer/mean_iou") == [(8, 0.25)]


def test_a_failing_tracker_is_told_once_and_gets_later_what_it_missed(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geovlm.engine.tracking.follow.RETRY_S", (0.0,))
    fake, said = Fake(), []

    def broken() -> None:
        fake.broken = True
        trained(run, 0, 5)

    def repaired() -> None:
        trained(run, 0, 10)
        fake.broken = False

    assert follower(run, fake, said).follow(ends(broken, lambda: None, lambda: None, repaired))
    assert [step for step, _ in fake.of("sft/loss")] == [5, 10]
    assert said == [
        "track: trackio here",
        "warning: track: trackio failed: no route to host; the run goes on, and what is missing is "
        "sent when it works again",
        "track: trackio works again",
    ]


def test_a_tracker_that_fails_to_the_end_leaves_what_is_missing_to_the_next_start(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geovlm.engine.tracking.follow.RETRY_S", (0.0,))
    fake, said = Fake(), []
    fake.broken = True
    finished(run)
    assert not follower(run, fake, said).follow(ends(), last_s=0.0)
    fake.broken = False
    assert follower(run, fake, said).follow(ends())
    assert len(fake.got) == 11


def test_a_damaged_position_begins_again(run: RunDir) -> None:
    fake = Fake()
    trained(run, 0, 5)
    (run.path / "tracking").mkdir()
    (run.path / "tracking" / "trackio.json").write_text('{"sent"')
    assert follower(run, fake, []).follow(ends())
    assert fake.of("sft/loss") == [(5, 0.625)]


def test_secrets_and_accounts_are_not_shown() -> None:
    hidden = about.without_secrets(
        {
            "stages": {"0-sft": {"trainer": {"hub_token": "hf_abc", "eos_token": "<end>"}}},
            "vllm": [{"url": "http://me:word@10.0.0.5:8000"}],
            "max_new_tokens": 96,
            "wandb_api_key": "abc",
        }
    )
    assert hidden == {
        "stages": {"0-sft": {"trainer": {"hub_token": "(not shown)", "eos_token": "<end>"}}},
        "vllm": [{"url": "http://10.0.0.5:8000"}],
        "max_new_tokens": 96,
        "wandb_api_key": "(not shown)",
    }


def test_a_tracked_run_is_named_after_its_folder_and_tells_versions(run: RunDir) -> None:
    plugin = {"distribution": "geovlm-xbd", "version": "0.1.0"}
    made = {"geovlm": "0.1.0", "packages": {"trl": "1.16.0"}, "plugins": [plugin]}
    command = ["run", "--set", "stages.0.trainer.hub_token=hf_abc"]
    files.write_json(run.environment, {**made, "command": command})
    found = about.of(run)
    assert (found.project, found.name, found.group) == ("geovlm", "first", "xbd-refer_rsvqa-lr")
    versions = {"geovlm": "0.1.0", "python": None, "trl": "1.16.0", "geovlm-xbd": "0.1.0"}
    assert found.facts["versions"] == versions
    assert found.facts["stages"]["0-sft"]["steps"] == 150
    assert "hf_abc" not in json.dumps(found.facts)
