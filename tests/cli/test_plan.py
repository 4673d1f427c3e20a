"""`geovlm plan`, as a user calls it."""

from __future__ import annotations

import json

import pytest

from geovlm import cli
from geovlm.config import extras

SMALL = ["--tasks", "rsvqa/lr", "--set", "sample.records=8"]


def status(*words: str) -> object:
    with pytest.raises(SystemExit) as left:
        cli.main(["plan", *SMALL, *words])
    return left.value.code


def test_every_stage_and_the_evaluation_are_estimated(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--gpu-memory", "80", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tasks"][0]["visual_tokens"] == 36
    assert found["memory"]["parameters"] == found["model"]["parameters"]
    assert list(found["memory"]["stages"]) == ["0-sft", "1-probe", "2-grpo", "eval"]
    assert found["memory"]["fits"] is True
    parts = found["memory"]["stages"]["0-sft"]["parts"]
    assert parts["weights"] == 2 * found["memory"]["parameters"]


def test_what_does_not_fit_comes_with_the_options_to_add(
    capsys: pytest.CaptureFixture[str],
) -> None:
    large = ["--set", "stages.0.trainer.per_device_train_batch_size=4096"]
    assert status("--gpu-memory", "4", *large) == 0
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("fits")]
    assert line.startswith("fits    no; nearest that does")
    assert "--set stages.0.trainer.gradient_checkpointing=true" in line


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--gpu-memory", "0"], "--gpu-memory 0 is not above 0"),
        (["--gpu-memory", "80", "--set", "device=cpu"], "--gpu-memory is given with device 'cpu'"),
        (["--set", "lora.quantize=nf4"], "lora.quantize='nf4' needs bitsandbytes"),
        (["--model", "no/such-model"], "model 'no/such-model' is not on this machine"),
    ],
)
def test_an_impossible_plan_is_one_line(
    words: list[str],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert status(*words) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("error")]
    assert problem in line
