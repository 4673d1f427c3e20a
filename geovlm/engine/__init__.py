"""Everything that needs torch; each stage is a process of its own."""
