"""From pixels to coordinates."""
