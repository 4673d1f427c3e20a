"""From predictions to the numbers of published protocols."""
