"""Runs the demo's recipe with several seeds and checks what it has to show.

    python benchmarks/first_run.py --seeds 0 1 2 --out runs/first-run

Runs `geovlm run examples/first_run.toml` once per seed and prints a table per seed and task: the
primary metric of the base model, after SFT and after GRPO, the blind baseline that is the hardest
to beat, the change of the sampled reward by GRPO. Then that change pooled over tasks and seeds, and
the checks: every task above all its blind baselines, no stage significantly below the one before, a
pooled change above 0 with p < 0.05. Exit status 1 if a check fails. A seed that is there is not run
again. `--set KEY=VALUE` changes the recipe.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from geovlm.engine.evaluation import sampled
from geovlm.report import tables, verdict
from geovlm.run.folder import RunDir

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "examples" / "first_run.toml"
RESAMPLES = 10_000
STAGES = ("base", "sft", "grpo")


class Check(NamedTuple):
    """One thing that the runs have to show."""

    name: str
    faults: Sequence[str]
    """What does not show it; empty if all do."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("runs/first-run"))
    args = parser.parse_args()
    runs = {seed: run(seed, args) for seed in args.seeds}
    found = {seed: judged(each) for seed, each in runs.items()}
    print("\n".join(table(found)))
    pooled = gain(runs)
    print(f"\nsampled reward by GRPO, pooled over tasks and seeds: {changed(pooled)}")
    results = checks(found, pooled)
    for each in results:
        print(f"{'failed' if each.faults else 'passed'}  {each.name}")
        print("".join(f"        {fault}\n" for fault in each.faults), end="")
    for seed, each in runs.items():
        seconds = each.read_metrics()["seconds"]
        print(f"seed {seed}: {sum(seconds.values()) / 60:.1f} minutes, {each.path}")
    return int(any(each.faults for each in results))


def run(seed: int, args: argparse.Namespace) -> RunDir:
    """Return the run of a seed; it is started, or continued, unless it is complete."""
    output = args.out / f"seed-{seed}"
    if not (output / "report.html").is_file():
        sets = [part for each in args.sets for part in ("--set", each)]
        command = ["run", str(args.recipe), "--seed", str(seed), "--output", str(output), *sets]
        resume = ["--resume"] if (output / "resolved.json").is_file() else []
        subprocess.run([sys.executable, "-m", "geovlm.cli", *command, *resume], check=True)
    return RunDir(output)


def judged(directory: RunDir) -> dict[str, Any]:
    """Return the verdict of a run, computed again from its scores."""
    return verdict.of(directory.read_metrics(), directory.read_resolved())


def table(found: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """Return the lines of a Markdown table, one per seed and task."""
    lines = [
        "| seed | task | n | base | SFT | GRPO | best blind | p | sampled reward by GRPO |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for seed, each in found.items():
        for name, task in each["tasks"].items():
            values = [number(task["stages"].get(stage)) for stage in STAGES]
            blind = task["blind"] or {"value": None, "name": "none", "p": None}
            against = [f"{number(blind['value'])} ({blind['name']})", number(blind["p"])]
            change = changed((task["sampled"] or {}).get("gain"))
            cells = [seed, name, task["n"], *values, *against, change]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def number(value: float | None) -> str:
    """Return a number with three decimals, `-` for one that is not there."""
    return "-" if value is None else f"{value:.3f}"


def changed(change: Mapping[str, Any] | None) -> str:
    """Return `+0.060 (0.020 to 0.100), p 0.004`."""
    if change is None:
        return "-"
    low, high = change["ci95"]
    return f"{change['difference']:+.3f} ({low:+.3f} to {high:+.3f}), p {change['p']:.4f}"


def gain(runs: Mapping[int, RunDir]) -> dict[str, Any] | None:
    """Return the change of the sampled reward by GRPO over all tasks and seeds.

    Each task of each seed has the same weight. Seeds share their generated data, so all answers
    about one image are one group, whatever their seed.
    """
    parts = {
        f"{seed} {task}": sampled.part(directory, task, "sft", "grpo")
        for seed, directory in runs.items()
        for task in directory.read_metrics()["tasks"]
    }
    return sampled.change(parts, resamples=RESAMPLES, seed=0)


def checks(found: Mapping[int, Mapping[str, Any]], pooled: Mapping[str, Any] | None) -> list[Check]:
    """Return what the runs have to show, each with what does not show it."""
    tasks = [
        (f"seed {seed}, {name}", task)
        for seed, each in found.items()
        for name, task in each["tasks"].items()
    ]
    unseeing = [
        f"{at}: {task['sentence']}" for at, task in tasks if not (task["blind"] or {}).get("beaten")
    ]
    fell = [f"{at}: {task['sentence']}" for at, task in tasks if task["outcome"] == "below_before"]
    raised = pooled is not None and tables.better(pooled)
    return [
        Check("every task is above all its blind baselines", unseeing),
        Check("no stage is significantly below the one before", fell),
        Check(
            "GRPO's change of the sampled reward is above 0 with p < 0.05, pooled",
            [] if raised else [changed(pooled)],
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
