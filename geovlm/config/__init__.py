"""From a preset, TOML and options to one RunConfig."""
