"""From the rows of a table to records."""
