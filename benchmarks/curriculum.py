"""Measures what the curriculum learns: base, SFT and GRPO over seeds, on held-out samples.

    python benchmarks/curriculum.py --seeds 0 1 2 --limit 200 --out runs/curriculum

Runs `geovlm run benchmarks/curriculum.toml --tasks xbd,rsvqa` once per seed and prints, per plugin,
the mean over its tasks of the primary metric (greedy) and of the total reward (sampled), as mean
and range over the seeds, and what each stage changed. A seed that is there is not run again.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from geovlm.report.tables import table
from geovlm.run.folder import RunDir

STAGES = ("base", "sft", "grpo")
CONFIG = Path(__file__).with_suffix(".toml")


def arguments(title: str) -> argparse.Namespace:
    """Return which runs are meant, from the command line."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--limit", type=int, default=200, help="held-out samples per task")
    parser.add_argument("--tasks", default="xbd,rsvqa")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--out", type=Path, default=Path("runs/curriculum"))
    return parser.parse_args()


def main() -> int:
    args = arguments(__doc__.splitlines()[0])
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for seed in args.seeds:
        output = args.out / f"seed-{seed}"
        if not (output / "report.html").is_file():
            command = ["run", str(args.config), "--tasks", args.tasks]
            command += ["--seed", str(seed), "--output", str(output)]
            resume = ["--resume"] if output.is_dir() else []
            limit = ["--set", f"eval.limit={args.limit}"]
            subprocess.run(
                [sys.executable, "-m", "geovlm.cli", *command, *limit, *resume], check=True
            )
        for row in table(RunDir(output).read_metrics()):
            if row["mean"]:
                stages = found.setdefault(row["name"], {})
                for stage, cell in row["cells"].items():
                    stages.setdefault(stage, []).append((cell["value"], cell["reward"]))
    print(
        f"{len(args.seeds)} seeds, {args.limit} held-out samples per task: mean (lowest to highest)"
    )
    for name, stages in found.items():
        for title, which in (("primary metric", 0), ("sampled reward", 1)):
            cells = []
            for stage in STAGES:
                values = [each[which] for each in stages[stage]]
                low, high = min(values), max(values)
                cells.append(f"{stage} {statistics.fmean(values):.3f} ({low:.3f} to {high:.3f})")
            print(f"{name}, {title}: " + ", ".join(cells))
            for before, after in pairwise(STAGES):
                gains = [
                    new[which] - old[which]
                    for old, new in zip(stages[before], stages[after], strict=True)
                ]
                each = ", ".join(f"{gain:+.3f}" for gain in gains)
                print(f"    {before} to {after}: {statistics.fmean(gains):+.3f} (by seed {each})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
