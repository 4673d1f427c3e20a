"""Runs side by side on the samples that all of them have answered."""
