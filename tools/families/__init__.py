"""Tiny checkpoints of public model families: real config classes and tokenizers, random weights."""
