"""HTML report and model card."""
