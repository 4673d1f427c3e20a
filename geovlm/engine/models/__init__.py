"""Loading models and processors."""
