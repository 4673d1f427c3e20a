"""From the files of a run to trackers of experiments, each a process of its own."""
