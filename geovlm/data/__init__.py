"""From a plugin's records to prompts, and what is wrong with them."""
