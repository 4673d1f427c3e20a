"""Applies the rules of the kit to a plugin, in order."""

from __future__ import annotations

import time
import unittest
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from geovlm.plugins.registry import Registry
from geovlm.testing import data, declarations, prompts, rewards, scores
from geovlm.testing.findings import Finding, PluginFault
from geovlm.testing.subject import Subject


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule: a function that yields findings, and the rules that must hold first."""

    find: Callable[[Subject], Iterable[Finding]]
    needs: tuple[Rule, ...] = ()

    @property
    def name(self) -> str:
        """The name of its function."""
        return self.find.__name__

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (self.find.__doc__ or "").partition("\n")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Result of one rule."""

    rule: str
    summary: str
    result: Literal["ok", "FAIL", "skip"]
    faults: tuple[Finding, ...] = ()
    remarks: tuple[Finding, ...] = ()
    waits_for: str = ""
    """If skipped: the rule that has to hold first."""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        return {
            "rule": self.rule,
            "summary": self.summary,
            "result": self.result,
            "faults": [{"sentence": each.sentence, "file": each.file} for each in self.faults],
            "remarks": [each.sentence for each in self.remarks],
            "waits_for": self.waits_for,
            "seconds": round(self.seconds, 3),
        }

    def line(self) -> str:
        """Return the outcome in one line: the first fault and the number of others, or remarks."""
        if self.result == "skip":
            return f"waits for {self.waits_for}"
        if self.faults:
            more = len(self.faults) - 1
            return f"{self.faults[0]}{f' (and {more} more, see --json)' if more else ''}"
        return "; ".join(map(str, self.remarks))


_LOADS = Rule(find=declarations.loads)
_REFERENCES = Rule(find=declarations.references_resolve, needs=(_LOADS,))
_SAMPLE = Rule(find=data.sample_loads, needs=(_REFERENCES,))
_IMAGES = Rule(find=data.images_open, needs=(_SAMPLE,))
_BOXES = Rule(find=data.boxes_inside, needs=(_IMAGES,))
_PROMPTS = Rule(find=prompts.prompts_clean, needs=(_BOXES,))
_REASONING = Rule(find=prompts.reasoning_present, needs=(_PROMPTS,))
_PURE = Rule(find=rewards.rewards_pure, needs=(_REASONING,))  # first: targets are still untouched
_HOSTILE = Rule(find=rewards.hostile_never_raises, needs=(_PURE,))
_GOLD = Rule(find=rewards.gold_scores_maximum, needs=(_HOSTILE,))
_WRONG = Rule(find=rewards.wrong_scores_less, needs=(_GOLD,))

RULES: tuple[Rule, ...] = (
    _LOADS,
    Rule(find=declarations.light_import, needs=(_LOADS,)),
    Rule(find=declarations.complete_metadata, needs=(_LOADS,)),
    Rule(find=declarations.prefixed_names, needs=(_LOADS,)),
    Rule(find=declarations.version_range, needs=(_LOADS,)),
    Rule(find=declarations.options_documented, needs=(_LOADS,)),
    _REFERENCES,
    Rule(find=data.sample_deterministic, needs=(_SAMPLE,)),
    _SAMPLE,
    Rule(find=data.absent_data_named, needs=(_SAMPLE,)),
    Rule(find=data.folders_recognised, needs=(_SAMPLE,)),
    Rule(find=data.unique_ids, needs=(_SAMPLE,)),
    _IMAGES,
    _BOXES,
    Rule(find=data.targets_survive_json, needs=(_SAMPLE,)),
    _PROMPTS,
    _REASONING,
    _PURE,
    _HOSTILE,
    Rule(find=rewards.rewards_picklable, needs=(_REFERENCES,)),
    _GOLD,
    _WRONG,
    Rule(find=scores.metrics_perfect_on_gold, needs=(_GOLD,)),
    Rule(find=scores.blindness_earns_little, needs=(_WRONG,)),
)
"""All rules, in the order in which they are shown."""


class Kit:
    """The rules applied to one plugin; data are generated once and outcomes are kept."""

    def __init__(
        self,
        plugin: str | ModuleType,
        *,
        registry: Registry | None = None,
        data: Path | None = None,
    ) -> None:
        self._plugin = plugin
        self._registry = registry
        self._data = data
        self._known: dict[str, Outcome] = {}

    @cached_property
    def subject(self) -> Subject:
        """The plugin; errors as for `Subject.of`."""
        return Subject.of(self._plugin, registry=self._registry, data=self._data)

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcome of every rule, in order."""
        return map(self.outcome, RULES)

    def outcome(self, rule: Rule) -> Outcome:
        """Return the outcome of a rule; it is skipped if a rule that it needs does not hold."""
        if rule.name not in self._known:
            self._known[rule.name] = self._find(rule)
        return self._known[rule.name]

    def _find(self, rule: Rule) -> Outcome:
        for need in rule.needs:
            before = self.outcome(need)
            if before.result != "ok":
                return Outcome(
                    rule=rule.name,
                    summary=rule.summary,
                    result="skip",
                    waits_for=before.waits_for or need.name,
                )
        started = time.perf_counter()
        found: list[Finding] = []
        try:
            found.extend(rule.find(self.subject))
        except PluginFault as caught:
            found.append(caught.finding)
        faults = tuple(dict.fromkeys(each for each in found if each.kind == "fault"))
        return Outcome(
            rule=rule.name,
            summary=rule.summary,
            result="FAIL" if faults else "ok",
            faults=faults,
            remarks=tuple(each for each in found if each.kind == "remark"),
            seconds=time.perf_counter() - started,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A rule for one plugin, as a test calls it."""

    kit: Kit
    rule: Rule

    def __call__(self) -> None:
        """Check that the rule holds.

        Raises:
            AssertionError: it does not; one line per fault.
            unittest.SkipTest: a rule that it needs does not hold.
        """
        __tracebackhide__ = True  # the sentence names the place
        outcome = self.kit.outcome(self.rule)
        if outcome.result == "skip":
            raise unittest.SkipTest(outcome.line())
        if outcome.faults:
            raise AssertionError("\n".join(map(str, outcome.faults)))


def checks(plugin: str | ModuleType, *, data: Path | None = None) -> list[Check]:
    """Return one check per rule; nothing is loaded before the first one is called."""
    kit = Kit(plugin, data=data)
    return [Check(kit=kit, rule=rule) for rule in RULES]
