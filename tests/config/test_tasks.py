from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from geovlm import answers, boxes
from geovlm.api import ModelProfile, PromptContext, RewardContext, Sample, TaskSpec, Turn
from geovlm.config.schema import RunConfig
from geovlm.config.tasks import configured, instruction_of, weights_of
from geovlm.data import prompts
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row, pictures, to_row
from geovlm.errors import ConfigError
from geovlm.plugins import registry
from geovlm.plugins.profiles import QWEN2_5_VL

BOX = [30.0, 60.0, 60.0, 90.0]
"""A quarter of a patch of 120 px along each side."""


def prompt(sample: Sample, ctx: PromptContext) -> Turn:
    return Turn(question="Where?", answer=boxes.write([BOX], ctx), reasoning="It is there.")


def task(**fields: object) -> TaskSpec:
    return TaskSpec(
        name="t/find",
        summary="",
        dataset="d",
        prompt=prompt,
        rewards={"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
        metrics=("detection",),
        primary_metric="f1",
        **fields,  # type: ignore[arg-type]
    )


def config(**tables: object) -> RunConfig:
    return RunConfig.model_validate({"tasks": tables or {"t": {}}})


@pytest.fixture
def patch(tmp_path: Path) -> Sample:
    """A patch as small as BigEarthNet's."""
    Image.new("RGB", (120, 120)).save(tmp_path / "patch.png")
    return Sample(id="1", images=(tmp_path / "patch.png",), target={"boxes": [BOX]})


def row_of(sample: Sample, spec: TaskSpec, profile: ModelProfile = QWEN2_5_VL) -> Row:
    prompt = prompts.Prompter(spec, profile=profile).prompt(sample)
    return to_row(prompt, instruction="")


def test_a_patch_of_120_px_is_16_tokens_and_256_with_min_pixels(patch: Sample) -> None:
    larger = configured(task(), config(t={"min_pixels": 448 * 448}))
    seen = [prompts.Prompter(spec, profile=QWEN2_5_VL).prompt(patch) for spec in (task(), larger)]
    assert [each.input_sizes for each in seen] == [((112, 112),), ((448, 448),)]
    assert [prompts.visual_tokens(each.input_sizes, profile=QWEN2_5_VL) for each in seen] == [
        16,
        256,
    ]


def test_the_instruction_of_a_task_is_that_of_its_form() -> None:
    alone = task(reasoning="none")
    asked = [instruction_of(spec, config()) for spec in (task(), alone)]
    assert asked == [answers.INSTRUCTION, "Answer in <answer> </answer>."]
    own = RunConfig.model_validate({"tasks": {"t": {}}, "answer_instruction": "Only answer."})
    assert instruction_of(alone, own) == "Only answer."


def test_bigearthnet_asks_for_256_tokens_by_itself() -> None:
    spec = registry.load().task("bigearthnet")
    seen = boxes.input_size((120, 120), profile=QWEN2_5_VL, min_pixels=spec.min_pixels)
    assert seen == (448, 448)


def test_boxes_are_in_the_frame_of_the_larger_image_and_come_back(patch: Sample) -> None:
    row = row_of(patch, configured(task(), config(t={"min_pixels": 448 * 448})))
    assert row.answer == "[112, 224, 224, 336]"  # quarters of 448 px
    context: RewardContext = prompts.reward_context(row, profile=QWEN2_5_VL, options={})
    assert [list(box[:4]) for box in boxes.parse(row.answer, context)] == [BOX]


def test_the_trainer_reads_the_image_at_that_size(patch: Sample) -> None:
    row = row_of(patch, configured(task(), config(t={"min_pixels": 448 * 448})))
    (image,) = pictures(row, cache=ImageCache())
    assert image.size == (448, 448)


def test_the_table_replaces_what_the_task_declares() -> None:
    declared = task(min_pixels=448 * 448)
    assert configured(declared, config(t={"min_pixels": 112 * 112})).min_pixels == 112 * 112
    assert configured(declared, config(t={})) is declared


def test_the_nearest_table_counts() -> None:
    both = config(**{"t": {"min_pixels": 50_000}, "t/find": {"min_pixels": 90_000}})
    assert configured(task(), both).min_pixels == 90_000


def test_more_than_the_model_takes_is_refused() -> None:
    small = RunConfig.model_validate({"tasks": {"t": {"min_pixels": 90_000}}, "max_pixels": 50_000})
    with pytest.raises(ConfigError, match=r"tasks\.t\.min_pixels is 90000, .* at most 50000"):
        configured(task(), small)


def test_weights_are_one_where_only_others_have_some() -> None:
    assert weights_of(config(a={"weight": 3}, b={}), {"a/x": 5, "b": 9}) == {"a/x": 3.0, "b": 1.0}
    assert weights_of(config(a={}, b={}), {"a": 5, "b": 9}) is None


def test_declared_sizes_spare_the_headers() -> None:
    nowhere = Sample(id="1", images=(Path("/nowhere.png"),), target={}, image_sizes=((120, 120),))
    prompt = prompts.Prompter(task(), profile=QWEN2_5_VL).prompt(nowhere)
    assert prompt.image_sizes == ((120, 120),)


def test_the_weight_of_a_prefix_in_a_stage_is_shared_by_the_sizes_of_its_tasks() -> None:
    stage = {"kind": "sft", "epochs": 1, "weights": {"a": 30, "b": 7}}
    made = RunConfig(tasks={"a": {"weight": 9}}, stages=[stage, {"kind": "sft", "epochs": 1}])
    sizes = {"a/x": 100, "a/y": 200, "b": 4}
    assert weights_of(made, sizes, stage=0) == {"a/x": 10.0, "a/y": 20.0, "b": 7.0}
    assert weights_of(made, sizes, stage=1) == {"a/x": 9.0, "a/y": 9.0, "b": 1.0}


def test_a_stage_trains_the_tasks_that_it_weighs() -> None:
    made = RunConfig(stages=[{"kind": "sft", "epochs": 1, "weights": {"a": 1, "gone": 1}}])
    assert made.tasks_of(0, ["a/x", "b"], strict=True) == ["a/x"]
    assert (made.trains("a/x"), made.trains("b")) == (True, False)


def test_a_task_of_a_stage_that_its_weights_leave_out_is_refused() -> None:
    with pytest.raises(ValueError, match="'tasks' names 'b', and 'weights' does not"):
        RunConfig(stages=[{"kind": "sft", "epochs": 1, "tasks": ["b"], "weights": {"a": 1}}])
