"""The processes that pass a run on to trackers of experiments."""
