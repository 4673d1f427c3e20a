"""From a completion to a number."""
