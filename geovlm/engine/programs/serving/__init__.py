"""Prepares a model for `geovlm serve` before vLLM starts."""
