"""Measures the effect of the probe on GRPO, and its cost.

    python benchmarks/curriculum.py --seeds 0 1 2 --limit 200 --out runs/curriculum
    python benchmarks/probe.py --seeds 0 1 2 --limit 200 --out runs/curriculum

Takes the runs of `benchmarks/curriculum.py` and trains their GRPO stage once more from the same
SFT model without the probe, on whatever prompts come. Prints for both, per seed, the share of
groups whose completions all earn the same and so teach nothing, the mean of the plugins' sampled
rewards that GRPO gains, the minutes of the stages (probe, GRPO, the evaluation after it) and the
gain per minute.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.curriculum import arguments
from geovlm.report.tables import table
from geovlm.run.folder import RunDir


class Result(NamedTuple):
    """What the GRPO stage of a run did."""

    flat: float
    """Share of groups without signal, mean over the steps."""
    gain: float
    """Of the sampled reward, mean over the plugins."""
    minutes: float

    def __str__(self) -> str:
        return (
            f"{100 * self.flat:.0f} % of groups flat, {self.gain:+.3f} in {self.minutes:.1f} min, "
            f"{100 * self.gain / self.minutes:+.2f} per 100 min"
        )


def main() -> int:
    args = arguments(__doc__.splitlines()[0])
    gains: dict[str, list[Result]] = {"with": [], "without": []}
    for seed in args.seeds:
        whole = RunDir(args.out / f"seed-{seed}")
        before = sampled(whole, "sft")
        bare = without_probe(whole, seed=seed, args=args)
        for side, run, stages in (("with", whole, ("probe", "grpo")), ("without", bare, ("grpo",))):
            seconds = run.read_metrics()["seconds"]
            folder = next(run.path.glob("stages/*-grpo"))
            found = Result(
                flat=flat_share(folder / "log.jsonl"),
                gain=sampled(run, "grpo") - before,
                minutes=sum(seconds[stage] for stage in stages) / 60,
            )
            gains[side].append(found)
            print(f"seed {seed}, {side} the probe: {found}", flush=True)
    for side, all_of in gains.items():
        means = (statistics.fmean(values) for values in zip(*all_of, strict=True))
        print(f"mean of {len(all_of)} seeds, {side} the probe: {Result(*means)}")
    return 0


def without_probe(whole: RunDir, *, seed: int, args: argparse.Namespace) -> RunDir:
    """Train the GRPO stage from the SFT model of a run, on prompts that nobody chose."""
    output = whole.path.with_name(f"{whole.path.name}-without-probe")
    if not (output / "report.html").is_file():
        stages = tomllib.loads(args.config.read_text(encoding="utf-8"))["stages"]
        grpo = [stage for stage in stages if stage["kind"] == "grpo"]
        command = [sys.executable, "-m", "geovlm.cli", "run", str(args.config)]
        command += ["--tasks", args.tasks, "--seed", str(seed), "--output", str(output)]
        command += ["--model", str(whole.path / "stages/0-sft/model")]
        for setting in (f"stages={toml(grpo)}", f"eval.limit={args.limit}", "eval.base=false"):
            command += ["--set", setting]
        subprocess.run([*command, *(["--resume"] if output.is_dir() else [])], check=True)
    return RunDir(output)


def sampled(run: RunDir, stage: str) -> float:
    """Return the mean over plugins of the sampled reward after a stage."""
    rows = [row for row in table(run.read_metrics()) if row["mean"]]
    return statistics.fmean(row["cells"][stage]["reward"] for row in rows)


def flat_share(log: Path) -> float:
    """Return the mean share of groups whose rewards are all equal."""
    records = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    return statistics.fmean(
        each["frac_reward_zero_std"] for each in records if "frac_reward_zero_std" in each
    )


def toml(value: Any) -> str:
    """Return tables, lists and scalars as inline TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


if __name__ == "__main__":
    sys.exit(main())
