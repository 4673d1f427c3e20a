"""Scores of texts: tokens, CIDEr, METEOR."""
