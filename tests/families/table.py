"""Every stage of every tiny checkpoint, compared with expected.toml.

`python -m tests.families.table [NAME ...]` prints a line per finished
checkpoint, writes DIR/table.md and DIR/table.json, and ends with 1 if a stage did anything else
than is demanded. Each checkpoint has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests import fake_plugins
from tests.families import expected, stages
from tests.families.expected import Cell
from tools.families import checkpoints

PLUGIN = '''
"""The question task of RSVQA and the detection task of xBD, with a reward that always varies."""
import dataclasses
import zlib

import geovlm_rsvqa
import geovlm_xbd
from geovlm import hookimpl
from geovlm.api import RewardSpec

SOURCES = {"families/question": "rsvqa/lr", "families/detect": "xbd/detect"}

def varied(completion, ctx):
    return zlib.crc32(completion.encode()) % 1001 / 1000

@hookimpl
def geovlm_rewards():
    yield RewardSpec(name="families/varied", summary="A number of the text.", score=varied)

@hookimpl
def geovlm_tasks():
    modules = (geovlm_rsvqa, geovlm_xbd)
    known = {spec.name: spec for each in modules for spec in each.geovlm_tasks()}
    for name, source in SOURCES.items():
        rewards = {"paper": known[source].rewards["paper"], "robust": {"families/varied": 1.0}}
        yield dataclasses.replace(known[source], name=name, rewards=rewards)
'''
"""Completions of a random model earn nothing, so their rewards would be equal and teach nothing."""
ROOT = Path(__file__).parents[2]
PROCESSES = multiprocessing.get_context("forkserver")
"""A process that has imported torch and the trainers once is copied for each checkpoint."""
FIRST = ("idefics3", "llava_onevision", "gemma3", "gemma4", "smolvlm2", "internvl3")
"""The ones that take longest: a worker would end with one of them alone."""
WORKERS = 3
"""One more than two cores, because some stages wait for the process of another command."""


def main(argv: Sequence[str]) -> int:
    """Print and write the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="checkpoints; default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "families")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--longest", type=float, default=900.0, help="seconds of one checkpoint")
    args = parser.parse_args(argv)
    os.environ |= {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
    }
    PROCESSES.set_forkserver_preload([stages.__name__, "geovlm.engine.work"])
    demanded = expected.read()
    assert demanded.keys() == checkpoints.CHECKPOINTS.keys(), "expected.toml names other ones"
    names = args.names or list(demanded)
    if unknown := [name for name in names if name not in demanded]:
        parser.error(f"no checkpoint {unknown[0]!r}; of {', '.join(demanded)}")
    out = args.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    print(f"{len(names)} checkpoints; logs are in {out}", flush=True)
    shutil.rmtree(out / "plugins", ignore_errors=True)
    (out / "plugins").mkdir()
    fake_plugins.install(out / "plugins", "families", PLUGIN)
    for name in set(names) & set(checkpoints.FETCHED):  # an error of the network ends it at once
        checkpoints.checkpoint(name)
    print(f"vocabularies are here ({time.monotonic() - began:.0f} s)", flush=True)
    order = sorted(names, key=lambda name: name not in FIRST)
    with ThreadPoolExecutor(args.workers) as pool:
        done = dict(
            zip(order, pool.map(lambda name: _try(name, out, args.longest), order), strict=True)
        )
    results = {name: done[name] for name in names}
    table = expected.markdown(results)
    (out / "table.md").write_text(table + "\n", encoding="utf-8")
    rows = {n: {stage: asdict(c) for stage, c in cells.items()} for n, cells in results.items()}
    (out / "table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    found = [
        line
        for name, cells in results.items()
        for line in expected.differences(name, cells, demanded[name])
    ]
    print(table, *(f"error: {line}" for line in found), sep="\n")
    print(f"{len(found)} differences in {time.monotonic() - began:.0f} s")
    return 1 if found else 0


def _try(name: str, out: Path, longest_s: float) -> dict[str, Cell]:
    """Run the process of a checkpoint; returns what it has done, also if it was ended."""
    began = time.monotonic()
    process = PROCESSES.Process(target=stages.logged, args=(name, out))
    process.start()
    process.join(longest_s)
    if process.is_alive():
        process.kill()
        process.join()
    found = expected.cells_of(out / name / "cells.json")
    said = ", ".join(f"{stage} {cell.result}" for stage, cell in found.items())
    seconds = time.monotonic() - began
    print(f"{name}: {said} ({seconds:.0f} s, exit {process.exitcode})", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
