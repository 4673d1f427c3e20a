"""From TOML and options to one RunConfig."""
