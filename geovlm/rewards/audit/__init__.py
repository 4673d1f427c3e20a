"""How much reward answers earn that never look at the image."""
