"""Memory per GPU, by part."""
