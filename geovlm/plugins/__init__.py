"""From an entry point to a checked object."""
