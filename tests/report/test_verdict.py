"""The verdict of runs whose scores are written by hand."""

from __future__ import annotations

from typing import Any

from geovlm.report import tables, verdict

RESOLVED = {"config": {"stages": [{"kind": "sft", "steps": 150}, {"kind": "grpo", "steps": 12}]}}


SIGNAL = {"grpo": {"steps": 10, "constant_share": 0.9, "constant": {"t/a": 0.93, "t/b": 0.1}}}


def moved(difference: float, low: float, high: float, p: float) -> dict[str, Any]:
    return {"difference": difference, "ci95": [low, high], "p": p}


UP = moved(0.5, 0.3, 0.7, 0.001)
FLAT = moved(0.01, -0.05, 0.07, 0.6)
DOWN = moved(-0.04, -0.08, -0.01, 0.043)


def stage(value: float | None, *, change: dict[str, Any] | None = None, **more: Any) -> dict:
    """The entry of a stage of 100 samples; `change` is that of the primary metric."""
    entry = {"n": 100, "metrics": {"accuracy": value}, "ci95": {}, "sampled_reward": 1.5, **more}
    if change is not None:
        sampled = entry.pop("sampled_change", None)
        entry["change"] = {"against": "before", "metrics": {"accuracy": change}}
        entry["change"] |= {"sampled_reward": sampled} if sampled else {}
    return entry


def blind(value: float, *, model: float, gain: dict[str, Any], n: int = 100) -> dict[str, Any]:
    numbers = {"metrics": {"accuracy": value}, "model": {"accuracy": model}}
    return {"stage": "grpo", "n": n, **numbers, "gain": {"accuracy": gain}}


BEATEN = {
    "majority": blind(0.15, model=0.95, gain=moved(0.8, 0.7, 0.9, 0.001)),
    "text_only": blind(0.18, model=0.95, gain=moved(0.77, 0.65, 0.85, 0.002)),
}
UNBEATEN = {"text_only": blind(0.58, model=0.59, gain=moved(0.01, -0.1, 0.12, 0.9))}


def task(
    sft: dict[str, Any] = UP,
    grpo: dict[str, Any] = FLAT,
    *,
    blind: dict[str, Any] = BEATEN,
    **more: Any,
) -> dict[str, Any]:
    """A task of three stages; `more` belongs to the entry of the last one."""
    stages = {
        "base": stage(0.06),
        "sft": stage(0.94, change=sft),
        "grpo": stage(0.95, change=grpo, **more),
    }
    return {"primary": "accuracy", "stages": stages, "blind": blind}


def of(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    named = {f"t/{letter}": each for letter, each in zip("abcdefghi", tasks, strict=False)}
    return verdict.of({"tasks": named, "seconds": {}, **more}, RESOLVED)


def test_a_task_that_beats_every_blind_baseline_after_a_rise_has_learned() -> None:
    found = of(task())["tasks"]["t/a"]
    assert found["outcome"] == "learned"
    assert found["sentence"] == "learned from the images (n 100, p 0.002)"
    assert found["stages"] == {"base": 0.06, "sft": 0.94, "grpo": 0.95}
    assert (found["blind"]["name"], found["blind"]["value"]) == ("text only", 0.18)
    assert (found["blind"]["model"], found["blind"]["n"], found["blind"]["p"]) == (0.95, 100, 0.002)
    assert found["reasons"] == []


def test_a_task_that_one_baseline_equals_is_not_shown_to_look_at_the_images() -> None:
    found = of(task(blind=BEATEN | UNBEATEN))["tasks"]["t/a"]
    assert found["outcome"] == "not_shown"
    assert found["sentence"] == "not shown to look at the images: 0.59 against 0.58 blind (p 0.90)"


def test_the_model_and_the_blind_value_are_of_the_same_few_samples() -> None:
    few = blind(0.125, model=0.1875, gain=moved(0.0625, -0.2, 0.3, 0.7), n=16)
    found = of(task(blind={"text_only": few}))["tasks"]["t/a"]
    assert (
        found["sentence"]
        == "not shown to look at the images: 0.19 against 0.12 blind (n 16, p 0.70)"
    )
    assert (found["blind"]["value"], found["blind"]["model"]) == (0.125, 0.1875)


def test_a_stage_that_fell_is_named_with_the_place_of_its_answers() -> None:
    found = of(task(grpo=DOWN))["tasks"]["t/a"]
    assert found["outcome"] == "below_before"
    assert found["sentence"] == "GRPO is below the stage before, p 0.04: see eval/grpo/t__a.jsonl"


def test_stages_that_moved_nothing_changed_nothing_measurable() -> None:
    found = of(task(sft=FLAT))
    assert found["tasks"]["t/a"]["outcome"] == "unchanged"
    assert found["tasks"]["t/a"]["sentence"] == (
        "SFT and GRPO changed nothing measurable; answers from the images (n 100, p 0.002)"
    )


def test_without_a_baseline_of_the_model_itself_nothing_is_known() -> None:
    found = of(task(blind={"majority": BEATEN["majority"]}))
    assert found["tasks"]["t/a"]["outcome"] == "unknown"
    assert found["tasks"]["t/a"]["sentence"] == "no baseline without the images was measured"
    assert found["summary"].endswith("; no baseline without the images was measured.")


def test_an_undefined_metric_is_unknown() -> None:
    made = task()
    made["stages"]["grpo"]["metrics"] = {"accuracy": None}
    found = of(made)["tasks"]["t/a"]
    assert (found["outcome"], found["sentence"]) == (
        "unknown",
        "accuracy is undefined for these answers",
    )


def test_the_summary_says_what_each_stage_did() -> None:
    found = of(task(), task(), sampled={"grpo": {"against": "sft", **FLAT, "tasks": 2}})
    assert found["summary"] == "SFT taught both tasks; 12 steps of GRPO changed neither measurably."


def test_a_raised_sampled_reward_is_what_grpo_did() -> None:
    gain = {"against": "sft", **moved(0.06, 0.02, 0.1, 0.004), "tasks": 2}
    found = of(task(), task(), sampled={"grpo": gain})
    assert found["sampled"] == {"stage": "grpo", **gain}
    assert found["summary"] == (
        "SFT taught both tasks; 12 steps of GRPO raised the sampled reward by 0.06 (0.02 to 0.10)."
    )


def test_a_lowered_sampled_reward_is_said_without_signs() -> None:
    gain = {"against": "sft", **moved(-0.06, -0.1, -0.02, 0.004), "tasks": 1}
    found = of(task(), sampled={"grpo": gain})
    assert "12 steps of GRPO lowered the sampled reward by 0.06 (0.02 to 0.10)" in found["summary"]


def test_the_summary_counts_tasks_and_names_a_single_one() -> None:
    found = of(task(), task(grpo=DOWN), task(blind=UNBEATEN), task(sft=FLAT))
    assert found["summary"] == (
        "SFT raised 3 of 4 tasks; 12 steps of GRPO lowered t/b; t/c is not shown to look at the "
        "images."
    )


def test_where_no_task_is_shown_to_look_the_summary_says_so() -> None:
    unshown = task(blind=UNBEATEN)
    assert of(unshown, unshown)["summary"].endswith(
        "; neither task is shown to look at the images."
    )
    assert of(unshown)["summary"].endswith("; t/a is not shown to look at the images.")


def test_a_model_that_is_only_evaluated_answers_from_the_images() -> None:
    made = {"primary": "accuracy", "stages": {"base": stage(0.95)}, "blind": BEATEN}
    found = of(made)
    assert found["tasks"]["t/a"]["outcome"] == "learned"
    assert found["tasks"]["t/a"]["sentence"] == "answers from the images (n 100, p 0.002)"
    assert found["tasks"]["t/a"]["sampled"] is None
    assert found["summary"] == "t/a is answered from the images."


def test_the_sampled_reward_is_shown_around_grpo() -> None:
    found = of(task(sampled_reward=1.75, sampled_change=UP))["tasks"]["t/a"]
    assert found["sampled"] == {"sft": 1.5, "grpo": 1.75, "gain": UP}


def test_known_reasons_stand_with_the_task() -> None:
    made = task(
        blind=UNBEATEN,
        objects={"n": 200, "small_px": 4, "small_share": 0.31, "median_px": 6.12},
        unreadable=0.4,
        cut=0.125,
        decoding={"max_new_tokens": 96},
    )
    found = of(made, signal=SIGNAL)["tasks"]["t/a"]
    assert found["reasons"] == [
        "objects under 4 px at the model's input size: 31 % (median 6.1 px)",
        "format lost: 40 % of the answers cannot be read",
        "cut at 96 tokens (max_new_tokens): 12 % of the answers",
        "reward constant in 93 % of the groups of GRPO",
    ]


def test_groups_without_signal_are_those_of_the_task_or_of_all() -> None:
    found = of(task(), task(), task(), signal=SIGNAL)
    assert [each["reasons"] for each in found["tasks"].values()] == [
        ["reward constant in 93 % of the groups of GRPO"],
        [],
        ["reward constant in 90 % of the groups of GRPO"],
    ]
    assert "; 10 steps of GRPO changed" in found["summary"]


def test_a_raised_reward_needs_no_reason() -> None:
    found = of(task(sampled_change=UP), signal=SIGNAL)
    assert found["tasks"]["t/a"]["reasons"] == []


def test_small_objects_are_no_excuse_for_what_was_learned() -> None:
    objects = {"n": 200, "small_px": 4, "small_share": 0.31, "median_px": 6.12}
    assert of(task(objects=objects))["tasks"]["t/a"]["reasons"] == []


def test_a_smaller_value_is_better_where_the_metric_says_so() -> None:
    worse = {"text_only": blind(0.9, model=0.2, gain=moved(-0.7, -0.8, -0.6, 0.001))}
    made = task(sft=moved(-0.5, -0.6, -0.4, 0.001), blind=worse) | {"higher_is_better": False}
    found = of(made)
    assert found["tasks"]["t/a"]["outcome"] == "learned"
    assert found["tasks"]["t/a"]["blind"]["beaten"] is True
    (row,) = tables.table({"tasks": {"t/a": made}})
    assert (row["higher_is_better"], row["blind"]["lead"]) == (False, 0.7)


def test_the_hardest_baseline_is_that_of_the_smallest_lead_not_the_largest_value() -> None:
    low = blind(0.1, model=0.3, gain=moved(0.2, 0.1, 0.3, 0.01), n=16)
    high = blind(0.5, model=0.9, gain=moved(0.4, 0.3, 0.5, 0.01))
    made = task(blind={"majority": high, "text_only": low})
    assert of(made)["tasks"]["t/a"]["blind"]["name"] == "text only"


def test_a_run_without_scores_says_so() -> None:
    assert of() == {"summary": "Nothing was evaluated yet.", "tasks": {}, "sampled": None}


def test_scores_of_older_runs_have_a_verdict_too() -> None:
    made = task()
    found = verdict.of({"tasks": {"t/a": made}, "seconds": {}})
    assert found["summary"] == "SFT taught t/a; GRPO changed nothing measurable."
    assert found["tasks"]["t/a"]["sampled"] == {"sft": 1.5, "grpo": 1.5, "gain": None}


def test_a_baseline_that_could_not_be_measured_is_left_out() -> None:
    lacking = {"shuffled": {"stage": "grpo", "unavailable": "all samples show the same images"}}
    found = of(task(blind=BEATEN | lacking))["tasks"]["t/a"]
    assert found["sentence"] == "learned from the images (n 100, p 0.002)"


def test_a_baseline_without_a_gain_is_not_the_one_that_is_named() -> None:
    without = {"stage": "grpo", "n": 100, "metrics": {"accuracy": 0.99}, "gain": {}}
    metrics = {
        "tasks": {
            "t/a": task(blind={"majority": without | {"model": {"accuracy": 0.95}}} | UNBEATEN)
        }
    }
    assert "0.59 against 0.58 blind" in verdict.of(metrics)["tasks"]["t/a"]["sentence"]
