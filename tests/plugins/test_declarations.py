from __future__ import annotations

import dataclasses
import math

import pytest

from geovlm.plugins.declarations import HOOKS, fits


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
