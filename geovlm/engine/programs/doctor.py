"""Tries the ranks or vLLM for `geovlm doctor`.

`python -m geovlm.engine.programs.doctor --run DIR --stage ranks|vllm`

Every rank writes its progress into `rank-<n>.json`, after each phase: `joined`, `reduced`,
`trained`. A phase that exceeds its deadline ends the process.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import gather_object
from PIL import Image
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from geovlm.config.model import source
from geovlm.config.schema import RunConfig
from geovlm.engine.models import load
from geovlm.engine.programs import vllm_sync
from geovlm.engine.programs.main import run
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row, dataset
from geovlm.engine.rows.tokens import control_tokens
from geovlm.errors import RunFailedError
from geovlm.files.jsontext import dumps
from geovlm.plugins import registry
from geovlm.raster import reference
from geovlm.run import files

REDUCED_BYTES = 16 << 20
ROUNDS = 5
ROWS = 2
"""Per rank."""


def main(argv: list[str] | None = None) -> int:
    """Try the ranks or vLLM; returns the exit status."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    return run(lambda args: work(Path(args.run), stage=args.stage), "--run", "--stage", argv=argv)


def work(folder: Path, *, stage: str) -> None:
    """Do one part and write its results.

    Raises:
        RunFailedError: a phase gave a wrong result.
    """
    settings = files.read_json(folder / "settings.json")
    on_cpu, deadline = settings["device"] == "cpu", settings["deadline_s"]
    rank = int(os.environ.get("RANK", "0"))
    found: dict[str, Any] = {}

    def reached(phase: str, results: dict[str, Any]) -> None:
        found[phase] = results
        files.write_json(folder / f"rank-{rank}.json", found)

    reached("devices", devices())
    with limited("joining the other ranks", deadline, rank=rank):
        state = PartialState(cpu=on_cpu, timeout=timedelta(seconds=deadline + 60))
    if state.num_processes != settings["ranks"] and stage == "ranks":
        raise RunFailedError(
            f"{state.num_processes} ranks started, {settings['ranks']} were asked for",
            hint="the launcher did not start all of them",
        )
    if on_cpu:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    reached("joined", {"backend": dist.get_backend() if dist.is_initialized() else None})
    if stage == "vllm":
        with limited("the comparison with vLLM", 5 * deadline, rank=rank):
            parts = vllm_sync.check(folder, on_cpu=on_cpu)
            reached("compared", {"parts": [each._asdict() for each in parts]})
        return
    with limited("all-reduce", deadline, rank=rank):
        reached("reduced", {"seconds": all_reduce(state), "bytes": REDUCED_BYTES})
    with limited("the training step", 5 * deadline, rank=rank):
        reached("trained", train(folder, state, on_cpu=on_cpu))
        state.wait_for_everyone()


@contextmanager
def limited(what: str, seconds: float, *, rank: int) -> Iterator[None]:
    """End the process, with a line that names the block, if it takes longer than `seconds`."""

    def give_up() -> None:
        message = f"error: rank {rank}: {what} did not end within {seconds:g} s"
        print(message, file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def devices() -> dict[str, Any]:
    """Return the build of torch, and name, memory and capability of every GPU."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = []
    for index in range(count):
        about = torch.cuda.get_device_properties(index)
        found.append(
            {
                "name": about.name,
                "bytes": about.total_memory,
                "capability": f"{about.major}.{about.minor}",
            }
        )
    bfloat16 = bool(count) and torch.cuda.is_bf16_supported()
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "gpus": found, "bf16": bfloat16}


def all_reduce(state: PartialState) -> float | None:
    """Sum 16 MB over all ranks a few times; return the seconds of one time, `None` of one rank.

    Raises:
        RunFailedError: the sum is wrong.
    """
    if state.num_processes == 1:
        return None
    values = torch.empty(REDUCED_BYTES // 4, device=state.device)
    expected = state.num_processes * (state.num_processes + 1) / 2
    started = 0.0
    for number in range(ROUNDS + 1):
        values.fill_(state.process_index + 1)
        dist.all_reduce(values)
        if values.min().item() != expected or values.max().item() != expected:
            raise RunFailedError(f"all-reduce gave {values[0].item():g} in place of {expected:g}")
        if number == 0:  # the first one opens the connections
            started = time.monotonic()
    return (time.monotonic() - started) / ROUNDS


def train(folder: Path, state: PartialState, *, on_cpu: bool) -> dict[str, Any]:
    """Take one step of SFT with the built-in model, as a run does.

    Raises:
        RunFailedError: the loss is not a number, no weight changed, or the ranks differ afterwards.
    """
    started = time.monotonic()
    config = RunConfig(device="cpu" if on_cpu else "cuda")
    loaded = load.load(source(config.model), config, registry=registry.load())
    before = total(loaded.model)
    trainer = SFTTrainer(
        model=loaded.model,
        args=SFTConfig(
            output_dir=str(folder / "checkpoints"),
            max_steps=1,
            per_device_train_batch_size=ROWS,
            learning_rate=1e-2,
            logging_steps=1,
            max_length=None,
            gradient_checkpointing=False,
            remove_unused_columns=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=on_cpu,
            dataloader_pin_memory=not on_cpu,
            bf16=not on_cpu,
            ddp_find_unused_parameters=False,
        ),
        train_dataset=dataset(
            rows(folder, rank=state.process_index, number=ROWS * state.num_processes),
            cache=ImageCache(),
            tokens=control_tokens(loaded.processor),
            chat=loaded.chat,
        ),
        processing_class=loaded.processor,
    )
    trainer.remove_callback(PrinterCallback)  # results go to standard output
    trainer.train()
    loss = next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    after = total(trainer.accelerator.unwrap_model(trainer.model))
    totals = gather_object([after])
    if not math.isfinite(loss):
        raise RunFailedError(f"the loss of a training step is {loss}")
    if after == before:
        raise RunFailedError("a training step changed no weight")
    if len(set(totals)) > 1:
        raise RunFailedError("after a training step the ranks have different weights")
    return {"loss": loss, "seconds": time.monotonic() - started, "model": config.model}


def total(trained: Any) -> float:
    """Return the sum of all weights, in double precision: a fingerprint."""
    with torch.no_grad():
        return sum(float(weight.double().sum()) for weight in trained.parameters())


def rows(folder: Path, *, rank: int, number: int) -> list[Row]:
    """Return rows about plain tiles, which this rank draws for itself."""
    colours = ("green", "blue", "red", "grey")
    made = []
    for i in range(number):
        colour = colours[i % len(colours)]
        path = folder / f"tile-{rank}-{i}.png"
        Image.new("RGB", (84, 84), colour).save(path)
        made.append(
            Row(
                task="doctor",
                sample_id=str(i),
                images=(dumps(reference.encode(path)),),
                question="Which colour is the tile?",
                reasoning=f"It is {colour} all over.",
                answer=colour,
                target={"answer": colour},
                image_sizes=((84, 84),),
                input_sizes=((84, 84),),
            )
        )
    return made


if __name__ == "__main__":
    sys.exit(main())
