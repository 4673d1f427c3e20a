"""SFT and GRPO steps of a Qwen2.5-VL of 3 B parameters: speed, peak memory, use of the GPU.

    python benchmarks/gpu.py                      # on a GPU: every case, 3B; no network is needed
    python benchmarks/gpu.py --size nano          # the same way through the code, on a CPU too

The model has the shape of Qwen2.5-VL-3B and random weights; processor and tokenizer are those of
nano. Images are 448 x 448, K = 8 answers per prompt, which random weights hardly ever end early.
The rows of an SFT batch ask about one image, as in RSVQA. Each case is TRL's trainer as the engine
sets it up, gradient checkpointing on, and runs

- `trl`: as TRL does it,
- `windows`: the vision tower's windows of equal size attend at once,
- `images`: in addition, an image passes the vision tower once, not once per row,
- `prompts`: in addition, a prompt is computed once for all its answers (GRPO only).

Printed: the median step after the first two, its forward and backward passes of the policy,
tokens per second (all that are trained on, visual ones included), peak memory as torch allocates
it, what `geovlm plan` says of it, and the share of the GPU's peak arithmetic that the step's useful
work makes up (MFU; checkpointing's second pass does not count, nor what is not computed twice).
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
import trl
from datasets import Dataset
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    PrinterCallback,
    Qwen2_5_VLConfig,
    TrainerCallback,
)
from trl import GRPOConfig, SFTConfig, SFTTrainer
from trl.trainer.utils import get_peak_flops

from geovlm import nano
from geovlm.config.schema import RunConfig
from geovlm.engine.generation.generate import image_tokens
from geovlm.engine.models import adapters as lora
from geovlm.engine.models import load as engine_model
from geovlm.engine.models import structure
from geovlm.engine.models.processor import load_processor
from geovlm.engine.programs import shape as shapes
from geovlm.engine.speedups import distinct_images, vision_attention
from geovlm.engine.speedups.grpo_trainer import GroupTrainer
from geovlm.plan.memory import estimate
from geovlm.plan.memory.parts import GIB, Adapter, ModelShape, Placement, Work
from geovlm.plugins import profiles

CASES = ("sft-full", "sft-lora", "grpo-full", "grpo-lora")
MEANS = {"sft": ("trl", "windows", "images"), "grpo": ("trl", "windows", "images", "prompts")}
"""What makes a step shorter; each with those before it."""
PROFILE = profiles.QWEN2_5_VL
SKIPPED_STEPS = 2
TEXT = {  # config.json of Qwen/Qwen2.5-VL-3B-Instruct
    "hidden_size": 2048,
    "num_hidden_layers": 36,
    "intermediate_size": 11008,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 128000,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1_000_000.0,
        "mrope_section": [16, 24, 24],
    },
}
VISION = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 2048,
    "fullatt_block_indexes": [7, 15, 23, 31],
    "window_size": 112,
}


SMALLER = (  # text and vision of the same family with about 50 M parameters, for a CPU
    {
        "hidden_size": 512,
        "num_hidden_layers": 14,
        "intermediate_size": 1408,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1_000_000.0,
            "mrope_section": [8, 12, 12],
        },
    },
    {
        "depth": 6,
        "hidden_size": 320,
        "intermediate_size": 864,
        "num_heads": 4,
        "out_hidden_size": 512,
        "fullatt_block_indexes": [2, 5],
        "window_size": 112,
    },
)


class Result(NamedTuple):
    """One case."""

    case: str
    means: str
    seconds: float
    """Of the median step."""
    passes: float
    """Of its forward and backward passes, the reference's and generation left out."""
    tokens_per_s: float
    peak_gib: float
    estimated_gib: float
    mfu: float | None


class Clock(TrainerCallback):
    """Wall seconds of every step and of its passes, work on the GPU finished."""

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu = on_gpu
        self.seconds: list[float] = []
        self.passes: list[float] = []
        self._spent = 0.0

    def watch(self, trainer: Any) -> None:
        """Time the trainer's passes: `training_step` without what prepares its batch."""
        trainer.training_step = self._timed(trainer.training_step, sign=1)
        trainer._prepare_inputs = self._timed(trainer._prepare_inputs, sign=-1)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._spent = 0.0
        self._started = self._now()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds.append(self._now() - self._started)
        self.passes.append(self._spent)

    def _timed(self, function: Callable[..., Any], *, sign: int) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = self._now()
            result = function(*args, **kwargs)
            self._spent += sign * (self._now() - started)
            return result

        return timed

    def _now(self) -> float:
        if self.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()


def configuration(size: str) -> Qwen2_5_VLConfig:
    """nano's, or one of the shape of the 3 B model or of 50 M with nano's token ids."""
    small = Qwen2_5_VLConfig.from_pretrained(nano.path())
    if size == "nano":
        return small
    text, vision = (TEXT, VISION) if size == "3b" else SMALLER
    ends = {key: getattr(small.text_config, key) for key in ("eos_token_id", "pad_token_id")}
    if size == "50m":
        ends["vocab_size"] = small.text_config.vocab_size
    ids = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    return Qwen2_5_VLConfig(
        text_config={**text, **ends},
        vision_config=vision,
        tie_word_embeddings=True,
        **{key: getattr(small, key) for key in ids if hasattr(small, key)},
    )


def rows(kind: str, *, side: int, n: int) -> Dataset:
    """Images of noise, one question, and for SFT one image and an answer of some 40 words."""
    question = [{"role": "user", "content": "What is in this image, and where is it?"}]
    answer = [{"role": "assistant", "content": "Three ships lie in the harbour. " * 7}]
    made = []
    for seed in range(n):
        generator = torch.Generator().manual_seed(0 if kind == "sft" else seed)
        noise = torch.randint(0, 256, (side, side, 3), generator=generator)
        image = Image.fromarray(noise.to(torch.uint8).numpy())
        row = {"prompt": question, "images": [image]}
        made.append(row | ({"completion": answer} if kind == "sft" else {}))
    return Dataset.from_list(made)


def measure(case: str, means: str, args: argparse.Namespace) -> Result:
    """Train some steps of one case."""
    kind, adapters = case.split("-")
    on_gpu = torch.cuda.is_available()
    side = args.side
    run = RunConfig.model_validate({"lora": {} if adapters == "lora" else None})
    config = configuration(args.size)
    shape = shapes.of_model(shapes.empty(config), PROFILE)
    dtype = torch.bfloat16 if on_gpu else torch.float32
    with torch.device("cuda" if on_gpu else "cpu"):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    model.generation_config.eos_token_id = config.text_config.eos_token_id
    model.generation_config.pad_token_id = config.text_config.pad_token_id
    tower: Any = model.get_submodule(structure.tower(model, PROFILE))
    if means != "trl":
        vision_attention.batch(tower)
    if means not in ("trl", "windows"):
        next(distinct_images.ways(model, tower)).enable()
    processor = load_processor(str(nano.path()), min_pixels=side**2, max_pixels=side**2)
    steps = SKIPPED_STEPS + args.steps
    clock = Clock(on_gpu)
    with tempfile.TemporaryDirectory() as folder:
        common: dict[str, Any] = {
            "output_dir": folder,
            "max_steps": steps,
            "bf16": on_gpu,
            "use_cpu": not on_gpu,
            "gradient_checkpointing": True,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "logging_steps": steps,
            "dataloader_pin_memory": on_gpu,
            "per_device_train_batch_size": args.batch if kind == "sft" else args.k,
        }
        parts: dict[str, Any] = {
            "model": model,
            "processing_class": processor,
            "peft_config": lora.of_run(run, PROFILE, model=model),
            "callbacks": [clock],
        }
        if kind == "sft":
            trainer: Any = SFTTrainer(
                args=SFTConfig(max_length=None, **common),
                train_dataset=rows(kind, side=side, n=2 * args.batch),
                **parts,
            )
        else:
            trainer = GroupTrainer(
                share_prompt=means == "prompts",
                args=GRPOConfig(
                    num_generations=args.k,
                    max_completion_length=args.answer_tokens,
                    temperature=0.9,
                    generation_kwargs={"suppress_tokens": image_tokens(parts["processing_class"])},
                    beta=0.04 if adapters == "lora" else 0.0,
                    **common,
                ),
                reward_funcs=lambda completions, **_: [float(len(str(c))) for c in completions],
                train_dataset=rows(kind, side=side, n=8),
                **parts,
            )
        engine_model.skip_frozen_vision(model, PROFILE)
        trainer.remove_callback(PrinterCallback)  # standard output is the table
        clock.watch(trainer)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        trainer.train()
    peak = torch.cuda.max_memory_allocated() if on_gpu else _resident_bytes()
    cells = (side // PROFILE.size_factor) ** 2
    text = _text_tokens(processor, kind=kind)
    work = Work(
        kind="sft" if kind == "sft" else "grpo",
        batch=args.batch if kind == "sft" else args.k,
        cells=cells,
        prompt_tokens=cells + text,
        answer_tokens=args.answer_tokens if kind == "grpo" else text,
        generated=args.k if kind == "grpo" else 0,
        checkpointing=True,
        accumulates=False,
    )
    adapter = Adapter(rank=run.lora.r) if run.lora is not None else None
    placement = Placement(device="cuda" if on_gpu else "cpu")
    estimated = estimate.estimate(shape, work, placement, adapter=adapter).total
    tokens = work.batch * (work.prompt_tokens + (work.answer_tokens if kind == "grpo" else 0))
    seconds = statistics.median(clock.seconds[SKIPPED_STEPS:])
    name = torch.cuda.get_device_name() if on_gpu else ""
    most = args.peak_tflops * 1e12 if args.peak_tflops else get_peak_flops(name, "bfloat16")
    useful = _flops(shape, work, adapters=adapter is not None, means=means)
    return Result(
        case=case,
        means=means,
        seconds=seconds,
        passes=statistics.median(clock.passes[SKIPPED_STEPS:]),
        tokens_per_s=tokens / seconds,
        peak_gib=peak / GIB,
        estimated_gib=estimated / GIB,
        mfu=useful / seconds / most if most else None,
    )


def _text_tokens(processor: Any, *, kind: str) -> int:
    """Text tokens of a row, with the template."""
    row = rows(kind, side=28, n=1)[0]
    said = [*row["prompt"], *row.get("completion", [])]
    return len(processor.tokenizer.apply_chat_template(said, return_dict=True)["input_ids"])


def _flops(shape: ModelShape, work: Work, *, adapters: bool, means: str) -> float:
    """Useful operations of a step: 2 per weight and token forward, 4 backward; 2 with adapters.

    Attention adds 4 x width x tokens per token and layer. GRPO generates (one forward pass per
    token) and, with adapters, asks the reference (another one). Frozen towers go forward only.
    All rows show one image, and in GRPO share one prompt.
    """
    answer = work.answer_tokens if work.kind == "grpo" else 0
    length = work.prompt_tokens + answer
    text_weights = shape.parameters - shape.vision_parameters
    per_token = 2 * text_weights + 4 * shape.text.layers * shape.text.width * length
    images = work.batch if means in ("trl", "windows") else 1
    tower = images * work.cells * shape.patches_per_cell * 2 * shape.vision_parameters
    generation = work.batch * length * per_token + tower if answer else 0.0
    prompts = 1 if means == "prompts" else work.batch
    forward = (prompts * work.prompt_tokens + work.batch * answer) * per_token
    backward = (1 if adapters else 2) * forward + (0 if adapters else 2 * tower)
    passes = 2 if answer and adapters else 1
    return generation + passes * (forward + tower) + backward


def _resident_bytes() -> float:
    """Peak of the process since its start; all cases of one call share it."""
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("3b", "50m", "nano"), default="3b")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--means", nargs="+", choices=MEANS["grpo"], help="default: all of them")
    parser.add_argument("--steps", type=int, default=8, help="measured ones, after two others")
    parser.add_argument("--side", type=int, default=448, help="of the images, pixels")
    parser.add_argument("--batch", type=int, default=4, help="rows per SFT step")
    parser.add_argument("--k", type=int, default=8, help="answers per prompt")
    parser.add_argument("--answer-tokens", type=int, default=200, help="longest GRPO answer")
    parser.add_argument("--peak-tflops", type=float, help="of the GPU in bfloat16, if unknown")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    args = parser.parse_args()
    if args.size == "3b" and not torch.cuda.is_available():
        print("error: there is no GPU here (--size nano runs on the CPU)", file=sys.stderr)
        return 2
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    versions = (
        f"torch {torch.__version__}, transformers {transformers.__version__}, trl {trl.__version__}"
    )
    print(f"{args.size} on {device}; {versions}; {args.side} px, K = {args.k}")
    print("| case | with | s/step | passes, s | tokens/s | peak GiB | estimated GiB | MFU |")
    print("|---|---|---|---|---|---|---|---|")
    found = []
    wanted = [(case, each) for case in args.cases for each in MEANS[case.split("-")[0]]]
    for case, means in wanted:
        if args.means and means not in args.means:
            continue
        try:
            result = measure(case, means, args)
        except torch.OutOfMemoryError:
            print(f"| {case} | {means} | out of memory | | | | | |", flush=True)
            result = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if result is not None:
            found.append(result._asdict())
            mfu = "" if result.mfu is None else f"{result.mfu:.1%}"
            print(
                f"| {case} | {means} | {result.seconds:.2f} | {result.passes:.3f} "
                f"| {result.tokens_per_s:,.0f} | {result.peak_gib:.1f} "
                f"| {result.estimated_gib:.1f} | {mfu} |",
                flush=True,
            )
    if args.out is not None:
        args.out.write_text(json.dumps({"device": device, "cases": found}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
