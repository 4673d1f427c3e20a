"""Checks of this machine: versions, disk, ranks, one step."""
