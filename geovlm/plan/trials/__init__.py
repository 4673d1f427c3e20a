"""Trials of a run before it starts, in one process of the engine."""
