"""Samples to rows."""
