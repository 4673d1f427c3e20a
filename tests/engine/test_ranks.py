"""One process against two that share its batch: same losses, same rewards, as many passes each.

Seven samples per task and three rows per rank: nothing divides evenly, and groups of completions
lie across both ranks.
"""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from tests import fake_plugins
from tests.engine import faults
from tests.engine.faults import Faulty, finish

pytestmark = pytest.mark.slow

RUN = """
max_new_tokens = 12
rewards = "robust"
sample.records = 7
tasks = ["faulty"]
health.constant_reward = "off"
[[stages]]
kind = "grpo"
epochs = 1
trainer = {per_device_train_batch_size = 6, num_generations = 2, top_k = 1}
[[stages]]
kind = "sft"
epochs = 1
trainer = {per_device_train_batch_size = 6, logging_steps = 1, learning_rate = 0.1, optim = "sgd"}
[eval]
limit = 1
resamples = 2
base = false
blind = "off"
"""
SAMPLED = """
[[stages]]
kind = "grpo"
steps = 2
trainer = {per_device_train_batch_size = 6, num_generations = 2, learning_rate = 1e-4}
"""
"""A last stage, on two processes only: its completions differ within their groups."""
TWO = ["--processes", "2"]
for _set in (
    "stages.0.trainer.per_device_train_batch_size=3",
    "stages.1.trainer.per_device_train_batch_size=1",
    "stages.1.trainer.gradient_accumulation_steps=3",
    "stages.2.trainer.per_device_train_batch_size=3",
):
    TWO += ["--set", _set]

PLUGIN = (
    faults.PLUGIN
    + '''
def say(stage, **facts):
    import json
    with (stage.output / f"seen.{os.environ.get('RANK', '0')}.jsonl").open("a") as file:
        file.write(json.dumps(facts) + "\\n")

NOW = []

def judge(completion, ctx):
    if NOW:
        say(NOW[0], task=ctx.task, id=ctx.sample_id)
    return sum(map(ord, completion)) % 7 / 7

def other(sample, ctx):
    return Turn(question=f"Is {sample.id} blue or red?", answer="blue", reasoning="Blue it is.")

@hookimpl
def geovlm_rewards():
    yield RewardSpec(name="faulty/judge", summary="A sum.", score=judge, gold_is_max=False)

@hookimpl
def geovlm_tasks():
    for name, asked in (("faulty/one", prompt), ("faulty/two", other)):
        yield TaskSpec(name=name, summary="Name it.", dataset="faulty", prompt=asked,
            rewards={"paper": {"recall": 1.0}, "robust": {"faulty/judge": 1.0}},
            metrics=("accuracy",), primary_metric="accuracy", max_answer_tokens=12)

@hookimpl
def geovlm_callbacks(stage):
    import torch
    from transformers import TrainerCallback

    class Count(TrainerCallback):
        """Notes every pass of the model that is trained on, and what rewards were asked for."""

        def on_train_begin(self, args, state, control, model=None, **_):
            NOW[:] = [stage]

            def passes(module, positional, given):
                if torch.is_grad_enabled():
                    say(stage, rows=len(given["input_ids"]))

            self.hook = model.register_forward_pre_hook(passes, with_kwargs=True)

        def on_train_end(self, args, state, control, **_):
            NOW.clear()
            self.hook.remove()

    yield Count()
'''
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same run on one process and on two."""
    folder = tmp_path_factory.mktemp("site")
    fake_plugins.install(folder, "faulty", PLUGIN)
    faulty = Faulty(folder, tmp_path_factory.mktemp("cache"))
    one, two = folder / "one", folder / "two"
    faulty.config.write_text(RUN)
    status, said = faulty.run(one, str(faulty.config))
    assert status == 0, said
    faulty.config.write_text(RUN + SAMPLED)
    status, said = finish(faulty.begin(two, *TWO), two)
    assert status == 0, said
    return [one, two]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def passes(output: Path, stage: str) -> list[list[int]]:
    """Rank -> rows of each pass that was trained on."""
    seen = sorted((output / "stages" / stage).glob("seen.*.jsonl"))
    return [[fact["rows"] for fact in read(path) if "rows" in fact] for path in seen]


def test_every_rank_sees_as_many_micro_batches(runs: list[Path]) -> None:
    one, two = runs
    # 14 rows, 6 per step: 3 steps, the last one filled up
    assert passes(one, "1-sft") == [[6, 6, 6]]
    assert passes(two, "1-sft") == [[1] * 9, [1] * 9]
    # 14 prompts, 3 per step: 5 steps
    assert [len(each) for each in passes(one, "0-grpo")] == [5]
    assert [len(each) for each in passes(two, "0-grpo")] == [5, 5]


def test_losses_of_sft_are_those_of_one_process(runs: list[Path]) -> None:
    """Answers differ in length: every token of the step has the same weight, wherever it is."""
    one, two = (
        [each["loss"] for each in read(output / "stages/1-sft/log.jsonl") if "loss" in each]
        for output in runs
    )
    assert len(one) == 3
    assert one[2] < one[0] - 0.1
    assert two == pytest.approx(one, abs=1e-4)


def rewarded(output: Path, stage: str) -> list[dict[str, float]]:
    """The rewards in the log of each step of GRPO."""
    logged = [each for each in read(output / "stages" / stage / "log.jsonl") if "reward" in each]
    return [
        {
            name: value
            for name, value in each.items()
            if name.startswith(("reward", "completions", "frac_reward"))
        }
        for each in logged
    ]


def test_rewards_of_the_same_completions_are_those_of_one_process(runs: list[Path]) -> None:
    """With `top_k = 1` both runs write the same completions, of which nothing can be learnt."""
    one, two = (
        [
            (each["step"], each["task"], each["sample_id"], each["completion"], each["rewards"])
            for each in read(output / "stages/0-grpo/completions.jsonl")
        ]
        for output in runs
    )
    assert len(one) == 30
    assert one == two
    first, second = (rewarded(output, "0-grpo") for output in runs)
    assert [each.keys() for each in first] == [each.keys() for each in second]
    assert {"rewards/faulty/one/faulty/judge/mean", "rewards/faulty/two/recall/std"} <= set(
        first[0]
    )
    assert len({each["reward"] for each in first}) > 1
    for mine, theirs in zip(first, second, strict=True):
        assert theirs == pytest.approx(mine, abs=1e-6, nan_ok=True)


def test_both_ranks_see_both_tasks(runs: list[Path]) -> None:
    for rank in (0, 1):
        facts = read(runs[1] / "stages" / "0-grpo" / f"seen.{rank}.jsonl")
        assert {fact["task"] for fact in facts if "task" in fact} == {"faulty/one", "faulty/two"}


def test_metrics_of_two_ranks_are_those_of_all_their_completions(runs: list[Path]) -> None:
    """By hand, of sampled completions that differ within their groups."""
    said = read(runs[1] / "stages/2-grpo/completions.jsonl")
    for step, logged in enumerate(rewarded(runs[1], "2-grpo")):
        mine = [each for each in said if each["step"] == step]
        assert len(mine) == 6
        judged = [e["rewards"]["faulty/judge"] for e in mine if e["task"] == "faulty/one"]
        expected = statistics.fmean(judged) if judged else None
        found = logged["rewards/faulty/one/faulty/judge/mean"]
        assert found == (pytest.approx(expected, abs=1e-6) if judged else None)
        assert logged["reward"] == pytest.approx(statistics.fmean(e["reward"] for e in mine))
        groups: dict[str, list[float]] = {}
        for each in mine:
            groups.setdefault(f"{each['task']}/{each['sample_id']}", []).append(each["reward"])
        assert sorted(map(len, groups.values())) == [2, 2, 2]
        flat = sum(math.isclose(*pair) for pair in groups.values()) / 3
        assert logged["frac_reward_zero_std"] == pytest.approx(flat)
