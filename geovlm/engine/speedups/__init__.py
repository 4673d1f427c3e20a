"""Speed-ups that leave outputs unchanged."""
