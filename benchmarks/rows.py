"""Measures the cost of a run per sample, from a thousand to a million rows.

    python benchmarks/rows.py --out runs/rows

Writes copies of RSVQA-HR's layout with 10^3 to 10^6 training questions (about a hundred per image,
as in the original, which has 1.07 million), and starts `geovlm run` on each: SFT of a few steps.
Prints the seconds until the first step, the seconds of CPU of the run, those of a step and the most
memory of a process, and writes them as `rows.md` and, over the rows, as `rows.png`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from geovlm.plugins import registry
from geovlm.plugins.references import resolve

TASK = "rsvqa/hr"
PER_IMAGE = 100
STEPS = 8
_POLL_S = 0.01


class Cost(NamedTuple):
    """What a run took."""

    rows: int
    first_step_s: float
    """From the command to the end of the first step."""
    cpu_s: float
    """Of all processes of the run, steps and all."""
    step_s: float
    """Median of the further steps."""
    memory_gb: float
    """Most resident memory of any process, 10^9 bytes."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--out", type=Path, default=Path("runs/rows"))
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    costs = []
    for rows in args.rows:
        data = args.out / f"data-{rows}"
        write(data, rows=rows)
        costs.append(measure(data, rows=rows, output=args.out / f"run-{rows}"))
        print(costs[-1], flush=True)
    (args.out / "rows.md").write_text(table(costs), encoding="utf-8")
    print(table(costs))
    plot(costs, args.out / "rows.png")
    return 0


def write(root: Path, *, rows: int) -> None:
    """Write RSVQA-HR's lists with so many training questions; all images are a few files' links."""
    spec = registry.load().dataset(TASK)
    resolve(spec.make_sample)(root, 4, 0)
    real = sorted((root / "Data").glob("*.tif"))
    kept = len(real)
    train = json.loads((root / "USGS_split_train_questions.json").read_text())["questions"]
    texts = [question for question in train if question["active"]]
    said = json.loads((root / "USGS_split_train_answers.json").read_text())["answers"]
    images = []
    for number in range(-(-rows // PER_IMAGE)):
        os.link(real[number % kept], root / "Data" / f"{kept + number}.tif")
        name = {"original_name": f"{number}.tif", "sensor": "generated", "type": "RGB"}
        images.append({"id": kept + number, "active": True, "people_id": 0, **name})
    asked, answers = [], []
    for number in range(rows):
        like = texts[number % len(texts)]
        own = {**like, "id": number, "img_id": kept + number // PER_IMAGE, "answers_ids": [number]}
        asked.append(own)
        answer = said[like["answers_ids"][0]]["answer"]
        answers.append({"id": number, "question_id": number, "answer": answer, "active": True})
    for kind, listed in (("images", images), ("questions", asked), ("answers", answers)):
        (root / f"USGS_split_train_{kind}.json").write_text(json.dumps({kind: listed}))


def measure(data: Path, *, rows: int, output: Path) -> Cost:
    """Run SFT on the data."""
    settings = {
        "stages": f'[{{kind = "sft", steps = {STEPS}, trainer = '
        "{per_device_train_batch_size = 4, logging_steps = 1}}]",
        "eval.limit": "1",
        "eval.blind": "off",
    }
    command = [
        sys.executable,
        "-m",
        "geovlm.cli",
        "run",
        "--tasks",
        TASK,
        "--data",
        f"{TASK}={data}",
    ]
    command += ["--output", str(output)]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    began = time.monotonic()
    said = output.with_name(f"said-{rows}.txt")
    with said.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    log = output / "stages/0-sft/log.jsonl"
    seen: list[float] = []
    ended = 0
    while not ended:
        done = log.read_bytes().count(b"\n") if log.is_file() else 0
        seen += [time.monotonic() - began] * (done - len(seen))
        time.sleep(_POLL_S)
        ended, status, used = os.wait4(process.pid, os.WNOHANG)  # with all that it waited for
    if status:
        raise SystemExit(said.read_text())
    steps = [after - before for before, after in pairwise(seen[:STEPS])]
    return Cost(
        rows=rows,
        first_step_s=seen[0],
        cpu_s=used.ru_utime + used.ru_stime,
        step_s=statistics.median(steps),
        memory_gb=used.ru_maxrss * 1024 / 1e9,
    )


def table(costs: list[Cost]) -> str:
    """Return the costs as Markdown, with what each row takes over those of the first run."""
    lines = [
        "| rows | first step, s | CPU, s | a step, s | memory, GB | more CPU per row, us |",
        "|---|---|---|---|---|---|",
    ]
    first = costs[0]
    for cost in costs:
        more = "" if cost is first else f"{per_row(cost, first) * 1e6:.0f}"
        lines.append(
            f"| {cost.rows:,} | {cost.first_step_s:.1f} | {cost.cpu_s:.1f} | {cost.step_s:.3f} "
            f"| {cost.memory_gb:.2f} | {more} |"
        )
    return "\n".join(lines) + "\n"


def plot(costs: list[Cost], path: Path) -> None:
    """Draw CPU, step and memory over the number of rows; straight lines are a constant per row."""
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    panels = {"cpu_s": "CPU of the run, s", "step_s": "a step, s", "memory_gb": "most memory, GB"}
    for axes, (field, title) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        axes.plot([each.rows for each in costs], [getattr(each, field) for each in costs], "o-")
        axes.set(title=title, xlabel="training rows")
        axes.set_ylim(0, 1.1 * max(getattr(each, field) for each in costs))
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)


def per_row(cost: Cost, first: Cost) -> float:
    """Return the seconds of CPU per row that a run has more than the first one."""
    return (cost.cpu_s - first.cpu_s) / (cost.rows - first.rows)


if __name__ == "__main__":
    sys.exit(main())
