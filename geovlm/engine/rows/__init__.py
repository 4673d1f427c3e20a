"""From samples to the rows that trainers read."""
