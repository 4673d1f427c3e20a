"""A LoRA run, exported: programs without GeoVLM get the same answers from the folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import inside
from tests.engine.test_run import TASKS

LORA = [
    'stages=[{kind="sft",steps=4,trainer={per_device_train_batch_size=8,learning_rate=3e-3,'
    "save_steps=4,gradient_checkpointing=false}}]",
    "lora.r=8",
    "lora.alpha=64",
    "eval.limit=3",
    "eval.base=false",
    "eval.blind=off",
    "eval.resamples=10",
    "sample.records=8",
]
HAS_TORCHVISION = find_spec("torchvision") is not None
OUTSIDE = """
import json, sys
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

folder, asks = sys.argv[1], json.load(open(sys.argv[2]))
tokenizer = AutoTokenizer.from_pretrained(folder)
pixels = AutoImageProcessor.from_pretrained(folder)
model = AutoModelForImageTextToText.from_pretrained(folder)
pad = "<|image_pad|>"
said = []
for ask in asks:
    images = [Image.open(path).convert("RGB") for path in ask["images"]]
    content = [{"type": "image"} for _ in images] + [{"type": "text", "text": ask["question"]}]
    messages = [{"role": "user", "content": content}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    seen = pixels(images=images, return_tensors="pt")
    for grid in seen["image_grid_thw"]:
        text = text.replace(pad, "<image>" * int(grid.prod() // pixels.merge_size**2), 1)
    ids = tokenizer(text.replace("<image>", pad), return_tensors="pt")
    types = (ids["input_ids"] == tokenizer.convert_tokens_to_ids(pad)).long()
    output = model.generate(**ids, **seen, mm_token_type_ids=types)
    said.append(tokenizer.decode(output[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))
assert "geovlm" not in sys.modules
print(json.dumps(said))
"""
BY_PROCESSOR = """
import sys
import transformers
if sys.argv[2] == "without torchvision":
    from geovlm.engine.models.processor import load_processor
    transformers.AutoProcessor.from_pretrained = load_processor
exec(open(sys.argv[1]).read())
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "lora"
    sets = [part for one in LORA for part in ("--set", one)]
    done = inside.geovlm("run", "--tasks", TASKS, "--output", output, *sets)
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    out = run.with_name("exported")
    done = inside.geovlm("export", run, "--out", out, "--compare", 4)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    assert "4 of 4 answers are the same" in done.stderr
    named = "AutoProcessor (" if HAS_TORCHVISION else "note: AutoProcessor was not tested"
    assert named in done.stderr
    return out


def evaluated(run: Path) -> list[dict]:
    """The prompts of GeoVLM's own evaluation with their greedy completions."""
    paths = sorted((run / "eval" / "sft").glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def outside(folder: Path, asks: list[dict], scratch: Path) -> list[str]:
    """Answers of a program that imports transformers and PIL only, not even by `PYTHONPATH`."""
    (scratch / "asks.json").write_text(json.dumps(asks))
    done = subprocess.run(
        [sys.executable, "-I", "-c", OUTSIDE, str(folder), str(scratch / "asks.json")],
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_an_exported_run_answers_identically_outside(
    run: Path, exported: Path, tmp_path: Path
) -> None:
    records = evaluated(run)
    answers = outside(exported, records, tmp_path)
    assert len(answers) == 6
    assert answers == [record["completion"] for record in records]
    assert len(set(answers)) > 1


@pytest.mark.slow
def test_the_folder_holds_the_adapter_merged(run: Path, exported: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    from geovlm import nano

    (checkpoint,) = (run / "stages" / "0-sft" / "checkpoints").glob("checkpoint-*")
    assert not (exported / "adapter_config.json").exists()
    base = AutoModelForImageTextToText.from_pretrained(nano.path())
    merged = AutoModelForImageTextToText.from_pretrained(exported)
    ids = torch.arange(20, 60)[None]
    more = {"attention_mask": torch.ones_like(ids), "mm_token_type_ids": torch.zeros_like(ids)}
    with torch.no_grad():
        plain = base(input_ids=ids, **more).logits
        own = PeftModel.from_pretrained(base, checkpoint)(input_ids=ids, **more).logits
        found = merged(input_ids=ids, **more).logits
    # float32 rounding of one matrix product against two
    assert torch.allclose(found, own, atol=1e-3)
    assert not torch.allclose(found, plain, atol=0.1)


@pytest.mark.slow
def test_the_snippet_of_the_card_answers(exported: Path, tmp_path: Path) -> None:
    from PIL import Image

    card = (exported / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
    (tmp_path / "snippet.py").write_text(code.replace(f'"{exported.name}"', repr(str(exported))))
    for name in ("before.png", "after.png"):
        Image.new("RGB", (300, 200), "green").save(tmp_path / name)
    (tmp_path / "run.py").write_text(BY_PROCESSOR)
    how = "stock" if HAS_TORCHVISION else "without torchvision"
    done = subprocess.run(
        [sys.executable, "run.py", "snippet.py", how],
        cwd=tmp_path,
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "<answer>" in done.stdout


@pytest.mark.slow
def test_eval_and_predict_take_the_folder(run: Path, exported: Path, tmp_path: Path) -> None:
    task, output = "rsvqa/lr", tmp_path / "eval"
    sets = ("eval.blind=off", "eval.resamples=10", "sample.records=8")
    scored = inside.geovlm(
        *("eval", "--model", exported, "--tasks", task, "--limit", 3, "--output", output),
        *(part for one in sets for part in ("--set", one)),
    )
    assert scored.returncode == 0, scored.stderr
    lines = (output / "eval" / "base" / "rsvqa__lr.jsonl").read_text().splitlines()
    before = [each["completion"] for each in evaluated(run) if each["task"] == task]
    assert [json.loads(line)["completion"] for line in lines] == before
    (image,) = json.loads(lines[0])["images"]
    words = ("predict", "--model", exported, "--task", task, image)
    asked = inside.geovlm(*words, "--question", "Is a road present?")
    assert asked.returncode == 0, asked.stderr
    assert len(json.loads(asked.stdout)["features"]) == 1
