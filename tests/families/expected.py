"""What is demanded of each checkpoint, and what differs from it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

STAGES = (
    "loads",
    "perfect",
    "plan",
    "sft",
    "probe",
    "grpo",
    "evaluation",
    "export",
    "predict",
    "lora",
)
"""In the order in which they are tried; see expected.toml."""
BEHIND_PLAN = STAGES[STAGES.index("plan") :]
FILE = Path(__file__).with_name("expected.toml")


@dataclass(frozen=True)
class Expected:
    """What a checkpoint must do."""

    set: tuple[str, ...] = ()
    prefill: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Stage -> words that its refusal must contain."""


@dataclass(frozen=True)
class Cell:
    """What one stage of one checkpoint did."""

    result: Literal["pass", "refused", "failed", "not reached"]
    seconds: float = 0.0
    """Of CPU."""
    said: str = ""
    """The refusal, or why it failed."""


def read() -> dict[str, Expected]:
    """Return the expectations by checkpoint; a refusal of `plan` refuses what follows."""
    found = {}
    for name, values in tomllib.loads(FILE.read_text(encoding="utf-8")).items():
        refused = dict(values.get("refused", {}))
        if "plan" in refused:
            refused |= dict.fromkeys(BEHIND_PLAN, refused["plan"])
        assert refused.keys() <= set(STAGES), f"{name} refuses what is no stage"
        found[name] = Expected(tuple(values.get("set", ())), values.get("prefill", ""), refused)
    return found


def differences(name: str, cells: Mapping[str, Cell], expected: Expected) -> Iterator[str]:
    """Yield one line for each stage that did something else than is demanded.

    If the plan did, what follows is left out.
    """
    for stage in STAGES:
        cell = cells.get(stage, Cell("not reached"))
        words = expected.refused.get(stage)
        if words is None and cell.result != "pass":
            yield f"{name} {stage}: {cell.result}: {cell.said}"
        elif words is not None and (cell.result != "refused" or words not in cell.said):
            yield f"{name} {stage}: not refused by {words!r}, but {cell.result}: {cell.said}"
        else:
            continue
        if stage == "plan":
            return


def markdown(results: Mapping[str, Mapping[str, Cell]]) -> str:
    """Return the table: a line per checkpoint, a column per stage, and the refusals below."""
    lines = [
        f"| checkpoint | {' | '.join(STAGES)} | CPU seconds |",
        "|---" * (len(STAGES) + 2) + "|",
    ]
    notes: dict[str, int] = {}
    for name, cells in results.items():
        row = [f"`{name}`"]
        for stage in STAGES:
            cell = cells.get(stage, Cell("not reached"))
            if cell.result == "pass":
                row.append(f"{cell.seconds:.0f} s")
            elif cell.result == "not reached":
                row.append("not reached")
            else:
                row.append(f"{cell.result} ({notes.setdefault(cell.said, len(notes) + 1)})")
        row.append(f"{sum(cell.seconds for cell in cells.values()):.0f}")
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join([*lines, "", *(f"({number}) {said}  " for said, number in notes.items())])


def write(path: Path, cells: Mapping[str, Cell]) -> None:
    """Write the cells of one checkpoint."""
    text = json.dumps({stage: asdict(cell) for stage, cell in cells.items()}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def cells_of(path: Path) -> dict[str, Cell]:
    """Return what `write` has written; nothing if there is no such file."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    return {stage: Cell(**values) for stage, values in json.loads(text).items()}
