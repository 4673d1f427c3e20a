"""From a user's annotation file to a data set and a task."""
