"""The folder of a run and the processes that fill it."""
