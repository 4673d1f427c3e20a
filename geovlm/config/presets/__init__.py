"""Presets: complete recipes that a run starts from."""
