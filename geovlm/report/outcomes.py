"""Judges one task of a run: the outcome, its sentence, and the reasons that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from geovlm.report import tables

SMALL_SHARE = 0.25
"""Share of small objects from which they are named as a reason."""
CONSTANT_SHARE = 0.8
"""Share of GRPO's groups without spread in their rewards from which it is named as a reason."""
UNREADABLE_SHARE = 0.1
"""Share of answers without an answer block from which it is named as a reason."""
CUT_SHARE = 0.05
"""Share of answers cut at their longest length from which it is named as a reason."""
_SEEING = ("text only", "shuffled")
"""Baselines of the model itself: without one, nothing shows that it looks at the images."""


class Case(NamedTuple):
    """One task with what its verdict needs."""

    name: str
    row: Mapping[str, Any]
    """Its row of `tables.table`."""
    baselines: Sequence[Mapping[str, Any]]
    """Its entries of `tables.baselines`."""
    entries: Mapping[str, Any]
    """Stage -> its entry of `metrics.json`."""
    signal: Mapping[str, Any]
    """GRPO stage -> its groups of completions; see `geovlm.engine.training.groups`."""

    @property
    def stages(self) -> list[str]:
        """Evaluated stages in their order."""
        return list(self.row["cells"])

    @property
    def sign(self) -> int:
        """1, or -1 if smaller is better."""
        return 1 if self.row["higher_is_better"] else -1

    def moved(self, sign: int) -> list[str]:
        """Return the stages that clearly made the metric better, or with -1 worse."""
        cells = self.row["cells"].items()
        return [
            stage
            for stage, cell in cells
            if cell["change"] and tables.better(cell["change"], sign=sign * self.sign)
        ]

    @property
    def measured(self) -> list[Mapping[str, Any]]:
        """Baselines that were compared with the model on the same samples."""
        return [each for each in self.baselines if each["value"] is not None and each["gain"]]

    @property
    def beats_blind(self) -> bool | None:
        """True if every baseline is beaten; `None` if none without the images was measured."""
        if not any(each["name"] in _SEEING for each in self.measured):
            return None
        return all(each["beaten"] for each in self.measured)


def outcome(case: Case) -> tuple[str, str]:
    """Return the outcome of a task and its sentence."""
    cell, fell, raised = case.row["cells"][case.stages[-1]], case.moved(-1), case.moved(1)
    beaten = case.beats_blind
    if cell["value"] is None:
        return "unknown", f"{case.row['primary']} is undefined for these answers"
    if fell:
        p = _p(case.row["cells"][fell[-1]]["change"]["p"])
        where = f"eval/{fell[-1]}/{case.name.replace('/', '__')}.jsonl"
        return "below_before", f"{label(fell[-1])} is below the stage before, {p}: see {where}"
    if beaten is None:
        return "unknown", "no baseline without the images was measured"
    if not beaten:
        unbeaten = [each for each in case.measured if not each["beaten"]]
        blind = min(unbeaten, key=lambda each: each["lead"])
        figures = [] if blind["n"] == case.row["n"] else [f"n {blind['n']}"]
        figures.append(_p(blind["gain"]["p"]))
        model, value = _two(blind["model"], blind["value"])
        return "not_shown", (
            f"not shown to look at the images: {model} against {value} blind ({', '.join(figures)})"
        )
    n = min(each["n"] for each in case.measured)
    p = max(each["gain"]["p"] for each in case.measured)
    if raised:
        return "learned", f"learned from the images (n {n}, {_p(p)})"
    seeing = f"answers from the images (n {n}, {_p(p)})"
    trained = [stage for stage in case.stages if case.row["cells"][stage]["change"]]
    if not trained:
        return "learned", seeing
    return "unchanged", f"{' and '.join(map(label, trained))} changed nothing measurable; {seeing}"


def sampled(case: Case) -> dict[str, Any] | None:
    """Return the sampled reward around the last GRPO stage, or `None` without one."""
    at = next((i for i in reversed(range(len(case.stages))) if is_grpo(case.stages[i])), None)
    if at is None:
        return None
    shown = case.stages[max(0, at - 1) : at + 1]
    change = case.entries[case.stages[at]].get("change") or {}
    values = {stage: case.entries[stage]["sampled_reward"] for stage in shown}
    return {**values, "gain": change.get("sampled_reward")}


def reasons(case: Case, *, outcome: str) -> list[str]:
    """Return what is known about why a task did not learn, or GRPO did not raise its reward."""
    entry, found = case.entries[case.stages[-1]], []
    objects = entry.get("objects")
    if outcome != "learned" and objects and objects["small_share"] >= SMALL_SHARE:
        found.append(
            f"objects under {objects['small_px']:g} px at the model's input size: "
            f"{_percent(objects['small_share'])} (median {objects['median_px']:.1f} px)"
        )
    unreadable = entry.get("unreadable")
    if unreadable is not None and unreadable >= UNREADABLE_SHARE:
        found.append(f"format lost: {_percent(unreadable)} of the answers cannot be read")
    cut = entry.get("cut")
    if cut is not None and cut >= CUT_SHARE:
        most = entry["decoding"]["max_new_tokens"]
        found.append(f"cut at {most} tokens (max_new_tokens): {_percent(cut)} of the answers")
    gain = (sampled(case) or {}).get("gain")
    for stage, signal in case.signal.items():
        constant = signal["constant"].get(case.name, signal["constant_share"])
        raised = gain is not None and tables.better(gain)
        if constant is not None and constant >= CONSTANT_SHARE and not raised:
            found.append(f"reward constant in {_percent(constant)} of the groups of {label(stage)}")
    return found


def label(stage: str) -> str:
    """Return the name of a stage as sentences have it: `base`, `SFT`, `GRPO 2`."""
    kind, _, number = stage.partition("-")
    return " ".join([kind if kind == "base" else kind.upper(), *([number] if number else [])])


def is_grpo(stage: str) -> bool:
    """Return True for the name of a GRPO stage: `grpo`, `grpo-2`, …"""
    return stage.partition("-")[0] == "grpo"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _p(p: float) -> str:
    """Return `p 0.04`, with a third decimal where two would not tell it from 0 or the limit."""
    close = p < 0.01 or round(p, 2) == tables.SIGNIFICANT
    return f"p {p:.3f}" if close else f"p {p:.2f}"


def _two(one: float, other: float) -> tuple[str, str]:
    """Return two numbers with as many decimals as tell them apart, two to three."""
    digits = 2 if f"{one:.2f}" != f"{other:.2f}" else 3
    return f"{one:.{digits}f}", f"{other:.{digits}f}"
