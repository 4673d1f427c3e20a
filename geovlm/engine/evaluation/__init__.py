"""Completions to scores."""
