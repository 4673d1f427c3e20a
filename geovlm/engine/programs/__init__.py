"""Subprograms that need torch, each a process of its own."""
