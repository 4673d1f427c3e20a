"""Writes docs/checks.md from the list of checks: python -m tools.reference.checks."""

from __future__ import annotations

from geovlm.plan.checks import CHECKS

HEAD = """\
# What a run refuses before it starts

`geovlm run`, `--dry-run`, `--resume`, `geovlm eval` and `geovlm plan` go through these checks, in
this order; the first one that refuses ends the command. The first stage refuses more before it
trains, because it needs torch: arguments that TRL does not take, rows longer than the model's
context, images that cannot be decoded, a missing sentence encoder.

This page is written by `make docs`.

| check | refuses |
|---|---|
"""


def markdown() -> str:
    """Return docs/checks.md."""
    return HEAD + "".join(f"| {check.name} | {check.refuses} |\n" for check in CHECKS)


if __name__ == "__main__":
    print(markdown(), end="")
