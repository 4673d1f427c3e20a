"""From a file's header to its place on the earth."""
