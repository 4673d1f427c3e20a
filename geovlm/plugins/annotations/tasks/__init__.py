"""Questions, correct answers and targets of each task."""
