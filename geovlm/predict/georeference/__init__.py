"""From pixels to coordinates on the earth."""
