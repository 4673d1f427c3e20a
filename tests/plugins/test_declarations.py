from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from geovlm.api import MetricSpec
from geovlm.plugins.declarations import HOOKS, DeclarationError, fits, read


@pytest.mark.parametrize("spec", HOOKS.values(), ids=lambda spec: spec.__name__)
def test_every_field_of_the_contract_has_a_rule(spec: type) -> None:
    answers = [fits(None, annotation=str(field.type)) for field in dataclasses.fields(spec)]
    assert set(answers) <= {True, False}


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("str", ""),
        ("bool", True),
        ("int", 0),
        ("float", 1),
        ("float | None", None),
        ("type | None", dict),
        ("tuple[str, ...]", ("a", "b")),
        ("frozenset[str]", frozenset({"a"})),
        ("Ref[Callable[..., Any]]", len),
        ("Ref[Callable[..., Any]]", "package.module:attribute"),
        ("Mapping[str, Mapping[str, float]]", {"paper": {"recall": 1}}),
    ],
)
def test_a_value_of_the_type_fits(annotation: str, value: object) -> None:
    assert fits(value, annotation=annotation)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("str", None),
        ("bool", 1),
        ("int", True),
        ("float", math.nan),
        ("tuple[str, ...]", "accuracy"),
        ("tuple[str, ...]", ["accuracy"]),
        ("frozenset[str]", {"a"}),
        ("Ref[Callable[..., Any]]", None),
        ("Ref[Callable[..., Any]]", "package.module.attribute"),
        ("Mapping[str, Mapping[str, float]]", {"paper": ["recall"]}),
        ("Mapping[str, Mapping[str, float]]", {"paper": {"recall": "1"}}),
    ],
)
def test_a_value_of_another_type_does_not_fit(annotation: str, value: object) -> None:
    assert not fits(value, annotation=annotation)


def declare(**ways: Any) -> list[Any]:
    spec = MetricSpec(name="toy/f1", summary="F1.", **ways)
    return read([[spec]], hook="geovlm_metrics", plugin="toy", core=False)


@pytest.mark.parametrize("ways", [{"compute": len}, {"counts": len, "finish": len}])
def test_a_metric_is_computed_or_finished_from_counts(ways: dict[str, Any]) -> None:
    assert declare(**ways)[0].name == "toy/f1"


@pytest.mark.parametrize(
    ("ways", "given"),
    [
        ({}, "neither compute nor counts"),
        ({"counts": len}, "counts"),
        ({"compute": len, "counts": len}, "compute and counts"),
        ({"compute": len, "counts": len, "finish": len}, "compute and counts and finish"),
    ],
)
def test_a_metric_that_is_declared_in_both_ways_or_neither_is_refused(
    ways: dict[str, Any], given: str
) -> None:
    with pytest.raises(DeclarationError, match=f"metric 'toy/f1' has {given}: declare compute al"):
        declare(**ways)
