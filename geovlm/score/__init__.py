"""From predictions to published-protocol numbers."""
