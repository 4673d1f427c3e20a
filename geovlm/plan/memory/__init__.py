"""Memory per GPU, by part, and how to make a run fit."""
