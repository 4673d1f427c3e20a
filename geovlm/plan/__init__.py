"""The plan of a run: its steps, memory and refusals, before it starts."""
