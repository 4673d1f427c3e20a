"""Two ranks of torch's FSDP2 on the CPU, under torchrun: `fsdp2_on_gloo.py OUT`.

Trains nano for two steps on other tokens per rank, gathers the weights into a whole model, and
generates answers of other lengths per rank, which would hang if the ranks were not in step.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from transformers import AutoModelForImageTextToText

from geovlm import nano
from geovlm.engine.training.sharded import fill


def shard(model: Any) -> None:
    """As accelerate's fsdp2_prepare_model: blocks, then the tied ends, then the rest."""
    mesh = init_device_mesh("cpu", (2,))
    blocks = set(model._no_split_modules)
    for module in model.modules():
        if type(module).__name__ in blocks:
            fully_shard(module, mesh=mesh)
    ends = [model.model.language_model.norm, model.get_input_embeddings(), model.lm_head]
    fully_shard(ends, mesh=mesh, reshard_after_forward=False)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "generate")


def main(out: Path) -> None:
    """Train, gather, generate; each rank writes what it saw."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", timeout=timedelta(seconds=120))
    rank = distributed.get_rank()
    model: Any = AutoModelForImageTextToText.from_pretrained(nano.path(), dtype=torch.float32)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    shard(model)
    first = next(model.parameters())
    said: dict[str, Any] = {"rows": first.shape[0], "local_rows": first.to_local().shape[0]}
    ids = torch.randint(5, 60, (1, 12), generator=torch.Generator().manual_seed(rank))
    mask = torch.ones_like(ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(2):
        model(input_ids=ids, attention_mask=mask, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, cpu_offload=True)
    state = get_model_state_dict(model, options=options)
    if rank == 0:
        whole = AutoModelForImageTextToText.from_pretrained(nano.path(), dtype=torch.float32)
        fill(whole, state)
        after = whole.state_dict()
        said["largest_change"] = max(
            (after[n] - each).abs().max().item() for n, each in before.items()
        )
    model.eval()
    n = (2, 6)[rank]
    with torch.no_grad():
        made = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=n, min_new_tokens=n, do_sample=False
        )
    said["new_tokens"] = made.shape[1] - ids.shape[1]
    (out / f"{rank}.json").write_text(json.dumps(said))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
