from __future__ import annotations

from geovlm.testing.kit import RULES
from tests.conforming_plugin import changed

SHARE = "sum(said) / len(said)"


def test_a_metric_that_is_not_perfect_on_gold_is_named(broken) -> None:
    assert broken(changed(SHARE, "sum(said) / len(said) / 2")) == {
        "metrics_perfect_on_gold": [
            "'right' of task 'toy/name' with profile 'qwen2.5-vl' is 0.5 on correct answers, "
            "should be at least 1"
        ]
    }


def test_a_metric_of_which_less_is_better_is_0_on_gold(broken) -> None:
    falling = "compute=right, higher_is_better=False"
    assert broken(changed("compute=right", falling)) == {
        "metrics_perfect_on_gold": [
            "'right' of task 'toy/name' with profile 'qwen2.5-vl' is 1 on correct answers, "
            "should be at most 0"
        ]
    }


def test_a_metric_of_errors_is_as_good(broken) -> None:
    falling = changed("compute=right", "compute=right, higher_is_better=False")
    assert broken(falling.replace(SHARE, f"1 - {SHARE}")) == {}


def test_a_metric_that_praises_nonsense_is_named(broken) -> None:
    assert broken(changed(SHARE, "1.0")) == {
        "metrics_perfect_on_gold": [
            "'right' of task 'toy/name' with profile 'qwen2.5-vl' is 1 on nonsense as on correct "
            "answers"
        ]
    }


def test_a_primary_metric_that_nobody_computes_is_named(broken) -> None:
    assert broken(changed('primary_metric="right"', 'primary_metric="rights"')) == {
        "metrics_perfect_on_gold": ["task 'toy/name': primary metric 'rights' is none of right"]
    }


def test_a_reward_that_pays_for_naming_every_class_is_named(broken) -> None:
    found = broken(
        changed("text == ctx.target", "text.count(ctx.target").replace(
            '"answer"])\n\n\ndef right', '"answer"]) > 0)\n\n\ndef right'
        )
    )
    assert list(found) == ["blindness_earns_little"]
    assert found["blindness_earns_little"][0].startswith("task 'toy/name': the blind policy ")
    assert found["blindness_earns_little"][0].endswith(
        "earns 100% of what correct answers earn from the robust set, allowed is the rate of the "
        "most frequent answer, 40%"
    )


def test_the_rate_of_the_most_frequent_answer_is_remarked(toy) -> None:
    (blind,) = [rule for rule in RULES if rule.name == "blindness_earns_little"]
    assert toy().outcome(blind).line() == (
        "task 'toy/name': the most frequent answer is right 40% of the time, n = 10"
    )
