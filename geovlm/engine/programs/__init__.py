"""Programs that need torch, each started as a process by a command."""
