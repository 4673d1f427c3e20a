"""One row per task is read alike by all stages, or the run is refused with a line per fault."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from geovlm import boxes, nano
from geovlm.api import ModelProfile, PromptContext
from geovlm.config import load as settings
from geovlm.config.schema import RunConfig
from geovlm.engine.models import load
from geovlm.engine.models.processor import load_processor
from geovlm.engine.programs import preflight
from geovlm.engine.programs.agreement import Finding, Reader, Seen, findings
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rendering import Chat
from geovlm.engine.rows.rows import Row
from geovlm.files.jsontext import dumps
from geovlm.plugins import registry
from geovlm.plugins.profiles import QWEN2_5_VL
from geovlm.raster import reference
from tests import inside

STORED = (600, 400)
BOX = [60.0, 40.0, 300.0, 200.0]
NANO_PX = 84 * 84
PROFILE = replace(QWEN2_5_VL, size_factor=14, min_pixels=14 * 14, max_pixels=48 * 14 * 14)
"""Limits far enough apart that images keep their shape."""
CONFIG = settings.load(None, tasks=["xbd/count"], overrides=["device=cpu"])


@pytest.fixture(scope="module")
def whole() -> Any:
    made = load_processor(
        str(nano.path()), min_pixels=PROFILE.min_pixels, max_pixels=PROFILE.max_pixels
    )
    made.image_processor.do_resize = False
    return made


@pytest.fixture
def processor(whole: Any) -> Any:
    """A processor of nano that a test may break."""
    return copy.deepcopy(whole)


@pytest.fixture
def row(tmp_path: Path) -> Row:
    return made_row(tmp_path, profile=PROFILE)


def made_row(folder: Path, *, profile: ModelProfile, answer: str | None = None) -> Row:
    path = folder / "tile.png"
    Image.new("RGB", STORED, "green").save(path)
    seen = boxes.input_size(STORED, profile=profile)
    context = PromptContext(profile=profile, image_sizes=(STORED,), input_sizes=(seen,))
    return Row(
        task="roofs",
        sample_id="tile",
        images=(dumps(reference.encode(path)),),
        question="Where is the roof?",
        reasoning="One roof is red.",
        answer=boxes.write([BOX], context) if answer is None else answer,
        target={"boxes": [BOX]},
        image_sizes=(STORED,),
        input_sizes=(seen,),
    )


def seen_by(row: Row, processor: Any, *, profile: ModelProfile = PROFILE) -> Seen:
    return preflight.see(
        row,
        chat=Chat.of(processor),
        profile=profile,
        config=CONFIG,
        model=load.load_config(RunConfig()),
        cache=ImageCache(),
    )


def reader(processor: Any) -> Reader:
    return Reader(processor=processor, stops=(processor.tokenizer.eos_token_id,))


def faults(row: Row, processor: Any, *, profile: ModelProfile = PROFILE) -> dict[str, Finding]:
    found = findings(seen_by(row, processor, profile=profile), reader(processor))
    return {each.rule: each for each in found}


def taught(row: Row, processor: Any, target: str) -> dict[str, Finding]:
    """Return the faults of a row whose target is this text."""
    ids = processor.tokenizer(target, add_special_tokens=False)["input_ids"]
    changed = replace(seen_by(row, processor), target=tuple(ids))
    return {each.rule: each for each in findings(changed, reader(processor))}


def test_a_sound_row_has_no_fault(row: Row, processor: Any) -> None:
    assert faults(row, processor) == {}


def test_a_row_is_read_in_all_ways(row: Row, processor: Any) -> None:
    seen = seen_by(row, processor)
    # 600 x 400 px within 48 cells of 14 px: 8 x 5 cells, as 8.49 x 5.66 would be 3 : 2
    assert row.input_sizes == ((112, 70),)
    assert (
        seen.images.made == seen.images.said == seen.alone.ids.count(seen.images.token or 0) == 40
    )
    assert seen.images.sizes == ((112, 70),)
    assert seen.trained is not None
    assert seen.sampled is not None
    assert seen.trained.ids == seen.sampled.ids == seen.alone.ids
    text = reader(processor).completion(seen.target or ())
    assert text.strip() == f"<think> One roof is red. </think><answer> {row.answer} </answer>"


def test_a_target_that_is_a_literal_of_python_is_found(row: Row, processor: Any) -> None:
    gold = f"<think> One roof is red. </think><answer> {row.answer} </answer>"
    literal = str([{"type": "text", "text": gold}])
    found = taught(row, processor, f"{literal}<|im_end|>")
    assert set(found) == {"text"}
    assert "reads back without the correct format: \"[{'type': 'text'" in found["text"].problem


def test_a_target_that_ends_in_the_next_role_is_found(row: Row, processor: Any) -> None:
    gold = f"<think> One roof is red. </think><answer> {row.answer} </answer>"
    found = taught(row, processor, f"{gold}user")
    assert "ends in" in found["end"].problem
    assert "not in one of the model's EOS tokens ('<|im_end|>')" in found["end"].problem


def test_a_target_that_goes_on_behind_its_end_is_found(row: Row, processor: Any) -> None:
    gold = f"<think> One roof is red. </think><answer> {row.answer} </answer>"
    assert set(taught(row, processor, f"{gold}<|im_end|>\n")) == set()
    assert set(taught(row, processor, f"{gold}<|im_end|>\nuser")) == {"end"}


def test_a_row_without_reasoning_is_taught_its_answer_alone(row: Row, processor: Any) -> None:
    alone = replace(row, thinks=False, reasoning="")
    assert faults(alone, processor) == {}
    seen = seen_by(alone, processor)
    text = reader(processor).completion(seen.target or ())
    assert text.strip() == f"<answer> {row.answer} </answer>"
    emptied = f"<think>\n\n</think>\n\n<answer> {row.answer} </answer><|im_end|>"
    assert taught(alone, processor, emptied) == {}
    thought = f"<think> Why? </think><answer> {row.answer} </answer><|im_end|>"
    assert "without the correct reasoning" in taught(alone, processor, thought)["text"].problem


def test_reasoning_that_is_cut_off_is_found(row: Row, processor: Any) -> None:
    closed = f"One roof is red.\n</think>\n\n<answer> {row.answer} </answer><|im_end|>"
    assert "the correct reasoning and format" in taught(row, processor, closed)["text"].problem
    emptied = f"<think>\n\n</think>\n\n<answer> {row.answer} </answer><|im_end|>"
    assert "the correct reasoning and format" in taught(row, processor, emptied)["text"].problem


def test_another_prompt_in_training_than_in_evaluation_is_found(row: Row, processor: Any) -> None:
    seen = seen_by(row, processor)
    assert seen.trained is not None
    other = seen.trained._replace(ids=seen.trained.ids[:-1], types={})
    (found,) = findings(replace(seen, trained=other), reader(processor))
    assert (found.stage, found.rule) == ("SFT", "prompt")
    assert "'' in place of" in found.problem


def test_a_beginning_that_template_and_tokenizer_both_write_is_found(
    row: Row, processor: Any
) -> None:
    tokenizer = processor.tokenizer
    tokenizer.bos_token = "<|endoftext|>"
    seen = seen_by(row, processor)
    begin = tokenizer.bos_token_id
    twice = seen.asked._replace(ids=(begin, begin, *seen.asked.ids), types={})
    found = list(findings(replace(seen, asked=twice, alone=twice), reader(processor)))
    assert (
        "begins with '<|endoftext|>' twice"
        in {each.rule: each for each in found}["beginning"].problem
    )


def test_padding_on_the_right_is_found(row: Row, processor: Any) -> None:
    processor.tokenizer.padding_side = "right"
    found = faults(row, processor)
    assert found["padding"].stage == "GRPO"
    assert "padded on the right" in found["padding"].problem


def test_a_processor_that_resizes_again_is_found(tmp_path: Path, whole: Any) -> None:
    again = load_processor(str(nano.path()), min_pixels=20 * 784, max_pixels=20 * 784)
    profile = replace(PROFILE, min_pixels=20 * 784, max_pixels=20 * 784)
    row = made_row(tmp_path, profile=profile)
    found = faults(row, again, profile=profile)
    assert {"sizes", "tokens", "boxes"} <= set(found)
    # 80 cells for 3 : 2: 10 x 7 after one resize, which the processor makes larger again
    assert found["sizes"].problem.startswith("image 1 is declared as 140 x 98 px, and the model")
    again.image_processor.do_resize = False
    assert faults(row, again, profile=profile) == {}


def test_limits_other_than_those_of_the_processor_are_found(tmp_path: Path, whole: Any) -> None:
    resizing = copy.deepcopy(whole)
    resizing.image_processor.do_resize = True
    wrong = replace(PROFILE, max_pixels=40 * 784)
    row = made_row(tmp_path, profile=wrong)
    assert {"sizes", "tokens"} <= set(faults(row, resizing, profile=wrong))


def test_boxes_in_another_order_are_found(tmp_path: Path, processor: Any) -> None:
    x0, y0, x1, y1 = (11, 7, 56, 35)
    sound = made_row(tmp_path, profile=PROFILE, answer=f"[{x0}, {y0}, {x1}, {y1}]")
    assert faults(sound, processor) == {}
    turned = made_row(tmp_path, profile=PROFILE, answer=f"[{y0}, {x0}, {y1}, {x1}]")
    assert set(faults(turned, processor)) == {"boxes"}
    assert "lie elsewhere on the stored image" in faults(turned, processor)["boxes"].problem


def test_boxes_in_another_frame_are_found(tmp_path: Path, processor: Any) -> None:
    thousandths = made_row(tmp_path, profile=PROFILE, answer="[100, 100, 500, 500]")
    assert set(faults(thousandths, processor)) == {"boxes"}


def test_type_ids_that_are_shifted_against_the_prompt_are_found(row: Row, processor: Any) -> None:
    seen = seen_by(row, processor)
    types = seen.asked.types["mm_token_type_ids"]
    shifted = seen.asked._replace(types={"mm_token_type_ids": (*types[1:], 0)})
    longer = seen.asked._replace(types={"mm_token_type_ids": (0, *types)})
    for wrong, problem in ((shifted, "is not 1 at the tokens of images"), (longer, "entries for")):
        (found,) = findings(replace(seen, asked=wrong), reader(processor))
        assert problem in found.problem


def test_a_row_that_is_read_otherwise_in_a_batch_is_found(row: Row, processor: Any) -> None:
    seen = seen_by(row, processor)
    other = seen.asked._replace(ids=(*seen.asked.ids, 0), types={})
    (found,) = findings(replace(seen, asked=other), reader(processor))
    assert (found.stage, found.rule) == ("evaluation", "batch")


def test_one_line_stands_for_all_tasks_with_the_same_fault(row: Row, processor: Any) -> None:
    processor.tokenizer.padding_side = "right"
    seen = [seen_by(replace(row, task=task), processor) for task in ("roofs", "roads")]
    found = list(preflight.lines(seen, reader(processor), model_type="qwen2_5_vl"))
    padded = [line for line in found if "padded" in line]
    (line,) = padded
    assert line.startswith("qwen2_5_vl, GRPO of roofs and 1 more task, sample 'tile': its prompts")


def test_a_processor_that_takes_no_images_is_one_line(row: Row, processor: Any) -> None:
    processor.chat_template = processor.chat_template.replace("<|image_pad|>", "<|image_pad|>" * 2)
    found = preflight.lines([seen_by(row, processor)], reader(processor), model_type="qwen2_5_vl")
    assert any("its inputs cannot be built: " in line for line in found)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A checkpoint whose chat template writes two placeholders for an image."""
    folder = Path(shutil.copytree(nano.path(), tmp_path / "broken"))
    template = folder / "chat_template.jinja"
    written = template.read_text(encoding="utf-8")
    template.write_text(written.replace("<|image_pad|>", "<|image_pad|>" * 2), encoding="utf-8")
    return folder


@pytest.mark.usefixtures("tried_trainers")
@pytest.mark.parametrize("command", ["run", "eval", "plan"])
def test_every_command_that_plans_refuses_what_is_not_read_alike(
    command: str, broken: Path, tmp_path: Path
) -> None:
    output = [] if command == "plan" else ["--output", tmp_path / "run"]
    given = ["--model", broken, "--tasks", "xbd/count", "--set", "sample.records=8"]
    ended = inside.geovlm(command, *given, "--set", "device=cpu", *output)
    assert ended.returncode == 2
    (line,) = [each for each in ended.stderr.splitlines() if each.startswith("error: ")]
    assert line.startswith("error: qwen2_5_vl, evaluation of xbd/count, sample ")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("tried_trainers")
def test_a_changed_file_of_the_model_is_read_again(broken: Path, tmp_path: Path) -> None:
    given = ("eval", "--tasks", "xbd/count", "--set", "sample.records=8", "--dry-run")
    folder = shutil.copytree(nano.path(), tmp_path / "model")
    words = (*given, "--model", folder, "--output", tmp_path / "run")
    assert inside.geovlm(*words).returncode == 0
    assert "trying prompts" not in inside.geovlm(*words).stderr
    shutil.copy(broken / "chat_template.jinja", folder)
    assert inside.geovlm(*words).returncode == 2


def test_the_profile_of_a_test_is_that_of_the_family() -> None:
    assert registry.load().profile("qwen2_5_vl").box_frame == PROFILE.box_frame
