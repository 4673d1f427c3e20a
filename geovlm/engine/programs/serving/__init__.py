"""What `geovlm serve` needs of a model before vLLM starts."""
