from __future__ import annotations

import json
import unittest

import pytest

from geovlm.data.prompts import Prompter
from geovlm.errors import PluginUnavailableError, UnknownNameError
from geovlm.plugins import profiles
from geovlm.testing.kit import RULES, Check
from geovlm.testing.subject import Subject
from tests.conforming_plugin import GOOD, changed, install_toy
from tests.fake_plugins import geovlm

UNIQUE = next(rule for rule in RULES if rule.name == "unique_ids")
SAMPLE = next(rule for rule in RULES if rule.name == "sample_loads")


def test_every_rule_has_a_name_of_its_own_and_a_sentence() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES) == 24
    assert [rule.name for rule in RULES if not rule.summary.endswith(".")] == []


def test_a_check_that_fails_names_sentence_and_file(toy, tmp_path) -> None:
    kit = toy(changed('"id": f"{split}-{i}"', '"id": f"{i}"'))
    with pytest.raises(AssertionError) as caught:
        Check(kit=kit, rule=UNIQUE)()
    assert str(caught.value) == (
        "data set 'toy' gives the id '0' to more than one record; change "
        f"{tmp_path / 'toy_plugin.py'}"
    )


def test_a_check_is_skipped_while_a_rule_that_it_needs_fails(toy) -> None:
    kit = toy(changed('glob("*.json")', 'glob("*.jsonl")'))
    with pytest.raises(unittest.SkipTest, match="waits for sample_loads"):
        Check(kit=kit, rule=UNIQUE)()


def test_an_outcome_is_found_once(toy) -> None:
    kit = toy()
    assert kit.outcome(SAMPLE) is kit.outcome(SAMPLE)


def test_a_plugin_may_be_given_by_its_module(toy) -> None:
    registry = toy().subject.registry
    import toy_plugin

    assert Subject.of(toy_plugin, registry=registry).name == "toy"


def test_a_module_that_no_plugin_names_is_refused() -> None:
    with pytest.raises(PluginUnavailableError, match=r"'json' is not the entry point.*pip install"):
        Subject.of(json)


def test_the_core_is_no_plugin() -> None:
    with pytest.raises(UnknownNameError, match="'builtin' is the core itself"):
        Subject.of("builtin")


def test_gold_is_what_fine_tuning_trains_on(toy) -> None:
    from geovlm.config.control_tokens import ControlTokens
    from geovlm.engine.rows.rows import gold, to_row

    subject = toy().subject
    (task, *_) = subject.tasks
    case = subject.cases[task.name][0]
    prompt = Prompter(task, profile=profiles.QWEN2_5_VL).prompt(case.sample)
    row = to_row(prompt, instruction="")
    assert case.gold == gold(row, tokens=ControlTokens(()))


def test_the_tolerance_is_what_a_box_loses_when_it_is_written(toy) -> None:
    found = changed("[[x, y, x + 30, y + 30]]", "[[0, 0, 30.4, 30]]")
    cases = toy(found).subject.cases["toy/find"]
    # Qwen2.5-VL sees the 112 x 84 px at their size and writes 30 instead of 30.4
    assert cases[0].tolerance == pytest.approx(1 - 30 / 30.4, abs=1e-9)


def test_the_decorator_makes_one_test_per_rule() -> None:
    from geovlm.testing import parametrize_with_checks

    mark = parametrize_with_checks("xbd").mark
    assert mark.args[0] == "check"
    assert [check.rule.name for check in mark.args[1]] == [rule.name for rule in RULES]


def test_the_command_prints_one_line_per_rule(tmp_path) -> None:
    install_toy(tmp_path, GOOD)
    done = geovlm("plugins", "check", "toy", folder=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "result\trule\twhat was found"
    assert [line.split("\t")[:2] for line in lines[1:]] == [["ok", rule.name] for rule in RULES]


def test_the_command_fails_with_the_sentence(tmp_path) -> None:
    install_toy(tmp_path, changed('"id": f"{split}-{i}"', '"id": f"{i}"'))
    done = geovlm("plugins", "check", "toy", folder=tmp_path)
    assert done.returncode == 1
    assert "FAIL\tunique_ids\tdata set 'toy' gives the id '0' to more than one" in done.stdout
    assert "plugin 'toy' breaks 1 of 24 rules, see above" in done.stderr


def test_the_command_as_json_names_file_and_rule(tmp_path) -> None:
    install_toy(tmp_path, changed('"toy-info"', '"info"'))
    done = geovlm("plugins", "check", "toy", "--json", folder=tmp_path)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["plugin"], report["distribution"], report["ok"]) == ("toy", "geovlm-toy", False)
    (row,) = [each for each in report["rules"] if each["result"] == "FAIL"]
    assert row["rule"] == "prefixed_names"
    assert row["faults"] == [
        {
            "sentence": "command 'info' does not begin with the plugin's name 'toy'",
            "file": str(tmp_path / "toy_plugin.py"),
        }
    ]


def test_the_command_refuses_an_unknown_plugin(tmp_path) -> None:
    install_toy(tmp_path, GOOD)
    done = geovlm("plugins", "check", "toi", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown plugin 'toi'. Did you mean 'toy'?")
