"""The state of a run in one file: written by the run, read by `watch`."""
