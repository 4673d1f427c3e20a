"""The model card: metadata that the hub's library reads, and what it says to people."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from geovlm.config.model import ModelFacts
from geovlm.config.schema import RunConfig
from geovlm.plugins import registry
from geovlm.plugins.described import FILES_VARIABLE
from geovlm.plugins.profiles import QWEN2_5_VL
from geovlm.report import card as model_card
from geovlm.report.card_text import CardFacts


def entry(value: float) -> dict:
    return {
        "n": 17,
        "split": "val",
        "seed": 3,
        "task_version": 2,
        "pixels": {"min": 200_704, "max": 1_000_000},
        "metrics": {"mean_iou": value, "format_rate": 1.0},
        "ci95": {"mean_iou": [0.25, 0.5]},
        "sampled_reward": 1.0,
    }


def a_card(**changes: object) -> CardFacts:
    stages = [{"kind": "sft", "steps": 3, "trainer": {"learning_rate": 1e-3}}]
    config = RunConfig.model_validate(
        {"model": "Qwen/Qwen2.5-VL-3B-Instruct", "tasks": ["xbd/detect"], "stages": stages}
    )
    facts = CardFacts(
        name="detector",
        stage="sft",
        config=config,
        registry=registry.load(),
        task_names=["xbd/detect"],
        generated=[],
        model=ModelFacts(
            name="m",
            built_in=False,
            folder=None,
            model_type="qwen2_5_vl",
            profile=QWEN2_5_VL,
            parameters=10,
        ),
        dtype="bfloat16",
        metrics={
            "tasks": {
                "xbd/detect": {
                    "primary": "mean_iou",
                    "stages": {"base": entry(0.125), "sft": entry(0.375)},
                }
            }
        },
        environment={"geovlm": "0.1.0", "python": "3.11.7", "packages": {"torch": "2.13.0"}},
        stages=[{"kind": "sft", "steps": 3, "seconds": 61.2}],
        question='Where is "it"?\nAnswer | so.',
        images=2,
        compared=8,
        classes=["AutoProcessor (Qwen2_5_VLProcessor)", "AutoModelForImageTextToText (X)"],
    )
    return replace(facts, **changes)


def test_the_metadata_are_those_of_the_hub() -> None:
    data = ModelCard(model_card.write(a_card())).data
    assert data.base_model == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert (data.library_name, data.pipeline_tag) == ("transformers", "image-text-to-text")
    assert data.datasets == ["xbd"]
    assert {"geovlm", "earth-observation", "sft"} <= set(data.tags)
    (result,) = data.eval_results
    assert (result.task_name, result.metric_type, result.metric_value) == (
        "xbd/detect",
        "mean_iou",
        0.375,
    )
    assert (result.dataset_split, result.metric_args) == ("val", {"n": 17, "seed": 3})


def test_scores_come_with_all_that_belongs_to_them() -> None:
    card = model_card.write(a_card())
    row = "| `xbd/detect` v2 | **mean_iou** | 0.125 | 0.375 | 0.250..0.500 | 17 | val | 3 |"
    assert row in card
    assert "| `xbd/detect` v2 | format_rate | 1.000 | 1.000 |  | 17 | val | 3 |" in card


def test_it_says_which_tasks_have_no_reasoning() -> None:
    known = registry.load()
    alone = replace(known.task("xbd/detect"), reasoning="none")
    changed = replace(known, tasks={**known.tasks, "xbd/detect": alone})
    both = ["xbd/detect", "xbd/count"]
    one, mixed = (
        model_card.write(a_card(registry=changed, task_names=names)) for names in (both[:1], both)
    )
    assert "It answers `<answer> … </answer>`." in one
    assert "and `<answer> … </answer>` alone to `xbd/detect`." in mixed
    assert "It answers `<think> … </think><answer> … </answer>`." in model_card.write(a_card())


def test_a_licence_and_a_citation_that_are_absent_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ("[dataset]", 'name = "own"', 'source = "own.json"', 'format = "coco"')
    (tmp_path / "own.toml").write_text("\n".join([*lines, 'task = "detect"', 'labels = ["car"]']))
    monkeypatch.setenv(FILES_VARIABLE, str(tmp_path / "own.toml"))
    metrics = {"tasks": {"own": {"primary": "mean_iou", "stages": {"sft": entry(0.375)}}}}
    facts = a_card(registry=registry.load(), task_names=["own"], metrics=metrics)
    card = model_card.write(facts)
    unknown = "not stated by its owner"
    assert f"- Data, own: licence {unknown}; citation {unknown}" in card
    assert "| `own` | Boxes of every car. | own |" in card


def test_it_says_how_boxes_and_sizes_are_meant() -> None:
    card = model_card.write(a_card())
    assert "in pixels of the image as the model sees it, after the processor's resize" in card
    assert "Enlarge images of `xbd/detect` to at least 200,704 pixels" in card


def test_it_says_which_of_x_and_y_comes_first() -> None:
    facts = a_card()
    y_first = dataclasses.replace(QWEN2_5_VL, box_order="yxyx", box_frame="norm1000")
    model = dataclasses.replace(facts.model, profile=y_first)
    card = model_card.write(dataclasses.replace(facts, model=model))
    assert "Boxes are `[y0, x0, y1, x1]` in thousandths" in card


def test_it_says_nothing_of_boxes_in_a_frame_that_is_not_known() -> None:
    facts = a_card()
    unknown = dataclasses.replace(QWEN2_5_VL, box_frame=None)
    model = dataclasses.replace(facts.model, profile=unknown)
    assert "Boxes are" not in model_card.write(dataclasses.replace(facts, model=model))


def test_the_snippet_is_python_with_the_question_of_the_run() -> None:
    card = model_card.write(a_card())
    (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
    compile(code, "card", "exec")
    assert r'question = "Where is \"it\"?\nAnswer | so."' in code
    assert '("before.png", "after.png",)' in code
    one = model_card.write(a_card(images=1))
    assert '("image.png",)' in one


def test_generated_data_are_said_to_be_generated() -> None:
    card = model_card.write(a_card(generated=["xbd"]))
    assert "**Trained and scored on generated samples (xbd), not on real images.**" in card
    assert ModelCard(card).data.eval_results[0].dataset_name == "xbd (generated)"
    assert "generated samples" not in model_card.write(a_card())


def test_a_local_model_is_named_without_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "secret" / "mine"
    folder.mkdir(parents=True)
    config = a_card().config.model_copy(update={"model": str(folder)})
    card = model_card.write(a_card(config=config))
    assert "A local model, `mine`" in card
    assert "secret" not in card
    assert ModelCard(card).data.base_model is None


def test_nano_is_no_name_on_the_hub() -> None:
    config = a_card().config.model_copy(update={"model": "nano"})
    data = ModelCard(model_card.write(a_card(config=config))).data
    assert (data.base_model, data.license) == (None, "apache-2.0")


def test_the_licence_is_that_of_the_model_it_started_from(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(
        "---\nlicense: other\nlicense_name: qwen-research\nlicense_link: LICENSE\n---\n# x\n"
    )
    assert model_card.base_licence(str(tmp_path), revision=None) == {
        "license": "other",
        "license_name": "qwen-research",
        "license_link": "LICENSE",
    }


def test_a_model_whose_folder_is_gone_has_an_unknown_licence() -> None:
    found = model_card.base_licence("../gone", revision=None)
    assert (found["license"], found["license_name"]) == ("other", "that-of-the-base-model")


def test_an_unknown_licence_is_not_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **more: None)
    assert model_card.base_licence("Qwen/Qwen2.5-VL-3B-Instruct", revision=None) == {
        "license": "other",
        "license_name": "that-of-the-base-model",
        "license_link": "https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct",
    }
    assert (
        "Data, xbd: licence CC-BY-NC-SA-4.0 (non-commercial); citation Gupta et al."
        in model_card.write(a_card())
    )


def test_a_name_with_a_slash_is_nobodys_data_set_on_the_hub() -> None:
    facts = a_card(task_names=["rsvqa/lr"], metrics={"tasks": {}})
    card = model_card.write(facts)
    assert ModelCard(card).data.datasets == ["rsvqa-lr"]
    assert "None: the run evaluated nothing after this stage." in card


def test_a_blind_baseline_that_is_not_beaten_is_a_limit() -> None:
    facts = a_card()
    task = facts.metrics["tasks"]["xbd/detect"]
    blind = {
        "stage": "sft",
        "n": 17,
        "metrics": {"mean_iou": 0.3},
        "model": {"mean_iou": 0.375},
        "gain": {"mean_iou": {"difference": 0.075, "ci95": [-0.1, 0.2], "p": 0.4}},
    }
    metrics = {"tasks": {"xbd/detect": task | {"blind": {"majority": blind}}}}
    line = "Not clearly above a baseline that does not look at the images: `xbd/detect`."
    assert line in model_card.write(replace(facts, metrics=metrics))
    assert line not in model_card.write(facts)


def test_lora_is_said_to_be_merged() -> None:
    config = RunConfig.model_validate(
        a_card().config.model_dump(mode="json") | {"lora": {"r": 8, "alpha": 16}}
    )
    assert "LoRA (r = 8, alpha = 16), merged" in model_card.write(a_card(config=config))
    assert "Full fine-tuning" in model_card.write(a_card())
