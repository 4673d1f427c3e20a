"""Windows of a large scene."""
