"""What a run will do, cost and need, before it starts."""
